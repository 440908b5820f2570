//! Guests that do their worst, as children: nobody else notices.
//!
//! The guest is the bare test kernel (`tests/guests`). What it finds from inside is in its report; what it does to others
//! is looked for in the parent and in a child beside it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::{Machine, Running};
use system_tests::{Tests, all_complaints, number, on};

use super::cycles::Ledger;
use super::machine::{Guest, Kernel, parent};

pub const LIMIT: Duration = Duration::from_secs(7200);
/// The test kernel in a worker.
const WORKER: &str = "vmwp --kernel /children/testkernel --memory 64M --log warn < /dev/null";

/// Several children at once, for a moment: the parent keeps what it has given for itself.
const SEVERAL: &str = "for i in 1 2 3; do vmwp --kernel /children/tiny --cpus 2 --memory 32M --log warn < /dev/null > /tmp/tiny$i 2>&1 & done; \
                       until [ $(cat /tmp/tiny[123] | grep -c '^idle') = 3 ]; do sleep 0.1; done; killall vmwp; while pidof vmwp; do sleep 0.1; done";

/// Adds all of them.
pub fn add(tests: &mut Tests) {
    let mut add = |always, name: &str, check: fn(&mut Running) -> Result<()>| {
        tests.add_if(always, format!("hostile::{name}"), move || {
            on("children-2lp", || parent(2, 2048), check)
        });
    };
    add(true, "hypercalls_of_all_kinds_disturb_nobody", |parent| {
        unnoticed(parent, ("hostile-child", "count=60000"), 2)
    });
    add(false, "hypercalls_of_all_kinds_disturb_nobody::ten_million", |parent| {
        unnoticed(parent, ("hostile-child", "count=10000000 seed=2026"), 2)
    });
    add(true, "registers_of_any_kind_disturb_nobody", |parent| {
        // The test kernel has one memory of the mode that the APIC is in, and this changes it.
        unnoticed(parent, ("hostile-cpuid+hostile-msr", "count=20000"), 1)
    });
    add(true, "nothing_outside_of_its_memory_is_there", |parent| {
        unnoticed(parent, ("outside", ""), 1)
    });
    add(true, "triple_fault_ends_only_its_own_vm", triple_fault);
    for (always, count) in [(true, 300), (false, 10_000)] {
        tests.add_if(
            always,
            format!("hostile::state_is_never_anothers::{count}_rounds"),
            move || on("children-1lp", || parent(1, 1024), |parent| own_state(parent, count)),
        );
    }
    for (always, rage) in [
        (true, "spin"),
        (true, "intercepts"),
        (false, "exceptions"),
        (false, "exits"),
        (false, "interrupts"),
        (false, "crashes"),
    ] {
        tests.add_if(always, format!("hostile::parent_keeps_its_share::{rage}"), move || {
            on("children-counted-1lp", counted, |parent| share(parent, rage))
        });
    }
}

/// One LP, and time that is a count of its instructions.
fn counted() -> Result<Machine> {
    Ok(parent(1, 1024)?.icount(true).xapic(true))
}

/// The command for a test kernel that runs `test`.
pub fn worker(test: &str, arguments: &str, options: &str) -> String {
    format!("{WORKER} --cmdline 'test={test} {arguments}' {options}")
}

/// A script that starts a worker whose console goes to `file`; its process id is in `$PID`.
pub fn begin(command: &str, file: &str, told: &str) -> String {
    format!(
        ": > {file}; {command} >> {file} 2>&1 & PID=$!; until grep -Eq '^{told}' {file}; do kill -0 $PID || break; sleep 0.1; done"
    )
}

/// Runs tests in a child to their end; what it printed.
pub fn run(parent: &mut Running, test: &str, arguments: &str, options: &str) -> Result<String> {
    let command = worker(test, arguments, options);
    let script = begin(&command, "/tmp/hostile", "RESULT.* failed");
    let script = format!("{script}; kill $PID; wait $PID; cat /tmp/hostile");
    Ok(parent.shell_within(&script, LIMIT)?.text)
}

/// Everything that a test kernel was to find is as it should be.
pub fn judge(report: &str) -> Result<()> {
    let wrong: Vec<_> = report.lines().filter(|line| line.contains("FAILED")).collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let result = report.lines().find_map(|line| line.strip_prefix("RESULT: "));
    let (passed, rest) =
        result.and_then(|line| line.split_once(" passed")).with_context(|| report.to_owned())?;
    ensure!(passed.parse::<u32>()? > 0 && rest.trim() == ", 0 failed", "{report}");
    report.lines().filter(|line| line.starts_with("  ")).for_each(|line| println!("{line}"));
    Ok(())
}

/// A child and the parent work, and check what they compute, while a guest does its worst.
fn unnoticed(parent: &mut Running, (test, arguments): (&str, &str), cpus: u32) -> Result<()> {
    let complaints = all_complaints(parent)?;
    parent.shell_within(SEVERAL, LIMIT)?.success()?;
    let before = Ledger::of(parent)?;
    let guest = Guest { kernel: Kernel::Stable, cpus: 1, memory: 256, what: "toil" };
    let neighbour = begin(&guest.command(""), "/tmp/neighbour", "load done");
    parent
        .shell_within(&format!("{neighbour}; echo $PID > /tmp/neighbour.pid"), LIMIT)?
        .success()?;
    parent
        .shell("while :; do load work 3 || break; done > /tmp/own 2>&1 & echo $! > /tmp/own.pid")?;
    let report = run(parent, test, arguments, &format!("--cpus {cpus}"))?;
    // Both go on: what they began after the end of it is done right, too.
    for file in ["/tmp/neighbour", "/tmp/own"] {
        let wait = format!(
            "n=$(grep -c '^load' {file}); until [ $(grep -c '^load' {file}) -ge $((n + 2)) ]; do kill -0 $(cat {file}.pid) || exit 1; sleep 0.1; done"
        );
        let output = parent.shell_within(&wait, LIMIT)?;
        let text = parent.shell(&format!("cat {file}"))?.text;
        ensure!(output.status == 0, "{file} has ended: {text}");
        ensure!(
            text.lines().all(|line| !line.starts_with("load:") && !line.contains("BUG")),
            "{text}"
        );
    }
    parent.shell_within(
        "kill $(cat /tmp/own.pid); killall load vmwp; while pidof vmwp load; do sleep 0.1; done",
        LIMIT,
    )?;
    judge(&report)?;
    let new: Vec<_> =
        all_complaints(parent)?.into_iter().filter(|line| !complaints.contains(line)).collect();
    ensure!(new.is_empty(), "{}", new.join("\n"));
    before.comes_back(parent)
}

/// The worker says so and ends; the child beside it goes on.
fn triple_fault(parent: &mut Running) -> Result<()> {
    let guest = Guest { kernel: Kernel::Stable, cpus: 1, memory: 128, what: "spin" };
    let neighbour = begin(&guest.command(""), "/tmp/neighbour", "S ");
    parent
        .shell_within(&format!("{neighbour}; echo $PID > /tmp/neighbour.pid"), LIMIT)?
        .success()?;
    for (test, cpus) in [("triple-fault", 1), ("triple-fault", 2), ("apic-stack", 1)] {
        let command = worker(test, "", &format!("--cpus {cpus}"));
        let output = parent.shell_within(&command, LIMIT)?;
        ensure!(output.status == 3, "{test}: {output:?}");
    }
    let script = "n=$(grep -c '^S' /tmp/neighbour); until [ $(grep -c '^S' /tmp/neighbour) -gt $n ]; do kill -0 $(cat /tmp/neighbour.pid) || exit 1; sleep 0.1; done; \
                  kill $(cat /tmp/neighbour.pid)";
    parent.shell_within(script, LIMIT)?.success()?;
    ensure!(
        number(parent, "zm hv status --json | awk '/partition_count/ { print int($2) }'")? >= 1
    );
    Ok(())
}

/// Two children on one LP, each with patterns of its own in all registers.
fn own_state(parent: &mut Running, count: u32) -> Result<()> {
    let start = |seed: u32| {
        let command = worker("own-state", &format!("count={count} seed={seed}"), "");
        format!("{command} > /tmp/state-{seed} 2>&1 & P{seed}=$!")
    };
    let wait = |seed: u32| {
        format!(
            "until grep -q '^RESULT.* failed' /tmp/state-{seed}; do kill -0 $P{seed} || break; sleep 0.1; done; kill $P{seed}"
        )
    };
    let script = format!("{}; {}; {}; {}", start(1), start(2), wait(1), wait(2));
    parent.shell_within(&script, LIMIT)?;
    for seed in [1, 2] {
        judge(&parent.shell(&format!("cat /tmp/state-{seed}"))?.success()?)?;
    }
    Ok(())
}

/// Work of a second or so, its time, and that of fifty short sleeps, in hundredths of a second.
const MEASURE: &str = "now() { sed 's/ .*//; s/[.]//' /proc/uptime; }; a=$(now); md5sum /tmp/blob > /dev/null; b=$(now); \
                       for i in $(seq 50); do usleep 3000; done; c=$(now); echo $((b - a)) $((c - b))";

fn measure(parent: &mut Running) -> Result<(f64, f64)> {
    let text = parent.shell_within(MEASURE, LIMIT)?.success()?;
    let (work, sleeps) = text.trim().split_once(' ').with_context(|| text.clone())?;
    Ok((work.parse()?, sleeps.parse()?))
}

/// The parent computes at half its speed at least, and sleeps hardly longer, while a child of its weight rages.
fn share(parent: &mut Running, rage: &str) -> Result<()> {
    parent
        .shell("[ -e /tmp/blob ] || head -c 33554432 /dev/zero > /tmp/blob; md5sum /tmp/blob")?
        .success()?;
    let (work, sleeps) = measure(parent)?;
    let script = begin(&worker(&format!("rage-{rage}"), "", ""), "/tmp/rage", "raging");
    let output = parent
        .shell_within(&format!("{script}; echo $PID > /tmp/rage.pid; kill -0 $PID"), LIMIT)?;
    ensure!(output.status == 0, "{}", parent.shell("cat /tmp/rage")?.text);
    let (slow, late) = measure(parent)?;
    parent
        .shell_within("kill $(cat /tmp/rage.pid); while pidof vmwp; do sleep 0.1; done", LIMIT)?;
    println!("{rage}: work {work} and then {slow}, sleeps {sleeps} and then {late} (1/100 s)");
    ensure!(slow <= work * 2.1 + 2.0, "work took {work}, and beside {rage} {slow}");
    ensure!(late <= sleeps * 1.2 + 3.0, "sleeps took {sleeps}, and beside {rage} {late}");
    Ok(())
}
