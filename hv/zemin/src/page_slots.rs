//! Tables on deposited pages: storage that grows page by page, for `portdb`.
#![expect(unsafe_code, reason = "entries live on deposited pages")]

use crate::deposits::PagePool;
use crate::mem::{PAGE, phys};
use portdb::Slots;

/// Up to `PAGES` pages with entries of `T`. What is not used yet is `EMPTY`.
#[derive(Debug)]
pub struct PageSlots<T, const PAGES: usize> {
    pages: [u64; PAGES],
    used: usize,
    empty: T,
}

impl<T: Copy, const PAGES: usize> PageSlots<T, PAGES> {
    /// Entries of one page.
    const PER_PAGE: usize = PAGE as usize / size_of::<T>();

    /// No page yet; entries will begin as `empty`.
    pub const fn new(empty: T) -> Self {
        const { assert!(size_of::<T>() <= PAGE as usize && align_of::<T>() <= PAGE as usize) };
        Self { pages: [0; PAGES], used: 0, empty }
    }

    /// Adds a page of the hypervisor's, nobody else's. `false` if there are enough.
    pub fn grow(&mut self, page: u64) -> bool {
        let Some(slot) = self.pages.get_mut(self.used) else { return false };
        *slot = page;
        self.used += 1;
        let entries = phys::pointer(page).cast::<T>();
        for index in 0..Self::PER_PAGE {
            // SAFETY: within the page, which is this table's alone; `T` fits and is aligned as checked above.
            unsafe { entries.add(index).write(self.empty) };
        }
        true
    }

    /// Gives all pages to a pool. The table must be empty.
    pub fn shrink(&mut self, pool: &mut PagePool) {
        for page in self.pages.iter_mut().take(self.used) {
            pool.put(core::mem::take(page));
        }
        self.used = 0;
    }

    fn entry(&self, index: usize) -> Option<*mut T> {
        let page = self.pages.get(index / Self::PER_PAGE).copied().filter(|&page| page != 0)?;
        // SAFETY: the index stays within the page.
        Some(unsafe { phys::pointer(page).cast::<T>().add(index % Self::PER_PAGE) })
    }
}

impl<T: Copy, const PAGES: usize> Slots<T> for PageSlots<T, PAGES> {
    fn capacity(&self) -> usize {
        self.used * Self::PER_PAGE
    }

    fn get(&self, index: usize) -> Option<&T> {
        // SAFETY: `grow` wrote the entry, and only this table reaches it: shared borrows of it are borrows of the entry.
        self.entry(index).map(|entry| unsafe { &*entry })
    }

    fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        // SAFETY: as `get`, with the exclusive borrow.
        self.entry(index).map(|entry| unsafe { &mut *entry })
    }
}
