//! Many children at once.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::Running;
use system_tests::{Tests, on};

use super::machine::{Guest, Kernel, parent};

const CHILDREN: usize = 16;
const LIMIT: Duration = Duration::from_secs(1200);

/// Adds all of them.
pub fn add(tests: &mut Tests) {
    tests.add_long("many::sixteen_children_share_two_lps_evenly", || {
        on("children-2lp-4gib", || parent(2, 4096), sixteen)
    });
}

/// All boot, all make progress, and none more than its share.
fn sixteen(parent: &mut Running) -> Result<()> {
    let guest = Guest { kernel: Kernel::Stable, cpus: 1, memory: 128, what: "spin" };
    let command = guest.command("");
    let start = format!(
        "mkdir /tmp/many; for n in $(seq {CHILDREN}); do {command} > /tmp/many/$n 2>&1 & done; \
         until [ $(cat /tmp/many/* | grep -c '^spinning') = {CHILDREN} ]; do sleep 1; done; sleep 10"
    );
    parent.shell_within(&start, LIMIT)?;
    let before = progress(parent)?;
    parent.shell_within("sleep 60", LIMIT)?;
    let after = progress(parent)?;
    parent.shell("killall vmwp; while pidof vmwp; do sleep 0.1; done; rm -r /tmp/many")?;
    let done: Vec<_> = before.iter().zip(&after).map(|(before, after)| after - before).collect();
    let mean = done.iter().sum::<u64>() / done.len() as u64;
    println!("rounds in a minute: {done:?}");
    let fair = done.iter().all(|rounds| rounds.abs_diff(mean) * 20 <= mean);
    ensure!(mean > 0 && fair, "{done:?}");
    Ok(())
}

/// The last sum that each printed.
fn progress(parent: &mut Running) -> Result<Vec<u64>> {
    let command = format!(
        "for n in $(seq {CHILDREN}); do sed -n 's/^S \\([0-9]*\\).*/\\1/p' /tmp/many/$n | tail -1; done"
    );
    let text = parent.shell(&command)?.success()?;
    let sums: Vec<u64> = text.split_whitespace().map_while(|word| word.parse().ok()).collect();
    ensure!(sums.len() == CHILDREN, "{text}");
    Ok(sums)
}
