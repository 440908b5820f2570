//! Many children at once: each gets of the processors what its weight says.
//!
//! Time is an instruction count here, so that shares do not depend on what else the host does.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::{Machine, Running};
use system_tests::{Tests, on};

use super::machine::{Guest, Kernel, parent};

const CHILDREN: usize = 16;
const LIMIT: Duration = Duration::from_secs(3600);

/// Adds all of them.
pub fn add(tests: &mut Tests) {
    tests.add_long("many::sixteen_children_share_two_lps_by_weight", || {
        on("children-2lp-4gib", machine, sixteen)
    });
}

/// The emulator cannot count instructions of processors with x2APIC timers.
fn machine() -> Result<Machine> {
    Ok(parent(2, 4096)?.icount(true).xapic(true))
}

/// Every second one has twice the weight of the others.
fn weight(number: usize) -> u32 {
    if number.is_multiple_of(2) { 200 } else { 100 }
}

/// All boot, all go on, and each in proportion to its weight.
fn sixteen(parent: &mut Running) -> Result<()> {
    let guest = Guest { kernel: Kernel::Stable, cpus: 1, memory: 128, what: "spin" };
    parent.shell("mkdir /tmp/many")?.success()?;
    for number in 0..CHILDREN {
        let command = guest.command(&format!("--weight {}", weight(number)));
        parent.shell(&format!("{command} > /tmp/many/{number} 2>&1 &"))?.success()?;
    }
    let wait = format!(
        "until [ $(cat /tmp/many/* | grep -c '^S') -ge {CHILDREN} ] && [ $(grep -l '^S' /tmp/many/* | wc -l) = {CHILDREN} ]; do sleep 1; done; sleep 5"
    );
    parent.shell_within(&wait, LIMIT)?.success()?;
    let before = progress(parent)?;
    parent.shell_within("sleep 60", LIMIT)?.success()?;
    let after = progress(parent)?;
    parent.shell("killall vmwp; while pidof vmwp; do sleep 0.1; done; rm -r /tmp/many")?;
    // Rounds in a second of its own clock, by weight.
    let rate = |((rounds, time), (more, later)): (&(f64, f64), &(f64, f64))| {
        (more - rounds) / (later - time)
    };
    let rates = before.iter().zip(&after).map(rate).enumerate();
    let rates: Vec<_> = rates.map(|(number, rate)| rate / f64::from(weight(number))).collect();
    let mean = rates.iter().sum::<f64>() / rates.len() as f64;
    let shares: Vec<_> = rates.iter().map(|rate| format!("{:.3}", rate / mean)).collect();
    println!("shares by weight: {}", shares.join(" "));
    ensure!(rates.iter().all(|rate| (rate / mean - 1.0).abs() <= 0.05), "{shares:?}");
    Ok(())
}

/// The last sum that each printed, and its clock then, in nanoseconds.
fn progress(parent: &mut Running) -> Result<Vec<(f64, f64)>> {
    let mut all = Vec::new();
    for number in 0..CHILDREN {
        let command = format!("grep '^S [0-9]* [0-9]*.$' /tmp/many/{number} | tail -1");
        let text = parent.shell(&command)?.success()?;
        let numbers = text.trim().strip_prefix("S ").and_then(|line| line.split_once(' '));
        let (rounds, time) = numbers.with_context(|| format!("child {number} printed {text:?}"))?;
        all.push((rounds.parse()?, time.trim().parse()?));
    }
    Ok(all)
}
