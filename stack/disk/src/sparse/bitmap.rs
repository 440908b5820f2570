//! Sector bitmaps: which sectors of a partial block are in the file. Cached in pieces of the file ("pages").

use crate::error::Result;
use crate::storage::{Storage, StorageExt};
use std::collections::HashMap;
use std::ops::Range;

/// Clean pages kept at most (16 MiB of 4 KiB pages).
const CLEAN_MAX: usize = 4096;

/// Which bit of a byte comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BitOrder {
    /// VHDX: bit 0.
    LowFirst,
    /// VHD: bit 7.
    HighFirst,
}

impl BitOrder {
    fn mask(self, bit: u64) -> u8 {
        match self {
            Self::LowFirst => 1 << (bit % 8),
            Self::HighFirst => 0x80 >> (bit % 8),
        }
    }
}

/// Bits that follow each other in the file, from byte `start` on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bits {
    pub start: u64,
    pub order: BitOrder,
}

#[derive(Debug)]
struct Page {
    bytes: Box<[u8]>,
    dirty: bool,
    /// In a commit that has not ended: its bytes in the file may be older than these.
    committing: bool,
}

/// The cached parts of all bitmaps, by file offset.
#[derive(Debug)]
pub(crate) struct Pages {
    size: u64,
    pages: HashMap<u64, Page>,
}

/// A bitmap page that has to be read first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Missing(pub u64);

impl Pages {
    /// Pages of `size` bytes, the unit in which the format commits metadata.
    pub fn new(size: u64) -> Self {
        Self { size, pages: HashMap::new() }
    }

    fn place(&self, bits: Bits, bit: u64) -> (u64, usize) {
        let byte = bits.start + bit / 8;
        (byte - byte % self.size, (byte % self.size) as usize)
    }

    /// Reads the page at this offset, unless it is there.
    pub fn load(&mut self, storage: &dyn Storage, missing: Missing) -> Result<()> {
        if self.pages.contains_key(&missing.0) {
            return Ok(());
        }
        if self.pages.len() >= CLEAN_MAX {
            self.pages.retain(|_, page| page.dirty || page.committing);
        }
        let bytes = storage.read_vec(missing.0, self.size as usize)?.into_boxed_slice();
        self.pages.insert(missing.0, Page { bytes, dirty: false, committing: false });
        Ok(())
    }

    /// The value of the first bit, and how many from there on have the same.
    pub fn run(&self, bits: Bits, range: Range<u64>) -> Result<(bool, u64), Missing> {
        let mut value = None;
        let mut bit = range.start;
        while bit < range.end {
            let (page, at) = self.place(bits, bit);
            let bytes = self.pages.get(&page).map(|page| &page.bytes).ok_or(Missing(page))?;
            let byte = bytes.get(at).copied().unwrap_or(0);
            let set = byte & bits.order.mask(bit) != 0;
            if *value.get_or_insert(set) != set {
                break;
            }
            let uniform = byte == if set { 0xFF } else { 0 };
            bit += if uniform { 8 - bit % 8 } else { 1 };
        }
        Ok((value.unwrap_or(false), bit.min(range.end) - range.start))
    }

    /// Gives all bits of a range a value. Pages become dirty only where something changes.
    pub fn set(
        &mut self,
        storage: &dyn Storage,
        bits: Bits,
        range: Range<u64>,
        value: bool,
    ) -> Result<()> {
        let mut bit = range.start;
        while bit < range.end {
            let (place, at) = self.place(bits, bit);
            self.load(storage, Missing(place))?;
            let mask = bits.order.mask(bit);
            let whole = bit.is_multiple_of(8) && range.end - bit >= 8;
            let mask = if whole { 0xFF } else { mask };
            if let Some(page) = self.pages.get_mut(&place)
                && let Some(byte) = page.bytes.get_mut(at)
            {
                let new = if value { *byte | mask } else { *byte & !mask };
                page.dirty |= new != *byte;
                *byte = new;
            }
            bit += if whole { 8 } else { 1 };
        }
        Ok(())
    }

    /// Whether any page waits for a commit.
    pub fn is_dirty(&self) -> bool {
        self.pages.values().any(|page| page.dirty)
    }

    /// Drops what is known of a part of the file that holds no bitmap any more.
    pub fn forget(&mut self, range: &Range<u64>) {
        self.pages.retain(|place, _| !range.contains(place));
    }

    /// Copies of the dirty pages in file order; they count as clean from now on.
    pub fn take_dirty(&mut self) -> Vec<(u64, Vec<u8>)> {
        let mut dirty = Vec::new();
        for (place, page) in &mut self.pages {
            if std::mem::take(&mut page.dirty) {
                page.committing = true;
                dirty.push((*place, page.bytes.to_vec()));
            }
        }
        dirty.sort_unstable_by_key(|(place, _)| *place);
        dirty
    }

    /// The commit of the pages taken last has ended; they stay dirty if it failed.
    pub fn settle(&mut self, failed: bool) {
        for page in self.pages.values_mut() {
            page.dirty |= page.committing && failed;
            page.committing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem_storage::MemStorage;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn runs_and_settings_agree_with_a_list(
            order in prop_oneof![Just(BitOrder::LowFirst), Just(BitOrder::HighFirst)],
            start in 0u64..40,
            changes in prop::collection::vec((0u64..300, 0u64..300, any::<bool>()), 1..12),
        ) {
            let storage = MemStorage::from_bytes(&[0; 512]);
            let (mut pages, bits) = (Pages::new(16), Bits { start, order });
            let mut model = vec![false; 300];
            for (from, to, value) in changes {
                let range = from.min(to)..from.max(to);
                pages.set(&storage, bits, range.clone(), value).unwrap();
                model[range.start as usize..range.end as usize].fill(value);
            }
            pages.set(&storage, bits, 299..300, model[299]).unwrap();
            let mut at = 0;
            while at < 300 {
                match pages.run(bits, at..300) {
                    Err(missing) => pages.load(&storage, missing).unwrap(),
                    Ok((value, len)) => {
                        prop_assert!(len > 0);
                        let piece = &model[at as usize..(at + len) as usize];
                        prop_assert!(piece.iter().all(|bit| *bit == value));
                        at += len;
                        prop_assert!(at == 300 || model[at as usize] != value);
                    }
                }
            }
        }
    }

    #[test]
    fn a_failed_commit_leaves_its_pages_dirty() {
        let storage = MemStorage::from_bytes(&[0; 64]);
        let mut pages = Pages::new(16);
        let bits = Bits { start: 16, order: BitOrder::HighFirst };
        pages.set(&storage, bits, 0..1, true).unwrap();
        let mut expected = vec![0; 16];
        expected[0] = 0x80;
        assert_eq!(pages.take_dirty(), [(16, expected.clone())]);
        assert!(!pages.is_dirty());
        pages.settle(true);
        assert_eq!(pages.take_dirty(), [(16, expected)]);
        pages.settle(false);
        assert!(!pages.is_dirty());
    }
}
