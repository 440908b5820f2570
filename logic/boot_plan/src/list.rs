//! A list of bounded length, stored in place.

use core::ops::{Deref, DerefMut};

/// The list had no room for one more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// Up to `N` items, stored in place and dereferencing to a slice.
#[derive(Clone, Copy, Debug)]
pub struct List<T, const N: usize> {
    items: [T; N],
    len: usize,
}

impl<T: Copy, const N: usize> List<T, N> {
    /// An empty list. `fill` is what unused slots hold; nobody sees it.
    pub const fn new(fill: T) -> Self {
        Self { items: [fill; N], len: 0 }
    }

    /// Appends `item`.
    pub fn push(&mut self, item: T) -> Result<(), Full> {
        self.insert(self.len, item)
    }

    /// Puts `item` at `index`, which is at most the length; the items from there on move up.
    pub fn insert(&mut self, index: usize, item: T) -> Result<(), Full> {
        let end = self.len.checked_add(1).filter(|_| index <= self.len).ok_or(Full)?;
        let tail = self.items.get_mut(index..end).ok_or(Full)?;
        tail.rotate_right(1);
        *tail.first_mut().ok_or(Full)? = item;
        self.len = end;
        Ok(())
    }

    /// Takes out the item at `index`, if there is one; the items after it move down.
    pub fn remove(&mut self, index: usize) -> Option<T> {
        let tail = self.items.get_mut(index..self.len)?;
        let item = *tail.first()?;
        tail.rotate_left(1);
        self.len -= 1;
        Some(item)
    }

    /// Forgets all items.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

impl<T, const N: usize> Deref for List<T, N> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.items.get(..self.len).unwrap_or_default()
    }
}

impl<T, const N: usize> DerefMut for List<T, N> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.items.get_mut(..self.len).unwrap_or_default()
    }
}

impl<'a, T, const N: usize> IntoIterator for &'a List<T, N> {
    type Item = &'a T;
    type IntoIter = core::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_move_up_and_down() {
        let mut list = List::<u8, 3>::new(0);
        list.push(1).unwrap();
        list.push(3).unwrap();
        list.insert(1, 2).unwrap();
        assert_eq!(&*list, &[1, 2, 3]);
        assert_eq!(list.push(4), Err(Full));
        assert_eq!(list.remove(0), Some(1));
        assert_eq!(&*list, &[2, 3]);
        assert_eq!(list.remove(2), None);
        assert_eq!(list.insert(3, 9), Err(Full));
    }
}
