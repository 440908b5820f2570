//! A sorted array over storage that somebody else provides.

use hvdef::HvStatus;

/// Storage for `T`, indexed from 0. It may grow between calls, but not shrink.
pub trait Slots<T> {
    /// How many there are.
    fn capacity(&self) -> usize;
    /// Slot `index`, if there is one.
    fn get(&self, index: usize) -> Option<&T>;
    /// Slot `index`, if there is one.
    fn get_mut(&mut self, index: usize) -> Option<&mut T>;
}

impl<T> Slots<T> for &mut [T] {
    fn capacity(&self) -> usize {
        self.len()
    }
    fn get(&self, index: usize) -> Option<&T> {
        <[T]>::get(self, index)
    }
    fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        <[T]>::get_mut(self, index)
    }
}

impl<T, const N: usize> Slots<T> for [T; N] {
    fn capacity(&self) -> usize {
        N
    }
    fn get(&self, index: usize) -> Option<&T> {
        <[T]>::get(self, index)
    }
    fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        <[T]>::get_mut(self, index)
    }
}

/// An entry and what it is sorted by.
pub(crate) trait Entry: Copy {
    type Key: Ord;
    fn key(&self) -> Self::Key;
}

/// Entries in the first `len` slots, in the order of their keys, each key once.
#[derive(Debug)]
pub(crate) struct Sorted<S> {
    slots: S,
    len: usize,
}

impl<S> Sorted<S> {
    pub const fn new(slots: S) -> Self {
        Self { slots, len: 0 }
    }

    pub const fn slots_mut(&mut self) -> &mut S {
        &mut self.slots
    }

    pub const fn len(&self) -> usize {
        self.len
    }

    /// Where the first entry is for which `below` does not hold; it holds for all before it and for none behind.
    #[inline]
    fn first_not<T>(&self, below: impl Fn(&T) -> bool) -> usize
    where
        S: Slots<T>,
    {
        let (mut low, mut high) = (0, self.len);
        while low < high {
            let middle = low.midpoint(high);
            if self.slots.get(middle).is_some_and(&below) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The first entry for which `below` does not hold, and the one behind it.
    #[inline]
    pub fn two_from<T>(&self, below: impl Fn(&T) -> bool) -> (Option<&T>, Option<&T>)
    where
        S: Slots<T>,
    {
        let at = self.first_not(below);
        let entry = |index| if index < self.len { self.slots.get(index) } else { None };
        (entry(at), entry(at + 1))
    }

    /// Where the key is, or where it belongs.
    fn search<T: Entry>(&self, key: &T::Key) -> Result<usize, usize>
    where
        S: Slots<T>,
    {
        let (mut low, mut high) = (0, self.len);
        while low < high {
            let middle = low.midpoint(high);
            let Some(entry) = self.slots.get(middle) else { return Err(low) };
            match entry.key().cmp(key) {
                core::cmp::Ordering::Equal => return Ok(middle),
                core::cmp::Ordering::Less => low = middle + 1,
                core::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    pub fn find<T: Entry>(&self, key: &T::Key) -> Option<&T>
    where
        S: Slots<T>,
    {
        self.slots.get(self.search(key).ok()?)
    }

    /// Adds an entry. `taken` if its key is there already, INSUFFICIENT_MEMORY if the storage is full.
    pub fn insert<T: Entry>(&mut self, entry: T, taken: HvStatus) -> Result<(), HvStatus>
    where
        S: Slots<T>,
    {
        let Err(at) = self.search(&entry.key()) else { return Err(taken) };
        if self.len >= self.slots.capacity() {
            return Err(HvStatus::INSUFFICIENT_MEMORY);
        }
        for to in (at + 1..=self.len).rev() {
            self.copy(to - 1, to);
        }
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = entry;
        }
        self.len += 1;
        Ok(())
    }

    pub fn remove<T: Entry>(&mut self, key: &T::Key) -> Option<T>
    where
        S: Slots<T>,
    {
        let at = self.search(key).ok()?;
        let entry = self.slots.get(at).copied();
        for to in at..self.len.saturating_sub(1) {
            self.copy(to + 1, to);
        }
        self.len = self.len.saturating_sub(1);
        entry
    }

    /// Takes out the last entry.
    pub fn pop<T: Entry>(&mut self) -> Option<T>
    where
        S: Slots<T>,
    {
        self.len = self.len.checked_sub(1)?;
        self.slots.get(self.len).copied()
    }

    /// Keeps the entries that `keep` accepts, which may change all but their keys. Returns how many went.
    pub fn retain<T: Entry>(&mut self, mut keep: impl FnMut(&mut T) -> bool) -> usize
    where
        S: Slots<T>,
    {
        let before = self.len;
        let mut kept = 0;
        for from in 0..before {
            if self.slots.get_mut(from).is_some_and(&mut keep) {
                self.copy(from, kept);
                kept += 1;
            }
        }
        self.len = kept;
        before - kept
    }

    pub fn iter<'a, T: Entry + 'a>(&'a self) -> impl Iterator<Item = &'a T>
    where
        S: Slots<T>,
    {
        (0..self.len).filter_map(|index| self.slots.get(index))
    }

    fn copy<T: Entry>(&mut self, from: usize, to: usize)
    where
        S: Slots<T>,
    {
        let entry = self.slots.get(from).copied();
        if let (Some(entry), Some(slot)) = (entry, self.slots.get_mut(to)) {
            *slot = entry;
        }
    }
}
