//! The table itself: map, unmap, translate.

use crate::format::{Format, PageSize};

/// Entries of one table page.
const ENTRIES: u64 = 512;
/// Level of the root table; leaves sit at levels 0 (4 KiB) to 2 (1 GiB).
const ROOT_LEVEL: u32 = 3;
/// Bits of an input address that four levels translate.
const ADDRESS_BITS: u32 = 48;
/// The translated bits of an input address.
const INPUT: u64 = (1 << ADDRESS_BITS) - 1;

/// Where table pages come from and how entries are reached.
pub trait Frames {
    /// A zeroed page for a table, by physical address.
    fn alloc(&mut self) -> Option<u64>;
    /// Takes back a page that [`Self::alloc`] gave out.
    fn free(&mut self, table: u64);
    /// Reads entry `index` (below 512) of the table at `table`.
    fn read(&self, table: u64, index: usize) -> u64;
    /// Writes entry `index` (below 512) of the table at `table`, in one piece.
    fn write(&mut self, table: u64, index: usize, entry: u64);
}

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

/// Ran out of frames: everything below `done` bytes from the start has been changed, nothing after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Truncated {
    /// Bytes from the start of the range that took effect.
    pub done: u64,
}

/// What a leaf in a range becomes.
#[derive(Clone, Copy)]
enum Change {
    /// `base + offset` with these flags.
    Map { base: u64, flags: u64, largest: PageSize },
    /// Not present.
    Unmap,
}

/// A four-level table, named by the physical address of its root page.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    root: u64,
    format: Format,
}

impl Table {
    /// An empty table, or `None` without a frame for its root.
    pub fn new(frames: &mut impl Frames, format: Format) -> Option<Self> {
        Some(Self { root: frames.alloc()?, format })
    }

    /// Physical address of the root page, as CR3 or nCR3 takes it.
    pub const fn root(&self) -> u64 {
        self.root
    }

    /// Maps `[input, input + len)` to `[output, output + len)` with leaves as large as alignment and `largest` allow.
    ///
    /// All three are multiples of 4 KiB (lower bits are ignored). Bits 63:48 of `input` are ignored, so that canonical
    /// addresses of the upper half can be given as they are; the range does not cross 2^48.
    pub fn map(
        &self,
        frames: &mut impl Frames,
        input: u64,
        output: u64,
        len: u64,
        flags: u64,
        largest: PageSize,
    ) -> Result<(), Truncated> {
        self.change(
            frames,
            input,
            len,
            Change::Map { base: output.wrapping_sub(input & INPUT), flags, largest },
        )
    }

    /// Removes every translation of `[input, input + len)`. Needs frames only to split a leaf that straddles an end.
    pub fn unmap(&self, frames: &mut impl Frames, input: u64, len: u64) -> Result<(), Truncated> {
        self.change(frames, input, len, Change::Unmap)
    }

    /// The translation of `input`, if present.
    pub fn translate(&self, frames: &impl Frames, input: u64) -> Option<Leaf> {
        let mut table = self.root;
        let mut level = ROOT_LEVEL;
        loop {
            let entry = frames.read(table, index(input, level));
            if entry & self.format.present == 0 {
                return None;
            }
            if let Some(size) = self.leaf_size(entry, level) {
                let offset = input & (size.bytes() - 1);
                let address = (entry & self.format.address & !(size.bytes() - 1)) + offset;
                return Some(Leaf {
                    address,
                    flags: entry & !self.format.address & !self.leaf_bit(level),
                    size,
                });
            }
            table = entry & self.format.address;
            level -= 1;
        }
    }

    /// Frees every table page, the root included. The table must not be in use by any processor.
    pub fn destroy(self, frames: &mut impl Frames) {
        self.free_below(frames, self.root, ROOT_LEVEL);
    }

    fn change(
        &self,
        frames: &mut impl Frames,
        input: u64,
        len: u64,
        change: Change,
    ) -> Result<(), Truncated> {
        let start = input & INPUT & !(PageSize::Small.bytes() - 1);
        let end = start.saturating_add(len).min(1 << ADDRESS_BITS);
        let mut at = start;
        while at < end {
            match self.change_one(frames, at, end, change) {
                Some(next) => at = next,
                None => return Err(Truncated { done: at - start }),
            }
        }
        Ok(())
    }

    /// Changes the largest single entry that starts at `at` and lies below `end`; returns where the next one starts.
    fn change_one(
        &self,
        frames: &mut impl Frames,
        at: u64,
        end: u64,
        change: Change,
    ) -> Option<u64> {
        let mut table = self.root;
        for level in (1..=ROOT_LEVEL).rev() {
            let slot = index(at, level);
            let entry = frames.read(table, slot);
            let span = level_bytes(level);
            let covers = at & (span - 1) == 0 && end - at >= span;
            if covers && self.can_set(level, at, change) {
                self.replace(frames, table, slot, level, self.entry(level, at, change));
                return Some(at + span);
            }
            if entry & self.format.present == 0 {
                if matches!(change, Change::Unmap) {
                    return Some((at & !(span - 1)).saturating_add(span).min(end));
                }
                let lower = frames.alloc()?;
                frames.write(table, slot, lower | self.format.table);
                table = lower;
            } else if self.leaf_size(entry, level).is_some() {
                table = self.split(frames, table, slot, entry, level)?;
            } else {
                table = entry & self.format.address;
            }
        }
        frames.write(table, index(at, 0), self.entry(0, at, change));
        Some(at + PageSize::Small.bytes())
    }

    /// Whether an entry at `level` can hold the change for `at` as a whole.
    fn can_set(&self, level: u32, at: u64, change: Change) -> bool {
        match (change, PageSize::at_level(level)) {
            (Change::Unmap, _) => true,
            (Change::Map { base, largest, .. }, Some(size)) => {
                size <= largest && at.wrapping_add(base) & (size.bytes() - 1) == 0
            }
            (Change::Map { .. }, None) => false,
        }
    }

    fn entry(&self, level: u32, at: u64, change: Change) -> u64 {
        match change {
            Change::Map { base, flags, .. } => {
                (at.wrapping_add(base) & self.format.address) | flags | self.leaf_bit(level)
            }
            Change::Unmap => 0,
        }
    }

    /// Puts `new` into a slot and gives back the tables that hung below it.
    fn replace(&self, frames: &mut impl Frames, table: u64, slot: usize, level: u32, new: u64) {
        let old = frames.read(table, slot);
        frames.write(table, slot, new);
        if old & self.format.present != 0 && self.leaf_size(old, level).is_none() {
            self.free_below(frames, old & self.format.address, level - 1);
        }
    }

    /// Turns a leaf into a table of 512 leaves with the same translation and returns that table.
    fn split(
        &self,
        frames: &mut impl Frames,
        table: u64,
        slot: usize,
        entry: u64,
        level: u32,
    ) -> Option<u64> {
        let lower = frames.alloc()?;
        let step = level_bytes(level - 1);
        let base = entry & self.format.address & !(level_bytes(level) - 1);
        let flags = entry & !self.format.address & !self.leaf_bit(level);
        for i in 0..ENTRIES {
            frames.write(lower, i as usize, (base + i * step) | flags | self.leaf_bit(level - 1));
        }
        frames.write(table, slot, lower | self.format.table);
        Some(lower)
    }

    fn free_below(&self, frames: &mut impl Frames, table: u64, level: u32) {
        if level > 0 {
            for i in 0..ENTRIES as usize {
                let entry = frames.read(table, i);
                if entry & self.format.present != 0 && self.leaf_size(entry, level).is_none() {
                    self.free_below(frames, entry & self.format.address, level - 1);
                }
            }
        }
        frames.free(table);
    }

    fn leaf_bit(&self, level: u32) -> u64 {
        if level == 0 { 0 } else { self.format.leaf }
    }

    fn leaf_size(&self, entry: u64, level: u32) -> Option<PageSize> {
        (level == 0 || entry & self.format.leaf != 0).then(|| PageSize::at_level(level)).flatten()
    }
}

/// Bytes that one entry at `level` translates.
const fn level_bytes(level: u32) -> u64 {
    1 << (12 + 9 * level)
}

const fn index(input: u64, level: u32) -> usize {
    ((input >> (12 + 9 * level)) & (ENTRIES - 1)) as usize
}
