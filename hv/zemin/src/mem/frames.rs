//! The frame pool: physical pages set aside at boot for the hypervisor itself.
//!
//! It serves what exists once per machine or per LP (tables, stacks, the parent's VPs). What a child needs comes from
//! pages that the parent deposits.

use super::{PAGE, phys};
use crate::sync::SpinLock;
use page_table::Frames;

/// Most frames a pool can have: 64 MiB.
const MAX_FRAMES: usize = 16_384;
const WORDS: usize = MAX_FRAMES / 64;

struct Pool {
    base: u64,
    frames: usize,
    free: usize,
    /// Where the search starts: everything below is in use.
    hint: usize,
    used: [u64; WORDS],
}

static POOL: SpinLock<Pool> =
    SpinLock::new(Pool { base: 0, frames: 0, free: 0, hint: 0, used: [0; WORDS] });

/// Hands the pool its memory: `len` bytes of mapped, unused RAM at `base`.
pub fn init(base: u64, len: u64) {
    let frames = ((len / PAGE) as usize).min(MAX_FRAMES);
    *POOL.lock() = Pool { base, frames, free: frames, hint: 0, used: [0; WORDS] };
}

/// First byte and length of the pool.
pub fn range() -> (u64, u64) {
    let pool = POOL.lock();
    (pool.base, pool.frames as u64 * PAGE)
}

/// Frames in total and free.
pub fn counts() -> (usize, usize) {
    let pool = POOL.lock();
    (pool.frames, pool.free)
}

/// One zeroed frame, or `None` when the pool is empty.
pub fn alloc() -> Option<u64> {
    alloc_contiguous(1)
}

/// `count` zeroed frames in a row.
pub fn alloc_contiguous(count: usize) -> Option<u64> {
    let address = POOL.lock().take(count)?;
    phys::zero(address, count as u64 * PAGE);
    Some(address)
}

/// Gives one frame back.
pub fn free(address: u64) {
    POOL.lock().give(address);
}

impl Pool {
    fn is_used(&self, frame: usize) -> bool {
        self.used.get(frame / 64).is_none_or(|word| word & 1 << (frame % 64) != 0)
    }

    fn mark(&mut self, frame: usize, used: bool) {
        if let Some(word) = self.used.get_mut(frame / 64) {
            *word = if used { *word | 1 << (frame % 64) } else { *word & !(1 << (frame % 64)) };
        }
    }

    fn take(&mut self, count: usize) -> Option<u64> {
        let mut run = 0;
        for frame in self.hint..self.frames {
            run = if self.is_used(frame) { 0 } else { run + 1 };
            if run == count {
                let first = frame + 1 - count;
                (first..=frame).for_each(|f| self.mark(f, true));
                self.free -= count;
                if first == self.hint {
                    self.hint = frame + 1;
                }
                return Some(self.base + first as u64 * PAGE);
            }
        }
        None
    }

    fn give(&mut self, address: u64) {
        let frame = (address.wrapping_sub(self.base) / PAGE) as usize;
        assert!(frame < self.frames && self.is_used(frame), "frame {address:#x} is not in use");
        self.mark(frame, false);
        self.free += 1;
        self.hint = self.hint.min(frame);
    }
}

/// The pool as the source of page-table pages.
pub struct PoolFrames;

impl Frames for PoolFrames {
    fn alloc(&mut self) -> Option<u64> {
        alloc()
    }

    fn free(&mut self, table: u64) {
        free(table);
    }

    fn read(&self, table: u64, index: usize) -> u64 {
        words(table).get(index).map_or(0, |word| word.load(core::sync::atomic::Ordering::Relaxed))
    }

    fn write(&mut self, table: u64, index: usize, entry: u64) {
        if let Some(word) = words(table).get(index) {
            word.store(entry, core::sync::atomic::Ordering::Release);
        }
    }

    fn update(&mut self, table: u64, index: usize, clear: u64, set: u64) -> u64 {
        use core::sync::atomic::Ordering::{AcqRel, Relaxed};
        let Some(word) = words(table).get(index) else { return 0 };
        // A processor may set accessed and dirty bits at any moment: neither may get lost, nor any other.
        let changed = word.fetch_update(AcqRel, Relaxed, |old| Some(old & !clear | set));
        changed.unwrap_or_else(|old| old)
    }
}

fn words(table: u64) -> &'static [core::sync::atomic::AtomicU64; 512] {
    phys::shared_words(table)
}
