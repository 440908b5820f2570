//! A received packet: a private copy, taken apart.

use crate::memory::{PAGE_SIZE, Scatter};
use thiserror::Error;
use vmbusdef::gpadl::GpaRange;
use vmbusdef::packet::{GpaDirect, PacketDescriptor, PacketType};
use zerocopy::FromBytes;

/// Why the ranges of a packet or of a GPADL mean no memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum RangeError {
    /// The bytes end within a range.
    #[error("a list of ranges ends too early")]
    Truncated,
    /// The first byte is not in the first page, or the last one beyond 4 GiB.
    #[error("a range of {count} bytes at offset {offset}")]
    Offset {
        /// Bytes of the range.
        count: u32,
        /// In the first page.
        offset: u32,
    },
    /// More than there may be.
    #[error("{0} ranges")]
    TooMany(u32),
    /// A page is not RAM.
    #[error("page {0:#x} is not RAM")]
    NotRam(u64),
}

/// A packet as it came out of a ring.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    descriptor: PacketDescriptor,
    bytes: &'a [u8],
}

impl<'a> Received<'a> {
    /// `bytes` is the whole packet; the descriptor's offset and length have been checked.
    pub(crate) fn new(descriptor: PacketDescriptor, bytes: &'a [u8]) -> Self {
        Self { descriptor, bytes }
    }

    /// What it is.
    pub fn packet_type(&self) -> PacketType {
        self.descriptor.packet_type
    }

    /// To be echoed in the completion.
    pub fn transaction_id(&self) -> u64 {
        self.descriptor.transaction_id
    }

    /// Whether the guest waits for a completion.
    pub fn wants_completion(&self) -> bool {
        self.descriptor.flags.completion_requested()
    }

    /// Payload, padding included.
    pub fn payload(&self) -> &'a [u8] {
        self.bytes.get(usize::from(self.descriptor.data_offset8) * 8..).unwrap_or_default()
    }

    /// What is between descriptor and payload.
    pub fn extension(&self) -> &'a [u8] {
        let end = usize::from(self.descriptor.data_offset8) * 8;
        self.bytes.get(size_of::<PacketDescriptor>()..end).unwrap_or_default()
    }

    /// Fills `buffer` with the guest memory that a packet names in its ranges: none, if it is not of that type.
    ///
    /// After an error the buffer is empty.
    pub fn gather(&self, buffer: &mut Scatter) -> Result<(), RangeError> {
        buffer.clear();
        if self.packet_type() != PacketType::GPA_DIRECT {
            return Ok(());
        }
        let gathered = gather(self.extension(), buffer);
        if gathered.is_err() {
            buffer.clear();
        }
        gathered
    }
}

/// Ranges a GPA_DIRECT packet may have; Linux' network driver uses up to 32.
const RANGES_MAX: u32 = 64;

fn gather(extension: &[u8], buffer: &mut Scatter) -> Result<(), RangeError> {
    let (head, mut list) =
        GpaDirect::read_from_prefix(extension).map_err(|_| RangeError::Truncated)?;
    if head.range_count > RANGES_MAX {
        return Err(RangeError::TooMany(head.range_count));
    }
    for _ in 0..head.range_count {
        let (range, rest) = Range::split(list)?;
        list = rest;
        range.push_to(buffer)?;
    }
    Ok(())
}

/// One range of a list, with its pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range<'a> {
    pub(crate) head: GpaRange,
    gpns: &'a [u8],
}

impl<'a> Range<'a> {
    /// The first range of `list`, and what follows it.
    pub(crate) fn split(list: &'a [u8]) -> Result<(Self, &'a [u8]), RangeError> {
        let (head, rest) = GpaRange::read_from_prefix(list).map_err(|_| RangeError::Truncated)?;
        let GpaRange { byte_count: count, byte_offset: offset } = head;
        let end = offset.checked_add(count).filter(|_| offset < PAGE_SIZE as u32);
        let end = end.ok_or(RangeError::Offset { count, offset })?;
        let pages = (end as usize).div_ceil(PAGE_SIZE);
        let (gpns, rest) = rest.split_at_checked(pages * 8).ok_or(RangeError::Truncated)?;
        Ok((Self { head, gpns }, rest))
    }

    /// Page numbers.
    pub(crate) fn gpns(&self) -> impl Iterator<Item = u64> + 'a {
        self.gpns.as_chunks::<8>().0.iter().map(|gpn| u64::from_le_bytes(*gpn))
    }

    fn push_to(&self, buffer: &mut Scatter) -> Result<(), RangeError> {
        let GpaRange { byte_count: count, byte_offset: offset } = self.head;
        let (gpns, _) = self.gpns.as_chunks();
        buffer.push_pages(gpns, offset as usize, count as usize).map_err(RangeError::NotRam)
    }
}
