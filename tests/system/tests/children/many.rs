//! Many children at once: each gets of the processors what its weight says, and no more than its limit.
//!
//! What a child got is the run time of its VPs by the hypervisor's account, which the parent's driver shows. Rounds of a loop
//! would say the same on hardware; the emulator's processors are not equally fast.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::{Machine, Running};
use system_tests::{Tests, number, on};

use super::machine::{Guest, Kernel, parent};

const LIMIT: Duration = Duration::from_secs(3600);
/// Where the driver shows its partitions.
const PARTITIONS: &str = "/sys/kernel/debug/mshv/partition";

/// Adds all of them.
pub fn add(tests: &mut Tests) {
    // Children, and seconds in which they are looked at.
    for (always, children, seconds) in [(true, 4, 10), (false, 16, 60)] {
        let name = format!("many::children_share_two_lps_by_weight::{children}_children");
        tests.add_if(always, name, move || {
            on("children-counted", counted, |parent| share(parent, children, seconds))
        });
    }
    tests.add("many::a_limit_is_kept", || on("children-counted", counted, limit));
    tests
        .add("many::an_idle_child_costs_next_to_nothing", || on("children-counted", counted, idle));
}

/// Time is an instruction count here, so that shares do not depend on what else the host does. The emulator cannot count those of processors with x2APIC timers.
fn counted() -> Result<Machine> {
    Ok(parent(2, 4096)?.icount(true).xapic(true))
}

/// A child that runs in the background.
struct Child {
    /// Its partition's directory in [`PARTITIONS`].
    partition: u64,
    /// Where its console goes.
    console: String,
}

impl Child {
    /// Starts one that does `what`, and waits until it says so.
    fn start(parent: &mut Running, what: &'static str, options: &str) -> Result<Self> {
        let guest = Guest { kernel: Kernel::Stable, cpus: 1, memory: 128, what };
        let before = partitions(parent)?;
        let console = format!("/tmp/console-{}", before.iter().max().unwrap_or(&0));
        let wait = format!(
            "{} > {console} 2>&1 & until grep -q '^{what}' {console}; do kill -0 $! || exit 1; sleep 0.2; done",
            guest.command(options)
        );
        let output = parent.shell_within(&wait, LIMIT)?;
        ensure!(output.status == 0, "{}", parent.shell(&format!("cat {console}"))?.text);
        let new = partitions(parent)?.into_iter().find(|id| !before.contains(id));
        Ok(Self { partition: new.context("a new partition")?, console })
    }
}

/// The ids of all partitions that the driver knows.
fn partitions(parent: &mut Running) -> Result<Vec<u64>> {
    let text = parent.shell(&format!("ls {PARTITIONS}"))?.success()?;
    Ok(text.split_whitespace().filter_map(|name| name.parse().ok()).collect())
}

/// How much of an LP each of `children` gets in `seconds` of the parent's time.
fn shares(parent: &mut Running, children: &[Child], seconds: u64) -> Result<Vec<f64>> {
    let before = run_times(parent, children)?;
    parent.shell_within(&format!("sleep {seconds}"), LIMIT)?.success()?;
    let after = run_times(parent, children)?;
    let mut passed = before.iter().zip(&after).map(|(before, after)| after - before);
    let time = passed.next().context("a time")?;
    Ok(passed.map(|run| run / time).collect())
}

/// The parent's time, and the run time of each child's VP so far, in seconds.
fn run_times(parent: &mut Running, children: &[Child]) -> Result<Vec<f64>> {
    let files = children.iter().map(|child| format!("{PARTITIONS}/{}/vp/0/stats", child.partition));
    let files: Vec<_> = files.collect();
    let command = format!(
        "awk 'NF == 2 && NR == 1 {{ print $1 }} /VpTotalRunTime/ {{ print $NF / 1e7 }}' /proc/uptime {}",
        files.join(" ")
    );
    let text = parent.shell(&command)?.success()?;
    let times: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    ensure!(times.len() == children.len() + 1, "{text}");
    Ok(times)
}

fn end(parent: &mut Running, children: Vec<Child>) -> Result<()> {
    parent.shell_within("killall vmwp; while pidof vmwp; do sleep 0.1; done", LIMIT)?;
    for child in children {
        parent.shell(&format!("rm {}", child.console))?.success()?;
    }
    Ok(())
}

/// Every second one has twice the weight of the others.
fn weight(number: usize) -> u32 {
    if number.is_multiple_of(2) { 200 } else { 100 }
}

fn share(parent: &mut Running, count: usize, seconds: u64) -> Result<()> {
    let start = |number| Child::start(parent, "spin", &format!("--weight {}", weight(number)));
    let children: Vec<_> = (0..count).map(start).collect::<Result<_>>()?;
    let shares = shares(parent, &children, seconds)?;
    end(parent, children)?;
    let all: f64 = shares.iter().sum();
    let weights: u32 = (0..count).map(weight).sum();
    let of_due = |(number, share): (usize, f64)| {
        share / all * f64::from(weights) / f64::from(weight(number))
    };
    let parts: Vec<_> = shares.into_iter().enumerate().map(of_due).collect();
    let text: Vec<_> = parts.iter().map(|part| format!("{part:.3}")).collect();
    println!("all children {all:.3} LPs, each of what is due: {}", text.join(" "));
    // The parent has work of its own: the consoles.
    ensure!(all > 1.6, "all children together get {all:.3} LPs");
    ensure!(parts.iter().all(|part| (part - 1.0).abs() <= 0.05), "{text:?}");
    Ok(())
}

/// Half an LP, and nobody else wants the rest.
fn limit(parent: &mut Running) -> Result<()> {
    for percent in [25, 60] {
        let child = Child::start(parent, "spin", &format!("--limit {percent}"))?;
        let children = vec![child];
        let shares = shares(parent, &children, 20)?;
        end(parent, children)?;
        let part = shares.iter().sum::<f64>() * 100.0 / f64::from(percent);
        println!("of a limit of {percent} %: {part:.4}");
        ensure!((part - 1.0).abs() <= 0.02, "{part:.4} of a limit of {percent} %");
    }
    Ok(())
}

fn idle(parent: &mut Running) -> Result<()> {
    const SECONDS: u64 = 30;
    // How long all LPs had something to run, in seconds.
    let busy = |parent: &mut Running| -> Result<f64> {
        let sum = "zm hv counters --json | tr ',{}' '\\n' | awk -F: '/time.guest-us/ { s += $2 } END { printf \"%.0f\\n\", s }'";
        let before = number(parent, sum)?;
        parent.shell_within(&format!("sleep {SECONDS}"), LIMIT)?.success()?;
        Ok((number(parent, sum)? - before) as f64 / 1e6 / SECONDS as f64)
    };
    let without = busy(parent)?;
    let child = Child::start(parent, "idle", "")?;
    parent.shell_within("sleep 5", LIMIT)?.success()?;
    let with = busy(parent)?;
    let children = vec![child];
    let share = shares(parent, &children, SECONDS)?.iter().sum::<f64>();
    end(parent, children)?;
    println!(
        "an idle child: {:.3} % of an LP; all LPs {:.3} %, {:.3} % without it",
        share * 100.0,
        with * 100.0,
        without * 100.0
    );
    ensure!(share < 0.005, "{share:.4} of an LP");
    Ok(())
}
