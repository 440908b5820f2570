//! What a controller counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a controller has done since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Commands answered.
    pub commands: u64,
    /// Of these, with sense data or a status that is not success.
    pub failures: u64,
    /// Bytes read.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
    /// Interrupts of the guest.
    pub signals: u64,
    /// Reads and writes whose data was copied, because the store does not take the guest's pages as they are.
    pub copies: u64,
    /// Times a channel's thread was woken.
    pub wake_ups: u64,
    /// Commands that wait for space in the store now.
    pub waiting_for_space: u64,
}

/// [`Counts`] of one channel, written by its thread alone.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) commands: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) read: AtomicU64,
    pub(crate) written: AtomicU64,
    pub(crate) signals: AtomicU64,
    pub(crate) copies: AtomicU64,
    pub(crate) wake_ups: AtomicU64,
    pub(crate) waiting_for_space: AtomicU64,
}

impl Counters {
    /// Adds to a counter that no other thread writes.
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    pub(super) fn add_to(&self, sum: &mut Counts) {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        sum.commands += get(&self.commands);
        sum.failures += get(&self.failures);
        sum.read += get(&self.read);
        sum.written += get(&self.written);
        sum.signals += get(&self.signals);
        sum.copies += get(&self.copies);
        sum.wake_ups += get(&self.wake_ups);
        sum.waiting_for_space += get(&self.waiting_for_space);
    }
}
