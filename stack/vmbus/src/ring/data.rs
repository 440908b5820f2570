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
            load(now, source);
            at = self.advance(at, source.len() as u32 * 8);
            left = later;
        }
    }

    /// Copies `parts` in, one behind the other, from byte `at` on, a multiple of 8 below the size; the index behind them.
    pub(super) fn write<const N: usize>(&self, at: u32, parts: [&[u64]; N]) -> u32 {
        let count = parts.iter().map(|part| part.len()).sum();
        let mut target = self.run(at, count);
        if target.len() < count {
            return parts.into_iter().fold(at, |at, part| self.write_part(at, part));
        }
        for part in parts {
            let (now, later) = target.split_at(part.len());
            store(now, part);
            target = later;
        }
        self.advance(at, count as u32 * 8)
    }

    /// The same, where it may not be in one page.
    fn write_part(&self, at: u32, words: &[u64]) -> u32 {
        let mut at = at;
        let mut left = words;
        while !left.is_empty() {
            let target = self.run(at, left.len());
            let (now, later) = left.split_at(target.len());
            store(target, now);
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

/// Words that are copied in one go: a compiler does not unroll loops over atomics by itself.
const STEP: usize = 8;

/// Copies out as many words as both have.
fn load(to: &mut [u64], from: &[AtomicU64]) {
    let (to_steps, to) = to.as_chunks_mut::<STEP>();
    let (from_steps, from) = from.as_chunks::<STEP>();
    let load = |to: &mut [u64], from: &[AtomicU64]| {
        to.iter_mut().zip(from).for_each(|(to, from)| *to = from.load(Ordering::Relaxed));
    };
    to_steps.iter_mut().zip(from_steps).for_each(|(to, from)| load(to, from));
    load(to, from);
}

/// Copies in as many words as both have.
fn store(to: &[AtomicU64], from: &[u64]) {
    let (to_steps, to) = to.as_chunks::<STEP>();
    let (from_steps, from) = from.as_chunks::<STEP>();
    let store = |to: &[AtomicU64], from: &[u64]| {
        to.iter().zip(from).for_each(|(to, from)| to.store(*from, Ordering::Relaxed));
    };
    to_steps.iter().zip(from_steps).for_each(|(to, from)| store(to, from));
    store(to, from);
}
