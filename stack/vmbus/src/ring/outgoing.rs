//! The ring to the guest: the device produces.

use super::{RingError, RingPages, RingPagesError};
use crate::memory::GuestMemory;
use std::sync::atomic::{Ordering, fence};
use vmbusdef::packet::{PacketDescriptor, PacketFlags, PacketType};
use vmbusdef::ring::TRAILER_SIZE;
use zerocopy::transmute;

const DESCRIPTOR_SIZE: u32 = size_of::<PacketDescriptor>() as u32;

/// A packet to send. Its payload is words; the last one is padded by the sender.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// What it is.
    pub packet_type: PacketType,
    /// Whether an answer is wanted.
    pub flags: PacketFlags,
    /// For the answer, or of the question.
    pub transaction_id: u64,
    /// What the type puts before the payload.
    pub extension: &'a [u64],
    /// Payload.
    pub payload: &'a [u64],
}

impl<'a> Packet<'a> {
    /// The answer to `transaction_id`.
    pub fn completion(transaction_id: u64, payload: &'a [u64]) -> Self {
        let (packet_type, flags) = (PacketType::COMPLETION, PacketFlags::new());
        Self { packet_type, flags, transaction_id, extension: &[], payload }
    }

    /// Unasked data, without an answer.
    pub fn in_band(transaction_id: u64, payload: &'a [u64]) -> Self {
        Self { packet_type: PacketType::IN_BAND, ..Self::completion(transaction_id, payload) }
    }

    /// Bytes it takes in a ring, if any ring can hold it.
    pub fn size(&self) -> Option<u32> {
        let words = self.extension.len().checked_add(self.payload.len())?;
        let length8 = u16::try_from(words.checked_add(DESCRIPTOR_SIZE as usize / 8)?).ok()?;
        Some(u32::from(length8) * 8 + TRAILER_SIZE)
    }

    fn descriptor(&self) -> PacketDescriptor {
        let data_offset8 = (DESCRIPTOR_SIZE as usize / 8 + self.extension.len()) as u16;
        PacketDescriptor {
            packet_type: self.packet_type,
            data_offset8,
            length8: data_offset8 + self.payload.len() as u16,
            flags: self.flags,
            transaction_id: self.transaction_id,
        }
    }
}

/// Produces packets; they become visible together.
pub struct Outgoing {
    pages: RingPages,
    /// Where the next packet goes.
    next: u32,
    /// What the guest knows of `next`.
    published: u32,
    /// As far as the guest has read, when last looked.
    read: u32,
    /// The guest was asked for a signal when there is room.
    waiting: bool,
    /// What was shown already is yet to be announced.
    unannounced: bool,
}

impl Outgoing {
    /// Over `gpns`, control page first, from where the shared indices are.
    pub fn new(memory: &GuestMemory, gpns: &[u64]) -> Result<Self, RingPagesError> {
        let pages = RingPages::new(memory, gpns)?;
        let next = pages.check(pages.control.write_index()).unwrap_or(0);
        let read = pages.check(pages.control.read_index()).unwrap_or(0);
        Ok(Self { pages, next, published: next, read, waiting: false, unannounced: false })
    }

    /// Puts a packet behind the others; whether there was room. The guest sees it after [`Self::publish`] at the latest.
    ///
    /// If there was none, the guest has been asked to signal when there is. A packet that no ring can ever hold is
    /// never taken.
    pub fn send(&mut self, packet: &Packet<'_>) -> Result<bool, RingError> {
        let Some(size) = packet.size() else { return Ok(false) };
        if !self.has_room(size)? && !self.wait_for_room(size)? {
            return Ok(false);
        }
        let before = self.next;
        let head: [u64; DESCRIPTOR_SIZE as usize / 8] = transmute!(packet.descriptor());
        let trailer = [u64::from(before) << 32];
        let parts = [&head, packet.extension, packet.payload, &trailer];
        self.next = self.pages.data.write(before, parts);
        Ok(true)
    }

    /// Whether `bytes` fit. One word always stays free, so that full is not empty.
    fn has_room(&mut self, bytes: u32) -> Result<bool, RingError> {
        if bytes < self.free() {
            return Ok(true);
        }
        self.read = self.pages.check(self.pages.control.read_index())?;
        Ok(bytes < self.free())
    }

    fn free(&self) -> u32 {
        self.pages.data.size() - self.pages.data.distance(self.read, self.next)
    }

    /// Asks for a signal; whether there is room after all.
    ///
    /// Everything sent is shown first: the guest signals when the room that it sees grows past the wish, and what it does
    /// not see is room to it.
    fn wait_for_room(&mut self, bytes: u32) -> Result<bool, RingError> {
        self.unannounced = self.publish();
        self.pages.control.set_pending_send_size(bytes);
        self.waiting = true;
        // The guest writes its index, then looks at the wish.
        fence(Ordering::SeqCst);
        self.has_room(bytes)
    }

    /// Whether the guest owes a signal for room.
    pub fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// Withdraws the wish for a signal.
    pub fn stop_waiting(&mut self) {
        if self.waiting {
            self.waiting = false;
            self.pages.control.set_pending_send_size(0);
        }
    }

    /// Shows the guest everything sent; whether it is to be signalled.
    pub fn publish(&mut self) -> bool {
        let unannounced = std::mem::take(&mut self.unannounced);
        if self.next == self.published {
            return unannounced;
        }
        let before = self.published;
        self.pages.control.set_write_index(self.next);
        self.published = self.next;
        // The guest changes its mask or read index, then looks at the write index: one of us sees the other's store.
        fence(Ordering::SeqCst);
        let had_caught_up = self.pages.control.read_index() == before;
        unannounced || (!self.pages.control.is_masked() && had_caught_up)
    }
}
