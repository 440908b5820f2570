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
const TRAILER_WORDS: usize = TRAILER_SIZE as usize / 8;

/// Consumes packets, copying them.
pub struct Incoming {
    pages: RingPages,
    /// Where the next packet is.
    next: u32,
    /// As far as the guest has written, when last looked.
    end: u32,
    /// What the guest knows of `next`.
    published: u32,
    staged: Staged,
}

/// A private copy of what lies from the next packet on, as far as it has been made: of several packets at a time.
struct Staged {
    words: Box<[u64]>,
    /// Words from here on, and to there, are copies.
    from: usize,
    to: usize,
}

impl Staged {
    /// A packet that begins where the copy begins, and its length in bytes, if that is sound and all of the packet is there.
    fn packet(&self) -> Option<(PacketDescriptor, u32)> {
        let words = self.words.get(self.from..self.to)?;
        let (descriptor, _) = PacketDescriptor::read_from_prefix(words.as_bytes()).ok()?;
        let length = u32::from(descriptor.length8) * 8;
        let is_whole = (length + TRAILER_SIZE) as usize <= words.len() * 8;
        (is_whole && length >= DESCRIPTOR_SIZE).then_some((descriptor, length))
    }
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
        let words = (packet_max / 8).max(DESCRIPTOR_WORDS) + TRAILER_WORDS;
        let staged = Staged { words: vec![0; words].into(), from: 0, to: 0 };
        Ok(Self { pages, next, end: next, published: next, staged })
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
        let (descriptor, length) = match self.staged.packet() {
            Some(packet) => packet,
            None => self.stage()?,
        };
        let offset = u32::from(descriptor.data_offset8) * 8;
        if !(DESCRIPTOR_SIZE..=length).contains(&offset) {
            return Err(RingError::Offset { offset, length });
        }
        self.next = self.pages.data.advance(self.next, length + TRAILER_SIZE);
        let first = self.staged.from;
        self.staged.from += (length + TRAILER_SIZE) as usize / 8;
        let words = self.staged.words.get(first..first + length as usize / 8).unwrap_or_default();
        Ok(Some(Received::new(descriptor, words.as_bytes())))
    }

    /// Copies what lies from `next` on, as far as there is room. The descriptors are looked at only in the copy.
    fn stage(&mut self) -> Result<(PacketDescriptor, u32), RingError> {
        let available = self.pages.data.distance(self.next, self.end);
        let staged = &mut self.staged;
        (staged.from, staged.to) = (0, staged.words.len().min(available as usize / 8));
        self.pages.data.read(self.next, staged.words.get_mut(..staged.to).unwrap_or_default());
        staged.packet().ok_or_else(|| self.too_long(available))
    }

    /// Why there is no packet in the copy.
    fn too_long(&self, available: u32) -> RingError {
        let descriptor = PacketDescriptor::read_from_prefix(self.staged.words.as_bytes());
        let length = match descriptor {
            Ok((descriptor, _)) if available >= DESCRIPTOR_SIZE + TRAILER_SIZE => {
                u32::from(descriptor.length8) * 8
            }
            _ => DESCRIPTOR_SIZE,
        };
        let limit = (self.staged.words.len() - TRAILER_WORDS) as u32 * 8;
        RingError::Length { length, available, limit }
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
