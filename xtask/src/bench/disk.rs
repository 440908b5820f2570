//! What a child's disk costs, beside the same jobs on a RAM disk of the bare machine.
//!
//! The others' figures were taken with fio; `image/bench/disk.c` does the same system calls for an I/O, but less around
//! them: some 1,100 instructions at queue depth 1, and 2,600 for each I/O at 32. So a goal is taken for what it adds to the bare machine.

use serde::Serialize;

use super::figures::Figures;
use super::table::{Misses, number};

/// Instructions in a second.
const SECOND: f64 = 1e9;

/// What a figure is shown as.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    /// Instructions for one I/O.
    Latency,
    /// I/Os in a second of 1e9 instructions.
    Iops,
}

/// A job. The others' figures are in its unit: metal, KVM, Xen, and Zemin's goal.
struct Job {
    name: &'static str,
    title: &'static str,
    unit: Unit,
    others: [f64; 4],
}

const fn iops(name: &'static str, title: &'static str, others: [f64; 4]) -> Job {
    Job { name, title, unit: Unit::Iops, others }
}

const JOBS: [Job; 5] = [
    Job {
        name: "disk_read_qd1",
        title: "4 KiB random read, depth 1: latency",
        unit: Unit::Latency,
        others: [7425.0, 63_068.0, 137_689.0, 32_000.0],
    },
    iops(
        "disk_read_qd32",
        "4 KiB random read, depth 32: IOPS",
        [110_702.0, 35_310.0, 39_196.0, 60_000.0],
    ),
    iops(
        "disk_write_qd32",
        "4 KiB random write, depth 32: IOPS",
        [105_025.0, 34_420.0, 38_824.0, 60_000.0],
    ),
    iops(
        "disk_read_128k",
        "128 KiB sequential read, depth 4: IOPS",
        [18_618.0, 12_641.0, 5720.0, 15_000.0],
    ),
    iops(
        "disk_write_128k",
        "128 KiB sequential write, depth 4: IOPS",
        [16_786.0, 6872.0, 5657.0, 12_000.0],
    ),
];

impl Job {
    /// Between instructions for an I/O and the job's unit, both ways.
    fn convert(&self, value: f64) -> f64 {
        match self.unit {
            Unit::Latency => value,
            Unit::Iops => SECOND / value,
        }
    }

    /// Instructions for an I/O that this machine's goal is.
    fn goal(&self, metal: f64) -> f64 {
        let [their_metal, .., goal] = self.others.map(|value| self.convert(value));
        metal + goal - their_metal
    }
}

/// A job's line. All but the counts are instructions for an I/O.
#[derive(Serialize)]
pub struct DiskLine {
    name: &'static str,
    metal: Option<f64>,
    child: Option<f64>,
    goal: Option<f64>,
    /// Exits of the child and of the parent.
    exits: Option<f64>,
    /// Signals of the child.
    signals: Option<f64>,
    /// Interrupts of the child.
    interrupts: Option<f64>,
    #[serde(skip)]
    job: &'static Job,
}

/// All jobs.
pub fn compare(metal: &Figures, child: &Figures) -> Vec<DiskLine> {
    let line = |job: &'static Job| {
        let get = |what: &str| child.get(&format!("{}{what}", job.name));
        // What looking costs is in both.
        let exits = get("_exits").zip(child.get("none_exits")).zip(get("_count"));
        let metal = metal.get(job.name);
        DiskLine {
            name: job.name,
            metal,
            child: get(""),
            goal: metal.map(|metal| job.goal(metal)),
            exits: exits.map(|((exits, none), count)| (exits - none) / count),
            signals: get("_signals"),
            interrupts: get("_interrupts"),
            job,
        }
    };
    JOBS.iter().map(line).collect()
}

impl Misses for DiskLine {
    fn missed(&self) -> Option<&str> {
        let misses = matches!((self.child, self.goal), (Some(child), Some(goal)) if child > goal);
        misses.then_some(self.name)
    }
}

/// `copies` of `commands` went through a copy, as the worker's log says, if it does.
pub fn copies(console: &str) -> Option<(u64, u64)> {
    let line = console.lines().find(|line| line.contains("a channel is closed"))?;
    let value =
        |name: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name)?.parse().ok());
    Some((value("copies=")?, value("commands=")?))
}

/// The table under `title`.
pub fn table(title: &str, lines: &[DiskLine], copies: Option<(u64, u64)>) -> String {
    let mut text = format!(
        "{:42}{:>13}{:>9}{:>9}{:>8}{:>9}{:>8}  |{:>9}{:>9}{:>9}{:>9}\n",
        title,
        "bare machine",
        "Zemin",
        "goal",
        "exits",
        "signals",
        "interr.",
        "(metal)",
        "KVM",
        "Xen",
        "goal"
    );
    for line in lines {
        let job = line.job;
        let cell = |value: Option<f64>| number(value.map(|value| job.convert(value)));
        let [metal, kvm, xen, goal] = job.others.map(|value| number(Some(value)));
        text += &format!(
            "{:42}{:>13}{:>9}{:>9}{:>8}{:>9}{:>8}  |{metal:>9}{kvm:>9}{xen:>9}{goal:>9}{}\n",
            job.title,
            cell(line.metal),
            cell(line.child),
            cell(line.goal),
            number(line.exits),
            number(line.signals),
            number(line.interrupts),
            if line.missed().is_some() { " MISSED" } else { "" }
        );
    }
    if let Some((copies, commands)) = copies {
        text += &format!("Data copied on its way: {copies} of {commands} commands.\n");
    }
    text + "Exits, of the child and of the parent, signals and interrupts of the child are for each I/O.\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(text: &str) -> Figures {
        Figures::parse(text).expect("figures")
    }

    #[test]
    fn goal_is_what_the_others_may_add_to_the_bare_machine() {
        let metal = figures("bench disk_read_qd1 6425 1\n");
        let lines = compare(&metal, &figures("bench disk_read_qd1 31001 1\n"));
        let line = lines.first().expect("a line");
        assert_eq!((line.goal, line.missed()), (Some(31_000.0), Some("disk_read_qd1")));
    }

    #[test]
    fn what_is_counted_while_nothing_is_done_is_not_the_jobs() {
        let child = "bench none_exits 50 1\nbench disk_read_qd32_exits 450 1\nbench disk_read_qd32_count 100 1\n\
                     bench disk_read_qd32 2000000 100\n";
        let child = figures(child);
        let lines = compare(&child, &child);
        let line = lines.iter().find(|line| line.name == "disk_read_qd32").expect("a line");
        assert_eq!(line.exits, Some(4.0));
        let text = table("a disk", &lines, Some((0, 7)));
        assert!(text.contains("50000") && text.contains("0 of 7"), "{text}");
    }

    #[test]
    fn workers_log_tells_of_copies() {
        let line =
            "INFO storvsp: a channel is closed subchannel=0 commands=9 failures=1 copies=2\n";
        assert_eq!(copies(line), Some((2, 9)));
        assert_eq!(copies("nothing"), None);
    }
}
