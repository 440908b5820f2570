//! The control page of a ring, field by field.

use crate::memory::GuestPages;
use std::sync::atomic::{AtomicU32, Ordering};

const WRITE_INDEX: usize = 0;
const READ_INDEX: usize = 1;
const INTERRUPT_MASK: usize = 2;
const PENDING_SEND_SIZE: usize = 3;

/// Where a field is missing, which cannot be.
static NOWHERE: AtomicU32 = AtomicU32::new(0);

/// One page.
pub(super) struct Control(GuestPages);

impl Control {
    pub(super) fn new(page: GuestPages) -> Self {
        Self(page)
    }

    fn field(&self, index: usize) -> &AtomicU32 {
        self.0.half_words(0).and_then(|page| page.get(index)).unwrap_or(&NOWHERE)
    }

    /// The producer's index; what it published before is visible after this.
    pub(super) fn write_index(&self) -> u32 {
        self.field(WRITE_INDEX).load(Ordering::Acquire)
    }

    pub(super) fn set_write_index(&self, index: u32) {
        self.field(WRITE_INDEX).store(index, Ordering::Release);
    }

    /// The consumer's index; it no longer reads what lies before.
    pub(super) fn read_index(&self) -> u32 {
        self.field(READ_INDEX).load(Ordering::Acquire)
    }

    pub(super) fn set_read_index(&self, index: u32) {
        self.field(READ_INDEX).store(index, Ordering::Release);
    }

    /// The consumer wants no signals for new data.
    pub(super) fn is_masked(&self) -> bool {
        self.field(INTERRUPT_MASK).load(Ordering::Relaxed) != 0
    }

    pub(super) fn set_masked(&self, masked: bool) {
        self.field(INTERRUPT_MASK).store(masked.into(), Ordering::Relaxed);
    }

    /// Bytes the producer waits for.
    pub(super) fn pending_send_size(&self) -> u32 {
        self.field(PENDING_SEND_SIZE).load(Ordering::Relaxed)
    }

    pub(super) fn set_pending_send_size(&self, bytes: u32) {
        self.field(PENDING_SEND_SIZE).store(bytes, Ordering::Relaxed);
    }
}
