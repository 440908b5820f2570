//! Accessed and dirty bits, page by page.
//!
//! A leaf of 2 MiB has one dirty bit for 512 pages. Whoever reads and clears dirty bits goes through memory in pieces
//! that end anywhere, and must not lose what it has not seen yet: a large leaf whose first pages were cleared remembers
//! from which page on it is still dirty (see `format::DIRTY_FROM`), without needing memory for that. What cannot be
//! said that way stays dirty: reporting a clean page as dirty is harmless, the reverse is not.

use crate::format::{DIRTY_FROM, DIRTY_FROM_SHIFT, PageSize};
use crate::table::{ENTRIES, Frames, Table};
use crate::walk::Slot;

/// What a page went through.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AccessState {
    /// Read, written or executed.
    pub accessed: bool,
    /// Written.
    pub dirty: bool,
}

/// What to do with the bits after they were read; `None` leaves one alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AccessChange {
    /// The new accessed bit.
    pub accessed: Option<bool>,
    /// The new dirty bit.
    pub dirty: Option<bool>,
}

/// Part of an entry's pages, as indexes from its first.
#[derive(Clone, Copy)]
struct Part {
    from: u64,
    to: u64,
    of: u64,
}

impl Table {
    /// Reports and changes the bits of `pages` pages of 4 KiB from `input` on, in order. Pages that are not mapped are
    /// neither accessed nor, unless dirt was carried over to their mark, dirty.
    ///
    /// Returns whether bits were cleared: processors may then hold translations with the old bits and would not set
    /// them again, so the TLB has to be flushed.
    pub fn access_states(
        &self,
        frames: &mut impl Frames,
        input: u64,
        pages: u64,
        change: AccessChange,
        mut report: impl FnMut(AccessState),
    ) -> bool {
        let mut flush = false;
        let mut done = 0;
        while done < pages {
            let at = input.wrapping_add(done * PageSize::Small.bytes());
            let slot = self.slot(frames, at);
            let of = slot.span() / PageSize::Small.bytes();
            let from = at / PageSize::Small.bytes() % of;
            let part = Part { from, to: (from + pages - done).min(of), of };
            let entry = self.change_access(frames, &slot, part, change, &mut flush);
            (part.from..part.to).for_each(|page| report(self.state(entry, &slot, page)));
            done += part.to - part.from;
        }
        flush
    }

    /// Changes the bits for a part of an entry and returns the entry as it was.
    fn change_access(
        &self,
        frames: &mut impl Frames,
        slot: &Slot,
        part: Part,
        change: AccessChange,
        flush: &mut bool,
    ) -> u64 {
        let (mut clear, mut set) = self.accessed_change(slot, part, change.accessed);
        let (dirty_clear, dirty_set) = self.dirty_change(slot.entry, slot, part, change.dirty);
        clear |= dirty_clear;
        set |= dirty_set;
        if clear == 0 && set == 0 {
            return slot.entry;
        }
        let old = frames.update(slot.table, slot.index, clear, set);
        let late = old & !slot.entry & self.format.dirty;
        if slot.level != 0 && late & clear != 0 {
            // Written between the look and the change: which page is unknown, so all of them stay dirty.
            frames.update(slot.table, slot.index, DIRTY_FROM, late);
        }
        *flush |=
            self.is_present(old) && old & clear & (self.format.accessed | self.format.dirty) != 0;
        old
    }

    /// Bits to clear and to set for the accessed bit. A large leaf is cleared with its last page.
    fn accessed_change(&self, slot: &Slot, part: Part, accessed: Option<bool>) -> (u64, u64) {
        let bit = if self.is_present(slot.entry) { self.format.accessed } else { 0 };
        match accessed {
            Some(true) => (0, bit),
            Some(false) if part.to == part.of => (bit, 0),
            Some(false) | None => (0, 0),
        }
    }

    /// Bits to clear and to set for the dirty bit, given what the entry is.
    fn dirty_change(&self, entry: u64, slot: &Slot, part: Part, dirty: Option<bool>) -> (u64, u64) {
        let all = self.format.dirty | DIRTY_FROM;
        let Some(first) = self.first_dirty(entry, slot) else {
            let sets = dirty == Some(true) && self.is_present(entry);
            return (0, if sets { self.format.dirty } else { 0 });
        };
        match dirty {
            None => (0, 0),
            Some(true) => (DIRTY_FROM & entry, self.format.dirty),
            Some(false) if part.from > first => (0, 0),
            Some(false) if part.to == part.of => (all & clearable(slot), 0),
            // The rest of 2 MiB can be named; that of a larger entry cannot.
            Some(false) if part.of == ENTRIES => (all, part.to.max(first) << DIRTY_FROM_SHIFT),
            Some(false) => (0, 0),
        }
    }

    /// The first page of an entry from which on it is dirty.
    fn first_dirty(&self, entry: u64, slot: &Slot) -> Option<u64> {
        let from = (entry & DIRTY_FROM & clearable(slot)) >> DIRTY_FROM_SHIFT;
        if entry & self.format.dirty != 0 { Some(0) } else { (from != 0).then_some(from) }
    }

    fn state(&self, entry: u64, slot: &Slot, page: u64) -> AccessState {
        let accessed = self.is_present(entry) && entry & self.format.accessed != 0;
        AccessState {
            accessed,
            dirty: self.first_dirty(entry, slot).is_some_and(|first| page >= first),
        }
    }
}

/// The bits that carry dirt in the entry: [`DIRTY_FROM`] means something in entries for 2 MiB only.
fn clearable(slot: &Slot) -> u64 {
    if slot.level == 1 { u64::MAX } else { !DIRTY_FROM }
}
