//! What is at an address.

use crate::format::{DIRTY_FROM, MARK, PageSize};
use crate::table::{Frames, ROOT_LEVEL, Table, index, level_bytes};

/// A translation that is present.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// Physical address of exactly the byte asked for.
    pub address: u64,
    /// The entry's bits without the address and the leaf marker.
    pub flags: u64,
    /// Size of the leaf found.
    pub size: PageSize,
}

/// What is at an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// A translation.
    Leaf(Leaf),
    /// Not present, but marked.
    Marked,
    /// Nothing.
    Empty,
}

/// Where the entry is that decides about an address.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    pub table: u64,
    pub index: usize,
    pub level: u32,
    pub entry: u64,
}

impl Table {
    /// The translation of `input`, if present.
    pub fn translate(&self, frames: &impl Frames, input: u64) -> Option<Leaf> {
        match self.find(frames, input) {
            Found::Leaf(leaf) => Some(leaf),
            Found::Marked | Found::Empty => None,
        }
    }

    /// What is at `input`.
    pub fn find(&self, frames: &impl Frames, input: u64) -> Found {
        let slot = self.slot(frames, input);
        if !self.is_present(slot.entry) {
            return if slot.entry & MARK != 0 { Found::Marked } else { Found::Empty };
        }
        let Some(size) = self.leaf_size(slot.entry, slot.level) else { return Found::Empty };
        let offset = input & (size.bytes() - 1);
        let address = (slot.entry & self.format.address & !(size.bytes() - 1)) + offset;
        let flags = slot.entry & !self.format.address & !self.leaf_bit(slot.level) & !DIRTY_FROM;
        Found::Leaf(Leaf { address, flags, size })
    }

    /// The entry that decides about `input`: a leaf, or one that is not present.
    pub(crate) fn slot(&self, frames: &impl Frames, input: u64) -> Slot {
        let mut table = self.root;
        let mut level = ROOT_LEVEL;
        loop {
            let index = index(input, level);
            let entry = frames.read(table, index);
            // Level 0 has no lower tables: every present entry there is a leaf.
            if level == 0 || !self.points(entry, level) {
                return Slot { table, index, level, entry };
            }
            table = entry & self.format.address;
            level -= 1;
        }
    }
}

impl Slot {
    /// Bytes that the entry decides about.
    pub fn span(&self) -> u64 {
        level_bytes(self.level)
    }
}
