//! A partition's reference time: the hypervisor's, from the partition's creation on, less what it was stopped for.

use crate::mem::phys;
use crate::time;
use core::sync::atomic::{AtomicU64, Ordering};

/// Not stopped.
const RUNS: u64 = u64::MAX;

/// The clock of one partition. Changed by hypercalls of the parent, which the partition's `slat_lock` serializes.
pub struct Clock {
    /// The hypervisor's time at which this clock showed 0.
    origin: AtomicU64,
    /// What it shows while it is stopped.
    stopped: AtomicU64,
}

impl Clock {
    /// The hypervisor's own time.
    pub const fn new() -> Self {
        Self { origin: AtomicU64::new(0), stopped: AtomicU64::new(RUNS) }
    }

    /// The hypervisor's time at which this clock showed 0.
    pub fn origin(&self) -> u64 {
        self.origin.load(Ordering::Relaxed)
    }

    /// What it shows.
    pub fn now(&self) -> u64 {
        match self.stopped.load(Ordering::Relaxed) {
            RUNS => time::now().wrapping_sub(self.origin()),
            stopped => stopped,
        }
    }

    /// Makes it show `value`.
    pub fn set(&self, value: u64) {
        if self.stopped.load(Ordering::Relaxed) != RUNS {
            self.stopped.store(value.min(RUNS - 1), Ordering::Relaxed);
        }
        self.origin.store(time::now().wrapping_sub(value), Ordering::Relaxed);
    }

    /// Stops it, or lets it go on from where it was.
    pub fn stop(&self, stop: bool) {
        let shown = self.now();
        if stop {
            self.stopped.store(shown.min(RUNS - 1), Ordering::Relaxed);
        } else {
            self.origin.store(time::now().wrapping_sub(shown), Ordering::Relaxed);
            self.stopped.store(RUNS, Ordering::Relaxed);
        }
    }

    /// Writes the reference TSC page (TLFS, "Partition Reference TSC Mechanism"): time = (tsc * scale >> 64) + offset.
    ///
    /// Sequence 0 tells a guest that reads meanwhile to ask the MSR.
    pub fn fill_page(&self, page: u64) {
        let reference = time::CLOCKS.get().reference;
        let [sequence, scale, offset, ..] = phys::shared_words(page);
        let next = (sequence.load(Ordering::Relaxed) as u32).wrapping_add(1);
        sequence.store(0, Ordering::SeqCst);
        scale.store(reference.scale(), Ordering::SeqCst);
        let shown = reference.offset().wrapping_sub_unsigned(self.origin());
        offset.store(shown as u64, Ordering::SeqCst);
        // Neither 0 nor all ones are valid.
        let valid = if next == 0 || next == u32::MAX { 1 } else { next };
        sequence.store(valid.into(), Ordering::SeqCst);
    }
}
