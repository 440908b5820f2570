//! Packets between being received and being answered.

use crate::block::{Operation, Request};
use crate::scsi::Io;
use crate::trace::Stations;
use vmbus::memory::{GuestMemory, Scatter};
use vmbusdef::storage::VstorPacket;
use zerocopy::FromZeros;

/// Runs of guest memory that a buffer has room for without allocating.
const RUNS: usize = 32;

/// One packet.
pub(super) struct Slot {
    pub(super) transaction_id: u64,
    pub(super) wants_answer: bool,
    /// The answer, once there is one.
    pub(super) packet: VstorPacket,
    /// What disks are asked by, with the memory that came with the packet. Away while a disk has it.
    request: Option<Box<Request>>,
    /// While commands are recorded.
    pub(super) stations: Option<Box<Stations>>,
    /// Bytes of data that a read or write moves.
    pub(super) moved: u32,
    /// Further I/Os, the next one last.
    pub(super) more: Vec<Io>,
    index: u32,
    memory: GuestMemory,
}

impl Slot {
    fn new(index: u32, memory: &GuestMemory) -> Self {
        Self {
            transaction_id: 0,
            wants_answer: false,
            packet: VstorPacket::new_zeroed(),
            request: Some(request(index, memory)),
            stations: None,
            moved: 0,
            more: Vec::new(),
            index,
            memory: memory.clone(),
        }
    }

    /// The memory that came with the packet.
    pub(super) fn buffer_mut(&mut self) -> &mut Scatter {
        &mut self.request.get_or_insert_with(|| request(self.index, &self.memory)).buffer
    }

    /// For a disk.
    pub(super) fn take_request(&mut self) -> Box<Request> {
        self.request.take().unwrap_or_else(|| request(self.index, &self.memory))
    }

    /// After it.
    pub(super) fn return_request(&mut self, request: Box<Request>) {
        self.request = Some(request);
    }
}

fn request(tag: u32, memory: &GuestMemory) -> Box<Request> {
    let buffer = Scatter::new(memory, RUNS);
    Box::new(Request { tag, operation: Operation::Flush, offset: 0, length: 0, buffer })
}

/// A fixed number of slots.
pub(super) struct Slots {
    all: Vec<Slot>,
    free: Vec<u32>,
}

impl Slots {
    pub(super) fn new(memory: &GuestMemory, count: u32) -> Self {
        let slot = |index| Slot::new(index, memory);
        Self { all: (0..count).map(slot).collect(), free: (0..count).rev().collect() }
    }

    /// A slot that is not in use, and is not yet after this.
    pub(super) fn free(&self) -> Option<u32> {
        self.free.last().copied()
    }

    /// The slot that [`Self::free`] named is in use.
    pub(super) fn take(&mut self, index: u32) {
        if self.free.last() == Some(&index) {
            self.free.pop();
        }
    }

    pub(super) fn put_back(&mut self, index: u32) {
        self.free.push(index);
    }

    pub(super) fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    pub(super) fn taken(&self) -> usize {
        self.all.len() - self.free.len()
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Slot> {
        self.all.get_mut(index as usize)
    }
}
