//! A guest under load on all its processors computes right, and keeps time with the parent.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::Running;
use system_tests::{Tests, on};

use super::machine::{Guest, Kernel, parent};

const LIMIT: Duration = Duration::from_secs(600);
/// What a guest's clock may be off the parent's.
const DRIFT: f64 = 0.001;
/// Samples at either end of the run of which the fastest counts: how late a line comes is chance, how early is not.
const ENDS: usize = 5;

/// Adds all of them.
pub fn add(tests: &mut Tests) {
    for kernel in Kernel::ALL {
        for cpus in [1, 2, 4] {
            let name =
                format!("work::load_is_done_right_and_time_is_kept::{}::{cpus}vp", kernel.name());
            // Long, and seen to stand still once on an emulator with nothing else to do.
            tests.add_if(false, name, move || {
                on("children-2lp", || parent(2, 2048), |parent| load(parent, kernel, cpus))
            });
        }
    }
}

fn load(parent: &mut Running, kernel: Kernel, cpus: u32) -> Result<()> {
    let guest = Guest { kernel, cpus, memory: 512, what: "work" };
    let command = format!("{} | load stamp", guest.command(""));
    let text = parent.shell_within(&command, LIMIT)?.success()?;
    let done = text.lines().find(|line| line.starts_with("load")).with_context(|| text.clone())?;
    ensure!(done.starts_with("load done: "), "{done}");
    ensure!(!text.contains("BUG") && !text.contains("Oops"), "{text}");
    let samples: Vec<_> = text.lines().filter_map(sample).collect();
    let drift = drift(&samples).with_context(|| format!("{} samples", samples.len()))?;
    println!("{cpus} VPs: {done}; drift {:.4} %", drift * 100.0);
    ensure!(drift.abs() < DRIFT, "the guest's clock is {:.3} % off", drift * 100.0);
    Ok(())
}

/// The guest's time and the parent's, in seconds.
fn sample(line: &str) -> Option<(f64, f64)> {
    let (guest, parent) = line.strip_prefix("T ")?.split_once(' ')?;
    Some((guest.parse::<f64>().ok()? / 1e9, parent.trim().parse::<f64>().ok()? / 1e9))
}

/// By how much the guest's clock is fast, as a part of the time that went by.
fn drift(samples: &[(f64, f64)]) -> Option<f64> {
    let half = samples.len() / 2;
    let (early, late) = samples.split_at_checked(half)?;
    let fastest = |samples: &[(f64, f64)]| {
        let mut samples = samples.to_vec();
        samples.sort_by(|a, b| (a.1 - a.0).total_cmp(&(b.1 - b.0)));
        samples.first().copied()
    };
    let ends = ENDS.max(half / 2);
    let first = fastest(early.get(..ends.min(early.len()))?)?;
    let last = fastest(late.get(late.len().checked_sub(ends)?..)?)?;
    let (guest, parent) = (last.0 - first.0, last.1 - first.1);
    // Two samples so near say nothing.
    (parent > 5.0).then_some(guest / parent - 1.0)
}
