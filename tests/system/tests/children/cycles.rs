//! Children come and go, and leave nothing behind: not in the hypervisor, not in the parent.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use harness::Running;
use serde_json::Value;
use system_tests::{Tests, number, on};

use super::kept;
use super::machine::{Guest, Kernel, parent};

const LIMIT: Duration = Duration::from_secs(240);
/// For how long a kernel may keep what it has promised to free.
const SETTLES: Duration = Duration::from_secs(60);
/// MiB of the parent's memory that its caches take and give.
const CACHES: u64 = 8;

/// Cycles from one look at what is there to the next.
const CHECKED: u32 = 50;

/// Adds all of them.
pub fn add(tests: &mut Tests) {
    let mut add = |always, name: &str, times, cycle: fn(&mut Running, u32) -> Result<()>| {
        let body = move || {
            on("children-2lp", || parent(2, 2048), |parent| leaves_nothing(parent, times, cycle))
        };
        tests.add_if(always, format!("cycles::{name}::{times}_times"), body);
    };
    for (always, times) in [(true, 20), (false, 1000)] {
        add(always, "created_started_and_killed_children_leave_nothing", times, started);
    }
    for (always, times) in [(true, 3), (false, 1000)] {
        add(always, "booted_and_killed_children_leave_nothing", times, booted);
    }
    for (always, times) in [(true, 20), (false, 300)] {
        add(always, "worker_killed_at_any_moment_leaves_nothing", times, killed);
    }
}

/// What there is of everything that a child takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ledger {
    /// Pages of the hypervisor's own that are free.
    pool_free: u64,
    /// Pages that the parent has given for itself.
    deposited: u64,
    /// Partitions.
    partitions: u64,
    /// Open files of the whole parent.
    files: u64,
    /// The parent's memory that nobody uses, in MiB.
    available: u64,
}

impl Ledger {
    /// As it is now.
    pub fn of(parent: &mut Running) -> Result<Self> {
        let text = parent.shell("zm hv status --json")?.success()?;
        let status: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
        let field = |name: &str| {
            status.get(name).and_then(Value::as_u64).with_context(|| format!("{name} in {text}"))
        };
        let (pool_free, partitions) = (field("pool_free_pages")?, field("partition_count")?);
        let files = number(parent, "cut -f1 /proc/sys/fs/file-nr")?;
        let available = number(
            parent,
            "echo 3 > /proc/sys/vm/drop_caches; awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo",
        )?;
        let deposited = field("root_deposited_pages")?;
        Ok(Self { pool_free, deposited, partitions, files, available })
    }

    /// Fails unless everything is soon as it was.
    pub fn comes_back(self, parent: &mut Running) -> Result<()> {
        // The kernel frees files, and pages of the last child, a moment later.
        let deadline = Instant::now() + SETTLES;
        let mut after = Self::of(parent)?;
        while !after.is_like(self) && Instant::now() < deadline {
            after = Self::of(parent)?;
        }
        println!("before {self:?}, after {after:?}");
        ensure!(after.is_like(self), "before {self:?}, after {after:?}");
        Ok(())
    }

    /// Exactly as much of everything as `before`; only the parent's free memory moves with its caches.
    fn is_like(self, before: Self) -> bool {
        let caches = before.available.saturating_sub(self.available);
        Self { available: before.available, ..self } == before && caches <= CACHES
    }
}

/// The ledger is the same after `times` cycles as after the first few, which fill caches for good.
fn leaves_nothing(
    parent: &mut Running,
    times: u32,
    cycle: fn(&mut Running, u32) -> Result<()>,
) -> Result<()> {
    for (number, kernel) in (1..).zip(Kernel::ALL) {
        kept::keep(parent, kernel, number)?;
    }
    for count in 0..4 {
        started(parent, count)?;
    }
    cycle(parent, 3)?;
    let before = Ledger::of(parent)?;
    for count in 0..times {
        cycle(parent, count).with_context(|| format!("cycle {count}"))?;
        let done = count + 1;
        if done.is_multiple_of(CHECKED) || done == times {
            println!("{done} cycles");
            before.comes_back(parent)?;
        }
    }
    Ok(())
}

fn guest(count: u32) -> Guest {
    let kernel = if count.is_multiple_of(2) { Kernel::Stable } else { Kernel::Backports };
    Guest { kernel, cpus: 1 + count % 2, memory: 128, what: "idle" }
}

/// Starts a guest and kills its worker when it is in user space. As by default, kernels are unpacked once.
fn booted(parent: &mut Running, count: u32) -> Result<()> {
    until_idle(parent, &guest(count).command(&kept::option()))
}

/// The same with a kernel of a few instructions.
fn started(parent: &mut Running, count: u32) -> Result<()> {
    let cpus = 1 + count % 4;
    let command =
        format!("vmwp --kernel /children/tiny --cpus {cpus} --memory 32M --log warn < /dev/null");
    until_idle(parent, &command)
}

/// Runs a worker until its guest says that it is idle, and kills it.
fn until_idle(parent: &mut Running, command: &str) -> Result<()> {
    // The parent sleeps until there is a line: looking again and again is most of what it would do.
    let script = format!(
        "rm -f /tmp/output; mkfifo /tmp/output; {command} > /tmp/output 2>&1 & \
         while read -r line; do echo \"$line\"; case $line in idle*) break ;; esac; done < /tmp/output; \
         kill -9 $!; wait $!; pidof vmwp && echo 'the worker lives on'"
    );
    let output = parent.shell_within(&script, LIMIT)?;
    ensure!(output.text.contains("idle") && !output.text.contains("lives on"), "{output:?}");
    Ok(())
}

/// Kills a worker at a moment that differs from time to time, from its first instructions to a booted guest.
fn killed(parent: &mut Running, count: u32) -> Result<()> {
    let command = guest(count).command("");
    let milliseconds = u64::from(count) * 7919 % 3000;
    let delay = format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000);
    let script = format!("{command} > /dev/null 2>&1 & sleep {delay}; kill -9 $!; wait $!");
    parent.shell_within(&script, LIMIT)?;
    ensure!(parent.shell("pidof vmwp")?.status != 0, "the worker lives on");
    Ok(())
}
