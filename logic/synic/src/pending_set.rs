//! A set of small numbers that any LP may add to: what is pending for one VP, without memory that could run out.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

/// A set of numbers below `WORDS` × 64 (`WORDS` at most 64), without locks.
///
/// A summary word names the words that may be non-zero, so that an empty set costs one load. Numbers are taken in
/// rotation, so that none starves.
#[derive(Debug)]
pub struct PendingSet<const WORDS: usize> {
    /// Bit *w* is set whenever word *w* is non-zero (and may stay set a while longer if its last number is removed).
    summary: AtomicU64,
    /// Where the next search starts.
    cursor: AtomicUsize,
    words: [AtomicU64; WORDS],
}

impl<const WORDS: usize> PendingSet<WORDS> {
    /// One more than the largest number.
    pub const CAPACITY: usize = WORDS * 64;

    /// An empty set.
    pub const fn new() -> Self {
        const { assert!(WORDS >= 1 && WORDS <= 64, "one summary word") };
        Self {
            summary: AtomicU64::new(0),
            cursor: AtomicUsize::new(0),
            words: [const { AtomicU64::new(0) }; WORDS],
        }
    }

    /// Adds a number and says whether it was new. False, too, beyond the capacity: check that when handing numbers out.
    pub fn insert(&self, number: usize) -> bool {
        let (index, bit) = (number / 64, 1 << (number % 64));
        let Some(word) = self.words.get(index) else { return false };
        let new = word.fetch_or(bit, SeqCst) & bit == 0;
        // After the word: whoever clears the summary bit looks at the word again.
        self.summary.fetch_or(1 << index, SeqCst);
        new
    }

    /// Removes a number and says whether it was there.
    pub fn remove(&self, number: usize) -> bool {
        let (index, bit) = (number / 64, 1 << (number % 64));
        self.words.get(index).is_some_and(|word| word.fetch_and(!bit, SeqCst) & bit != 0)
    }

    /// Takes some number out of the set, the next in rotation.
    pub fn take(&self) -> Option<usize> {
        if self.summary.load(SeqCst) == 0 {
            return None;
        }
        let from = self.cursor.load(SeqCst) % Self::CAPACITY;
        let number = self
            .take_from(from / 64, u64::MAX << (from % 64))
            .or_else(|| self.take_after(from / 64))?;
        self.cursor.store(number + 1, SeqCst);
        Some(number)
    }

    /// Takes the lowest number of the words behind `index`, then of those up to it.
    fn take_after(&self, index: usize) -> Option<usize> {
        let start = (index as u32 + 1) % 64;
        loop {
            let rotated = self.summary.load(SeqCst).rotate_right(start);
            if rotated == 0 {
                return None;
            }
            let next = (rotated.trailing_zeros() + start) % 64;
            // If somebody else emptied the word, its summary bit is clear now and the search goes on.
            if let Some(number) = self.take_from(next as usize, u64::MAX) {
                return Some(number);
            }
        }
    }

    /// Takes the lowest number of a word within `mask`.
    fn take_from(&self, index: usize, mask: u64) -> Option<usize> {
        let word = self.words.get(index)?;
        loop {
            let value = word.load(SeqCst);
            if value == 0 {
                self.note_empty(index, word);
                return None;
            }
            let lowest = value & mask & (value & mask).wrapping_neg();
            if lowest == 0 {
                return None;
            }
            let before = word.fetch_and(!lowest, SeqCst);
            if before == lowest {
                self.note_empty(index, word);
            }
            if before & lowest != 0 {
                return Some(index * 64 + lowest.trailing_zeros() as usize);
            }
        }
    }

    /// Clears the summary bit of a word that was empty a moment ago.
    #[inline]
    fn note_empty(&self, index: usize, word: &AtomicU64) {
        self.summary.fetch_and(!(1 << index), SeqCst);
        if word.load(SeqCst) != 0 {
            self.summary.fetch_or(1 << index, SeqCst);
        }
    }

    /// Is the set empty?
    pub fn is_empty(&self) -> bool {
        self.summary.load(SeqCst) == 0 || self.words.iter().all(|word| word.load(SeqCst) == 0)
    }
}

impl<const WORDS: usize> Default for PendingSet<WORDS> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    extern crate std;
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::thread;
    use std::vec::Vec;

    #[test]
    fn numbers_are_taken_in_rotation() {
        let set = PendingSet::<4>::new();
        for n in [3, 70, 200] {
            assert!(set.insert(n) && !set.insert(n));
        }
        assert_eq!(set.take(), Some(3));
        set.insert(3);
        assert_eq!(
            (set.take(), set.take(), set.take(), set.take()),
            (Some(70), Some(200), Some(3), None)
        );
    }

    #[test]
    fn rotation_goes_on_within_a_word() {
        let set = PendingSet::<1>::new();
        set.insert(5);
        set.insert(9);
        assert_eq!(set.take(), Some(5));
        set.insert(5);
        assert_eq!((set.take(), set.take(), set.take()), (Some(9), Some(5), None));
    }

    #[test]
    fn numbers_beyond_the_capacity_are_refused() {
        let set = PendingSet::<64>::new();
        assert!(!set.insert(4096) && !set.remove(usize::MAX) && set.is_empty());
        assert!(set.insert(4095));
        assert_eq!((set.take(), set.take()), (Some(4095), None));
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        const PER_THREAD: usize = 20_000;
        let set = Arc::new(PendingSet::<8>::new());
        let inserted: Vec<_> = (0..2)
            .map(|t| {
                let set = set.clone();
                thread::spawn(move || {
                    (0..PER_THREAD).filter(|i| set.insert((i * 37 + t * 11) % 512)).count()
                })
            })
            .collect();
        let taken = || (0..PER_THREAD).filter(|_| set.take().is_some()).count();
        let first = taken();
        let inserted: usize = inserted.into_iter().map(|thread| thread.join().unwrap()).sum();
        let rest = core::iter::from_fn(|| set.take()).count();
        assert_eq!(first + rest, inserted);
        assert!(set.is_empty());
    }

    proptest! {
        #[test]
        fn it_is_a_set(steps in proptest::collection::vec((0u8..4, 0usize..300), 0..300)) {
            let (set, mut model) = (PendingSet::<4>::new(), BTreeSet::new());
            for (what, n) in steps {
                match what {
                    0 | 1 => prop_assert_eq!(set.insert(n), n < 256 && model.insert(n)),
                    2 => prop_assert_eq!(set.remove(n), model.remove(&n)),
                    _ => {
                        let taken = set.take();
                        prop_assert_eq!(taken.is_none(), model.is_empty());
                        prop_assert!(taken.is_none_or(|n| model.remove(&n)));
                    }
                }
                prop_assert_eq!(set.is_empty(), model.is_empty());
            }
        }
    }
}
