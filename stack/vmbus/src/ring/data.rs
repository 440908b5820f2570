//! The data pages of a ring: bytes in a circle, by words of 8.

use crate::memory::{GuestPages, PAGE_SIZE};
use std::sync::atomic::{AtomicU64, Ordering};

const WORDS_PER_PAGE: usize = PAGE_SIZE / 8;

/// At least one page.
pub(super) struct Data {
    pages: GuestPages,
    size: u32,
}

impl Data {
    /// `size` is that of the pages.
    pub(super) fn new(pages: GuestPages, size: u32) -> Self {
        Self { pages, size }
    }

    /// Bytes.
    pub(super) fn size(&self) -> u32 {
        self.size
    }

    /// The index `bytes` further on. Both are at most the size.
    pub(super) fn advance(&self, index: u32, bytes: u32) -> u32 {
        let room = self.size - index.min(self.size);
        if bytes < room { index + bytes } else { bytes - room }
    }

    /// Bytes from `from` on to `to`, around the end if need be; 0 if they are equal.
    pub(super) fn distance(&self, from: u32, to: u32) -> u32 {
        if to >= from { to - from } else { self.size - from + to }
    }

    /// Copies out from byte `at`, a multiple of 8 below the size.
    pub(super) fn read(&self, at: u32, words: &mut [u64]) {
        let mut at = at;
        let mut left = words;
        while !left.is_empty() {
            let source = self.run(at, left.len());
            let (now, later) = left.split_at_mut(source.len());
            for (to, from) in now.iter_mut().zip(source) {
                *to = from.load(Ordering::Relaxed);
            }
            at = self.advance(at, source.len() as u32 * 8);
            left = later;
        }
    }

    /// Copies in from byte `at` on, a multiple of 8 below the size; the index behind it.
    pub(super) fn write(&self, at: u32, words: &[u64]) -> u32 {
        let mut at = at;
        let mut left = words;
        while !left.is_empty() {
            let target = self.run(at, left.len());
            let (now, later) = left.split_at(target.len());
            for (to, from) in target.iter().zip(now) {
                to.store(*from, Ordering::Relaxed);
            }
            at = self.advance(at, target.len() as u32 * 8);
            left = later;
        }
        at
    }

    /// The words from byte `at` to the end of its page, at most `count` and at least one.
    fn run(&self, at: u32, count: usize) -> &[AtomicU64] {
        static NOWHERE: [AtomicU64; 1] = [AtomicU64::new(0)];
        let word = at as usize / 8;
        let page = self.pages.words(word / WORDS_PER_PAGE);
        let rest = page.and_then(|page| page.get(word % WORDS_PER_PAGE..)).unwrap_or(&NOWHERE);
        rest.get(..count).unwrap_or(rest)
    }
}
