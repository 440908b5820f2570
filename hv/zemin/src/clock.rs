//! A partition's clock: [`PartitionTime`] behind a lock, and a word that tells its VPs to look again.

use crate::mem::phys;
use crate::sync::SpinLock;
use crate::time;
use crate::vp::State;
use arch_x86::cpu;
use core::sync::atomic::{AtomicU32, Ordering};
use synic::PartitionTime;
use synic::reftime::RefTime;

/// The clock of one partition. Changed by hypercalls of the parent and by the guest itself, which the partition's `slat_lock`
/// serializes.
///
/// Its VPs each have a copy ([`ClockCopy`]), which they bring up to date before they run.
pub struct Clock {
    time: SpinLock<PartitionTime>,
    /// Changes with every change of the above.
    version: AtomicU32,
}

/// What a VP knows of its partition's clock, and runs by.
#[derive(Clone, Copy)]
pub struct ClockCopy {
    time: PartitionTime,
    version: u32,
}

fn machine() -> &'static RefTime {
    &time::CLOCKS.get().reference
}

impl ClockCopy {
    /// The machine's time, which the parent's VPs have.
    pub const fn new() -> Self {
        Self { time: PartitionTime::new(), version: 0 }
    }

    /// Reference time at a count of the machine's time-stamp counter.
    #[inline]
    pub fn reference_at(&self, tsc: u64) -> u64 {
        self.time.at(machine(), tsc)
    }

    /// The count of the machine's time-stamp counter at which reference time is `reference`.
    #[inline]
    pub fn tsc_at(&self, reference: u64) -> u64 {
        self.time.due(machine(), reference)
    }

    /// The guest's time-stamp counter now.
    pub fn tsc(&self) -> u64 {
        cpu::rdtsc().wrapping_add(self.time.skew())
    }
}

impl Clock {
    /// The hypervisor's own time.
    pub const fn new() -> Self {
        Self { time: SpinLock::new(PartitionTime::new()), version: AtomicU32::new(0) }
    }

    /// What reference time shows.
    pub fn now(&self) -> u64 {
        self.time.lock().time(machine(), cpu::rdtsc())
    }

    /// What the time-stamp counter shows.
    pub fn tsc(&self) -> u64 {
        self.time.lock().tsc(cpu::rdtsc())
    }

    /// The machine's time-stamp counter now, or when the clock was stopped.
    pub fn moment(&self) -> u64 {
        self.time.lock().moment(cpu::rdtsc())
    }

    /// Makes reference time show `value`.
    pub fn set(&self, value: u64) {
        self.change(|time, now| time.set_time(machine(), now, value));
    }

    /// Makes the time-stamp counter show `value`.
    pub fn set_tsc(&self, value: u64) {
        self.change(|time, now| time.set_tsc(machine(), now, value));
    }

    /// Stops both, while no VP runs, or lets them go on from where they were.
    pub fn stop(&self, stop: bool) {
        self.change(|time, now| if stop { time.stop(now) } else { time.resume(now) });
    }

    fn change(&self, change: impl FnOnce(&mut PartitionTime, u64)) {
        let mut time = self.time.lock();
        change(&mut time, cpu::rdtsc());
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Writes the reference TSC page (TLFS, "Partition Reference TSC Mechanism"): time = (tsc * scale >> 64) + offset.
    ///
    /// Sequence 0 tells a guest that reads meanwhile to ask the MSR.
    pub fn fill_page(&self, page: u64) {
        let reference = self.time.lock().reference(machine());
        let [sequence, scale, offset, ..] = phys::shared_words(page);
        let next = (sequence.load(Ordering::Relaxed) as u32).wrapping_add(1);
        sequence.store(0, Ordering::SeqCst);
        scale.store(reference.scale(), Ordering::SeqCst);
        offset.store(reference.offset() as u64, Ordering::SeqCst);
        // Neither 0 nor all ones are valid.
        let valid = if next == 0 || next == u32::MAX { 1 } else { next };
        sequence.store(valid.into(), Ordering::SeqCst);
    }
}

impl State {
    /// Takes in what has changed about the partition's clock.
    #[inline]
    pub fn follow_clock(&mut self, clock: &Clock) {
        if self.clock().version != clock.version.load(Ordering::Acquire) {
            self.copy_clock(clock);
        }
    }

    #[cold]
    fn copy_clock(&mut self, clock: &Clock) {
        let copy = {
            let time = clock.time.lock();
            ClockCopy { time: *time, version: clock.version.load(Ordering::Relaxed) }
        };
        let before = self.replace_clock(copy);
        // Deadlines are the machine's counts, and the guest's did not count meanwhile.
        self.apic.postpone_timer(copy.time.paused().wrapping_sub(before.time.paused()));
        self.vcpu.set_tsc_offset(copy.time.skew());
    }
}
