//! Putting together what was split.

use crate::format::{DIRTY_FROM, PageSize};
use crate::table::{ENTRIES, Frames, ROOT_LEVEL, Table, index, level_bytes};

impl Table {
    /// Replaces the table around `input` by one entry where all its entries are leaves that together mean the same, and
    /// goes on with the table above, up to leaves of the size `largest`. Reads at most 512 entries for each size.
    ///
    /// No translation changes, so nobody has to be told; but processors may walk the tables given back until they have
    /// flushed. Leaves that differ in accessed and dirty bits stay apart. No processor may be about to set such a bit: it
    /// could get lost.
    pub fn fold(&self, frames: &mut impl Frames, input: u64, largest: PageSize) {
        while self.fold_one(frames, input, largest) {}
    }

    /// One step of it: the lowest table on the way to `input`.
    fn fold_one(&self, frames: &mut impl Frames, input: u64, largest: PageSize) -> bool {
        let (mut above, mut table) = (None, self.root);
        let mut level = ROOT_LEVEL;
        while let Some(lower) = self.below(frames, table, input, level) {
            above = Some(table);
            table = lower;
            level -= 1;
        }
        let Some((above, size)) = above.zip(PageSize::at_level(level + 1)) else { return false };
        let Some(entry) = self.whole(frames, table, level).filter(|_| size <= largest) else {
            return false;
        };
        frames.write(above, index(input, level + 1), entry);
        frames.free(table);
        true
    }

    /// The table that the entry for `input` points to, if it does.
    fn below(&self, frames: &impl Frames, table: u64, input: u64, level: u32) -> Option<u64> {
        let entry = (level > 0).then(|| frames.read(table, index(input, level)))?;
        self.lower(entry, level)
    }

    /// The one entry that means what all of a table's mean, if they are leaves that fit together.
    fn whole(&self, frames: &impl Frames, table: u64, level: u32) -> Option<u64> {
        let first = frames.read(table, 0);
        let is_leaf = self.is_present(first) && self.leaf_size(first, level).is_some();
        let address = first & self.format.address & !(level_bytes(level) - 1);
        let fits =
            is_leaf && first & DIRTY_FROM == 0 && address.is_multiple_of(level_bytes(level + 1));
        let flags = first & !self.format.address & !self.leaf_bit(level);
        let entry = address | flags | self.leaf_bit(level + 1);
        let is_part = |i: u64| frames.read(table, i as usize) == self.part(entry, level + 1, i);
        (fits && (0..ENTRIES).all(is_part)).then_some(entry)
    }
}
