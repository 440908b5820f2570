//! Commands on their way, with the time at each station; off unless somebody looks.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// The newest are kept, so many of them.
const KEPT: usize = 4096;

/// When a command was where. Times are nanoseconds of CLOCK_MONOTONIC.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stations {
    /// Which channel: 0 is the primary one.
    pub channel: u16,
    /// Which LUN.
    pub lun: u8,
    /// First byte of the CDB.
    pub opcode: u8,
    /// Bytes of data, as the guest announced them.
    pub length: u32,
    /// The guest's number for it.
    pub transaction_id: u64,
    /// Out of the guest's ring.
    pub received: u64,
    /// Handed to the disk; 0 if it needed none.
    pub submitted: u64,
    /// Back from the disk.
    pub completed: u64,
    /// In the guest's ring, and the guest interrupted if it wanted.
    pub answered: u64,
}

/// What a controller's channels have recorded.
#[derive(Default)]
pub(crate) struct Recorder {
    is_on: AtomicBool,
    kept: Mutex<VecDeque<Stations>>,
}

impl Recorder {
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    pub(crate) fn switch(&self, on: bool) {
        self.is_on.store(on, Ordering::Relaxed);
    }

    pub(crate) fn record(&self, all: impl Iterator<Item = Stations>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for stations in all {
            if kept.len() == KEPT {
                kept.pop_front();
            }
            kept.push_back(stations);
        }
    }

    pub(crate) fn take(&self) -> Vec<Stations> {
        std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

/// Now, as in [`Stations`].
pub(crate) fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}
