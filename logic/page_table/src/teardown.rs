//! Giving table pages back.

use crate::format::DIRTY_FROM;
use crate::table::{ENTRIES, Frames, ROOT_LEVEL, Table};

impl Table {
    /// Frees every table page, the root included. The table must not be in use by any processor.
    pub fn destroy(self, frames: &mut impl Frames) {
        self.free_below(frames, self.root, ROOT_LEVEL);
    }

    /// Frees up to `limit` table pages below the root, each after about 1,500 reads; true when there are none left and
    /// nothing is mapped. The table must not be in use by any processor.
    pub fn prune(&self, frames: &mut impl Frames, limit: u32) -> bool {
        for _ in 0..limit {
            if !self.prune_one(frames) {
                (0..ENTRIES as usize).for_each(|slot| frames.write(self.root, slot, 0));
                return true;
            }
        }
        false
    }

    /// Frees one table that has no tables below it; false if only the root is left.
    fn prune_one(&self, frames: &mut impl Frames) -> bool {
        let mut above = None;
        let mut table = self.root;
        let mut level = ROOT_LEVEL;
        while let Some((slot, lower)) = self.first_table(frames, table, level) {
            above = Some((table, slot));
            table = lower;
            level -= 1;
        }
        let Some((parent, slot)) = above else { return false };
        frames.write(parent, slot, 0);
        frames.free(table);
        true
    }

    fn first_table(&self, frames: &impl Frames, table: u64, level: u32) -> Option<(usize, u64)> {
        let slots = if level == 0 { 0 } else { ENTRIES as usize };
        (0..slots).find_map(|slot| Some((slot, self.lower(frames.read(table, slot), level)?)))
    }

    pub(crate) fn free_below(&self, frames: &mut impl Frames, table: u64, level: u32) {
        if level > 0 {
            for i in 0..ENTRIES as usize {
                if let Some(lower) = self.lower(frames.read(table, i), level) {
                    self.free_below(frames, lower, level - 1);
                }
            }
        }
        frames.free(table);
    }

    /// Whether anything below a table counts as dirty.
    pub(crate) fn any_dirty(&self, frames: &impl Frames, table: u64, level: u32) -> bool {
        (0..ENTRIES as usize).any(|slot| {
            let entry = frames.read(table, slot);
            match self.lower(entry, level) {
                Some(lower) if level > 0 => self.any_dirty(frames, lower, level - 1),
                _ => entry & (self.format.dirty | DIRTY_FROM) != 0,
            }
        })
    }
}
