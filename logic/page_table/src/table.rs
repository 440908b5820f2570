//! The table itself: map, unmap, mark.

use crate::format::{DIRTY_FROM, DIRTY_FROM_SHIFT, Format, MARK, PageSize};

/// Entries of one table page.
pub(crate) const ENTRIES: u64 = 512;
/// Level of the root table; leaves sit at levels 0 (4 KiB) to 2 (1 GiB).
pub(crate) const ROOT_LEVEL: u32 = 3;
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
    /// Clears and sets bits of an entry in one step, and returns what it was.
    ///
    /// This default does it in two, which loses what a processor sets in between: where processors walk the table,
    /// and accessed and dirty bits matter, it has to be an atomic operation.
    fn update(&mut self, table: u64, index: usize, clear: u64, set: u64) -> u64 {
        let old = self.read(table, index);
        self.write(table, index, old & !clear | set);
        old
    }
}

/// Ran out of frames: everything below `done` bytes from the start has been changed, nothing after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Truncated {
    /// Bytes from the start of the range that took effect.
    pub done: u64,
}

/// What a range becomes.
///
/// `keep_dirty` is for those who track writes: pages that were dirty stay it, though their mapping changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Mapped to `[output, output + len)` with these flags and leaves as large as alignment and `largest` allow.
    Map {
        /// A multiple of 4 KiB.
        output: u64,
        /// Bits of the leaves.
        flags: u64,
        /// Upper bound of the leaf size.
        largest: PageSize,
        /// Carry over what was dirty; what was empty counts as dirty.
        keep_dirty: bool,
    },
    /// Not present, and marked.
    Mark {
        /// Carry over what was dirty.
        keep_dirty: bool,
    },
    /// Empty.
    Unmap,
}

/// A change with the output as a distance from the input.
#[derive(Clone, Copy)]
struct Plan {
    change: Change,
    distance: u64,
}

/// The tables above the one being looked at, from the root down.
type Path = [u64; ROOT_LEVEL as usize + 1];

/// A four-level table, named by the physical address of its root page.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    pub(crate) root: u64,
    pub(crate) format: Format,
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
        self.change(frames, input, len, Change::Map { output, flags, largest, keep_dirty: false })
    }

    /// Removes every translation of `[input, input + len)`. Needs frames only to split a leaf that straddles an end.
    pub fn unmap(&self, frames: &mut impl Frames, input: u64, len: u64) -> Result<(), Truncated> {
        self.change(frames, input, len, Change::Unmap)
    }

    /// Makes `[input, input + len)` what `change` says; addresses as for [`Self::map`].
    ///
    /// The work is one step per entry written, and 512 per table that is given back; marks with `keep_dirty` are
    /// written page by page where they replace a table with dirty pages.
    pub fn change(
        &self,
        frames: &mut impl Frames,
        input: u64,
        len: u64,
        change: Change,
    ) -> Result<(), Truncated> {
        let start = input & INPUT & !(PageSize::Small.bytes() - 1);
        let end = start.saturating_add(len).min(1 << ADDRESS_BITS);
        let distance = match change {
            Change::Map { output, .. } => output.wrapping_sub(input & INPUT),
            Change::Mark { .. } | Change::Unmap => 0,
        };
        let plan = Plan { change, distance };
        let mut at = start;
        while at < end {
            match self.change_one(frames, at, end, plan) {
                Some(next) => at = next,
                None => return Err(Truncated { done: at - start }),
            }
        }
        Ok(())
    }

    /// Changes the largest single entry that starts at `at` and lies below `end`; returns where the next one starts.
    fn change_one(&self, frames: &mut impl Frames, at: u64, end: u64, plan: Plan) -> Option<u64> {
        let mut path: Path = [0; ROOT_LEVEL as usize + 1];
        let mut table = self.root;
        for level in (1..=ROOT_LEVEL).rev() {
            *path.get_mut(level as usize)? = table;
            let slot = index(at, level);
            let entry = frames.read(table, slot);
            let span = level_bytes(level);
            let covers = at & (span - 1) == 0 && end - at >= span;
            if covers && plan.fits(level, at) && !self.hides_dirt(frames, entry, level, plan) {
                self.replace(frames, table, slot, level, plan.entry(self, level, at));
                self.collapse(frames, &path, at, level, plan);
                return Some(at + span);
            }
            if !self.is_present(entry) && plan.is_done_by(self, entry) {
                return Some((at & !(span - 1)).saturating_add(span).min(end));
            }
            table = match self.lower(entry, level) {
                Some(lower) => lower,
                None => self.split(frames, table, slot, entry, level)?,
            };
        }
        *path.get_mut(0)? = table;
        self.replace(frames, table, index(at, 0), 0, plan.entry(self, 0, at));
        self.collapse(frames, &path, at, 0, plan);
        Some(at + PageSize::Small.bytes())
    }

    /// Whether one mark in place of the entry would blur which of the pages below it are dirty.
    fn hides_dirt(&self, frames: &impl Frames, entry: u64, level: u32, plan: Plan) -> bool {
        let lower =
            self.lower(entry, level).filter(|_| plan.change == Change::Mark { keep_dirty: true });
        lower.is_some_and(|lower| self.any_dirty(frames, lower, level - 1))
    }

    /// Puts `new` into a slot and gives back the tables that hung below it.
    fn replace(&self, frames: &mut impl Frames, table: u64, slot: usize, level: u32, new: Entry) {
        let old = frames.read(table, slot);
        let lower = self.lower(old, level);
        let was_dirty = match lower {
            Some(lower) if new.keep_dirty => self.any_dirty(frames, lower, level - 1),
            Some(_) => false,
            None => {
                old == 0 && self.is_present(new.bits) || old & (self.format.dirty | DIRTY_FROM) != 0
            }
        };
        let dirty = if new.keep_dirty && was_dirty { self.format.dirty } else { 0 };
        frames.write(table, slot, new.bits | dirty);
        if let Some(lower) = lower {
            self.free_below(frames, lower, level - 1);
        }
    }

    /// Gives back the tables above `at` that the change, having reached their last entry, left uniformly not present.
    fn collapse(&self, frames: &mut impl Frames, path: &Path, at: u64, level: u32, plan: Plan) {
        if matches!(plan.change, Change::Map { .. }) {
            return;
        }
        let bits = plan.entry(self, level, at).bits;
        for level in level..ROOT_LEVEL {
            let (Some(&table), Some(&above)) =
                (path.get(level as usize), path.get(level as usize + 1))
            else {
                return;
            };
            let last = index(at, level) == ENTRIES as usize - 1;
            if !last || (0..ENTRIES as usize).any(|slot| frames.read(table, slot) != bits) {
                return;
            }
            frames.write(above, index(at, level + 1), bits);
            frames.free(table);
        }
    }

    /// Turns an entry that is no table into a table of 512 entries with the same meaning and returns that table.
    fn split(
        &self,
        frames: &mut impl Frames,
        table: u64,
        slot: usize,
        entry: u64,
        level: u32,
    ) -> Option<u64> {
        let lower = frames.alloc()?;
        if entry != 0 {
            for i in 0..ENTRIES {
                frames.write(lower, i as usize, self.part(entry, level, i));
            }
        }
        frames.write(table, slot, lower | self.format.table);
        Some(lower)
    }

    /// The `i`th of the 512 smaller entries that mean the same as `entry`.
    pub(crate) fn part(&self, entry: u64, level: u32, i: u64) -> u64 {
        let dirty_from = (entry & DIRTY_FROM) >> DIRTY_FROM_SHIFT;
        let dirty = if dirty_from != 0 && i >= dirty_from { self.format.dirty } else { 0 };
        if !self.is_present(entry) {
            return entry & !DIRTY_FROM | dirty;
        }
        let base = entry & self.format.address & !(level_bytes(level) - 1);
        let bits = entry & !self.format.address & !self.leaf_bit(level) & !DIRTY_FROM;
        (base + i * level_bytes(level - 1)) | bits | dirty | self.leaf_bit(level - 1)
    }

    pub(crate) fn is_present(&self, entry: u64) -> bool {
        entry & self.format.present != 0
    }

    /// The table that an entry points to, if it does.
    pub(crate) fn lower(&self, entry: u64, level: u32) -> Option<u64> {
        (level > 0 && self.points(entry, level)).then_some(entry & self.format.address)
    }

    /// Whether an entry at a level above 0 points to a table.
    #[inline]
    pub(crate) fn points(&self, entry: u64, level: u32) -> bool {
        self.is_present(entry) && (entry & self.format.leaf == 0 || level == ROOT_LEVEL)
    }

    pub(crate) fn leaf_bit(&self, level: u32) -> u64 {
        if level == 0 { 0 } else { self.format.leaf }
    }

    /// Size of the leaf that a present entry is, if it is one.
    pub(crate) fn leaf_size(&self, entry: u64, level: u32) -> Option<PageSize> {
        (level == 0 || entry & self.format.leaf != 0).then(|| PageSize::at_level(level)).flatten()
    }
}

/// An entry to be written.
#[derive(Clone, Copy)]
struct Entry {
    bits: u64,
    keep_dirty: bool,
}

impl Plan {
    /// Whether an entry at `level` can hold the change for `at` as a whole.
    fn fits(&self, level: u32, at: u64) -> bool {
        match (self.change, PageSize::at_level(level)) {
            (Change::Mark { .. } | Change::Unmap, _) => true,
            (Change::Map { largest, .. }, Some(size)) => {
                size <= largest && at.wrapping_add(self.distance) & (size.bytes() - 1) == 0
            }
            (Change::Map { .. }, None) => false,
        }
    }

    /// Whether an entry that is not present already says what the change wants for all of its range.
    fn is_done_by(&self, table: &Table, entry: u64) -> bool {
        match self.change {
            Change::Map { .. } => false,
            Change::Mark { keep_dirty: true } => entry & !(table.format.dirty | DIRTY_FROM) == MARK,
            Change::Mark { keep_dirty: false } => entry == MARK,
            Change::Unmap => entry == 0,
        }
    }

    fn entry(&self, table: &Table, level: u32, at: u64) -> Entry {
        match self.change {
            Change::Map { flags, keep_dirty, .. } => {
                let address = at.wrapping_add(self.distance) & table.format.address;
                Entry { bits: address | flags | table.leaf_bit(level), keep_dirty }
            }
            Change::Mark { keep_dirty } => Entry { bits: MARK, keep_dirty },
            Change::Unmap => Entry { bits: 0, keep_dirty: false },
        }
    }
}

/// Bytes that one entry at `level` translates.
pub(crate) const fn level_bytes(level: u32) -> u64 {
    1 << (12 + 9 * level)
}

pub(crate) const fn index(input: u64, level: u32) -> usize {
    ((input >> (12 + 9 * level)) & (ENTRIES - 1)) as usize
}
