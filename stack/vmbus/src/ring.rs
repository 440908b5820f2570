//! Rings: the two one-way queues of a channel, in memory that the guest rewrites as it likes.
//!
//! ```text
//!   guest ──writes──> [control | data …] ──Incoming──> device        pages 0 .. downstream of the GPADL
//!   guest <──reads─── [control | data …] <──Outgoing── device        pages downstream .. end
//! ```
//!
//! What must always hold:
//!
//! * Our own indices are private; the shared copies are only ever written. Of the guest's fields each is read once,
//!   checked as a local value, and used as that. A packet is copied out before anything in it is looked at.
//! * So the guest can make us read or write wrong bytes, its own, but never outside the pages it named.
//! * New data is announced if the consumer wants it and had caught up; room, if the producer waits for it and now has
//!   it. Each after a full fence, as the guest does it: else one of the two sleeps for ever.
//! * No allocation and no system call per packet.

mod control;
mod data;
mod incoming;
mod outgoing;
#[cfg(test)]
mod tests;

pub use incoming::Incoming;
pub use outgoing::{Outgoing, Packet};

use crate::memory::{GuestMemory, NotRam};
use control::Control;
use data::Data;
use thiserror::Error;

/// A ring that cannot go on: the guest wrote what makes no sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum RingError {
    /// An index is outside the data or not a multiple of 8.
    #[error("index {index:#x} in a ring of {size:#x} bytes")]
    Index {
        /// What was read.
        index: u32,
        /// Bytes of data.
        size: u32,
    },
    /// A packet is shorter than its descriptor, longer than what was written, or longer than accepted.
    #[error("packet of {length} bytes where {available} were written and {limit} are accepted")]
    Length {
        /// Of the packet, by its descriptor.
        length: u32,
        /// Between the indices.
        available: u32,
        /// Of the channel.
        limit: u32,
    },
    /// The payload would begin inside the descriptor or behind the packet.
    #[error("payload at {offset} of a packet of {length} bytes")]
    Offset {
        /// Of the payload.
        offset: u32,
        /// Of the packet.
        length: u32,
    },
}

/// Why pages cannot be a ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum RingPagesError {
    /// A ring is a control page and at least one page of data, and less than 4 GiB.
    #[error("{0} pages are no ring")]
    Count(usize),
    /// Some are not RAM.
    #[error(transparent)]
    NotRam(#[from] NotRam),
}

/// The pages of one ring.
struct RingPages {
    control: Control,
    data: Data,
}

impl RingPages {
    fn new(memory: &GuestMemory, gpns: &[u64]) -> Result<Self, RingPagesError> {
        let count = RingPagesError::Count(gpns.len());
        let (control, data) = gpns.split_first_chunk::<1>().ok_or(count)?;
        let size = u32::try_from(data.len() * crate::memory::PAGE_SIZE).map_err(|_| count)?;
        if size == 0 {
            return Err(count);
        }
        let control = Control::new(memory.pages(control)?);
        Ok(Self { control, data: Data::new(memory.pages(data)?, size) })
    }

    /// A shared index, once read, if it can be one.
    fn check(&self, index: u32) -> Result<u32, RingError> {
        let size = self.data.size();
        if index < size && index.is_multiple_of(8) {
            Ok(index)
        } else {
            Err(RingError::Index { index, size })
        }
    }
}
