//! The ring from the guest: the device consumes.

use super::{RingError, RingPages, RingPagesError};
use crate::memory::GuestMemory;
use crate::packet::Received;
use std::sync::atomic::{Ordering, fence};
use vmbusdef::packet::PacketDescriptor;
use vmbusdef::ring::TRAILER_SIZE;
use zerocopy::FromBytes;
use zerocopy::IntoBytes;

const DESCRIPTOR_SIZE: u32 = size_of::<PacketDescriptor>() as u32;
const DESCRIPTOR_WORDS: usize = DESCRIPTOR_SIZE as usize / 8;

/// Consumes packets, copying each.
pub struct Incoming {
    pages: RingPages,
    /// Where the next packet is.
    next: u32,
    /// As far as the guest has written, when last looked.
    end: u32,
    /// What the guest knows of `next`.
    published: u32,
    /// The packet last received.
    packet: Box<[u64]>,
}

impl Incoming {
    /// Over `gpns`, control page first, from where the shared indices are. Packets of more than `packet_max` bytes are
    /// an error.
    pub fn new(
        memory: &GuestMemory,
        gpns: &[u64],
        packet_max: usize,
    ) -> Result<Self, RingPagesError> {
        let pages = RingPages::new(memory, gpns)?;
        // Whatever is wrong with it shows with the first packet.
        let next = pages.check(pages.control.read_index()).unwrap_or(0);
        let packet = vec![0; (packet_max / 8).max(DESCRIPTOR_WORDS)].into();
        Ok(Self { pages, next, end: next, published: next, packet })
    }

    /// The next packet; `None` if there is none.
    ///
    /// A ring that gave an error gives it again: nothing is skipped.
    pub fn receive(&mut self) -> Result<Option<Received<'_>>, RingError> {
        if self.next == self.end {
            self.end = self.pages.check(self.pages.control.write_index())?;
            if self.next == self.end {
                return Ok(None);
            }
        }
        let (descriptor, length) = self.copy()?;
        let offset = u32::from(descriptor.data_offset8) * 8;
        if !(DESCRIPTOR_SIZE..=length).contains(&offset) {
            return Err(RingError::Offset { offset, length });
        }
        self.next = self.pages.data.advance(self.next, length + TRAILER_SIZE);
        let bytes = self.packet.as_bytes().get(..length as usize).unwrap_or_default();
        Ok(Some(Received::new(descriptor, bytes)))
    }

    /// Copies the packet at `next`. Its descriptor is looked at only in the copy.
    fn copy(&mut self) -> Result<(PacketDescriptor, u32), RingError> {
        let available = self.pages.data.distance(self.next, self.end);
        let limit = self.packet.len() as u32 * 8;
        let too_long = |length| RingError::Length { length, available, limit };
        let (head, rest) = self.packet.split_at_mut(DESCRIPTOR_WORDS);
        if available < DESCRIPTOR_SIZE + TRAILER_SIZE {
            return Err(too_long(DESCRIPTOR_SIZE));
        }
        self.pages.data.read(self.next, head);
        let descriptor = PacketDescriptor::read_from_bytes(head.as_bytes())
            .map_err(|_| too_long(DESCRIPTOR_SIZE))?;
        let length = u32::from(descriptor.length8) * 8;
        if length < DESCRIPTOR_SIZE || length > limit || length + TRAILER_SIZE > available {
            return Err(too_long(length));
        }
        let body = (length - DESCRIPTOR_SIZE) as usize / 8;
        if let Some(body) = rest.get_mut(..body) {
            self.pages.data.read(self.pages.data.advance(self.next, DESCRIPTOR_SIZE), body);
        }
        Ok((descriptor, length))
    }

    /// Gives the space of all received packets back; whether the guest waits for it and is to be signalled.
    pub fn release(&mut self) -> bool {
        if self.next == self.published {
            return false;
        }
        let freed = self.pages.data.distance(self.published, self.next);
        self.pages.control.set_read_index(self.next);
        self.published = self.next;
        // The guest writes its wish, then looks at the read index: one of us sees the other's store.
        fence(Ordering::SeqCst);
        let wanted = self.pages.control.pending_send_size();
        wanted != 0 && self.is_now_room(wanted, freed)
    }

    /// Whether more than `wanted` bytes are free only since the last `freed` were.
    fn is_now_room(&self, wanted: u32, freed: u32) -> bool {
        let Ok(end) = self.pages.check(self.pages.control.write_index()) else { return false };
        let free = self.pages.data.size() - self.pages.data.distance(self.next, end);
        free > wanted && free.saturating_sub(freed) <= wanted
    }

    /// Tells the guest not to signal.
    pub fn mask(&self) {
        self.pages.control.set_masked(true);
    }

    /// Tells the guest to signal; whether there is something already, for which no signal may come.
    pub fn unmask(&mut self) -> Result<bool, RingError> {
        self.pages.control.set_masked(false);
        // The guest writes its index, then looks at the mask.
        fence(Ordering::SeqCst);
        self.end = self.pages.check(self.pages.control.write_index())?;
        Ok(self.next != self.end)
    }
}
