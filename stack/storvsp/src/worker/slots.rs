//! Packets between being received and being answered.

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
    pub(super) packet: VstorPacket,
    /// Away while a disk has it.
    buffer: Option<Scatter>,
    /// While commands are recorded.
    pub(super) stations: Option<Box<Stations>>,
    /// Bytes of data that a read or write moves.
    pub(super) moved: u32,
    /// Further I/Os, the next one last.
    pub(super) more: Vec<Io>,
    memory: GuestMemory,
}

impl Slot {
    /// The memory that came with the packet.
    pub(super) fn buffer_mut(&mut self) -> &mut Scatter {
        self.buffer.get_or_insert_with(|| Scatter::new(&self.memory, RUNS))
    }

    /// For a request.
    pub(super) fn take_buffer(&mut self) -> Scatter {
        self.buffer.take().unwrap_or_else(|| Scatter::new(&self.memory, 0))
    }

    /// After it.
    pub(super) fn return_buffer(&mut self, buffer: Scatter) {
        self.buffer = Some(buffer);
    }
}

/// A fixed number of slots.
pub(super) struct Slots {
    all: Vec<Slot>,
    free: Vec<u32>,
}

impl Slots {
    pub(super) fn new(memory: &GuestMemory, count: u32) -> Self {
        let slot = |_| Slot {
            transaction_id: 0,
            wants_answer: false,
            packet: VstorPacket::new_zeroed(),
            buffer: Some(Scatter::new(memory, RUNS)),
            stations: None,
            moved: 0,
            more: Vec::new(),
            memory: memory.clone(),
        };
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
