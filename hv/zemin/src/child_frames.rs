//! A child's pool as the source of its second-level tables.

use crate::deposits::PagePool;
use crate::mem::frames::PoolFrames;
use crate::mem::{PAGE, phys};
use crate::partition::Partition;
use page_table::Frames;

/// Tables out of a child's pool. A table given up can be used again at once: for when no LP walks it.
pub struct ChildFrames<'a>(pub &'a Partition);

impl Frames for ChildFrames<'_> {
    fn alloc(&mut self) -> Option<u64> {
        let page = self.0.pool.lock().get()?;
        phys::zero(page, PAGE);
        Some(page)
    }

    fn free(&mut self, table: u64) {
        self.0.pool.lock().put(table);
    }

    fn read(&self, table: u64, index: usize) -> u64 {
        PoolFrames.read(table, index)
    }

    fn write(&mut self, table: u64, index: usize, entry: u64) {
        PoolFrames.write(table, index, entry);
    }

    fn update(&mut self, table: u64, index: usize, clear: u64, set: u64) -> u64 {
        PoolFrames.update(table, index, clear, set)
    }
}

/// The same while VPs run: tables given up wait until every LP has dropped what it knows of them.
///
/// A processor in the middle of a walk may still read such a table. It finds the entries that were there, and as the first
/// one the link of the list, whose present bit is clear.
pub struct Quarantine<'a> {
    frames: ChildFrames<'a>,
    waiting: PagePool,
}

impl<'a> Quarantine<'a> {
    /// Nothing waits.
    pub fn new(partition: &'a Partition) -> Self {
        Self { frames: ChildFrames(partition), waiting: PagePool::new() }
    }

    /// Every LP has flushed: what waited can be used again.
    pub fn release(mut self) {
        while let Some(table) = self.waiting.get() {
            self.frames.free(table);
        }
    }
}

impl Frames for Quarantine<'_> {
    fn alloc(&mut self) -> Option<u64> {
        self.frames.alloc()
    }

    fn free(&mut self, table: u64) {
        self.waiting.put(table);
    }

    fn read(&self, table: u64, index: usize) -> u64 {
        self.frames.read(table, index)
    }

    fn write(&mut self, table: u64, index: usize, entry: u64) {
        self.frames.write(table, index, entry);
    }

    fn update(&mut self, table: u64, index: usize, clear: u64, set: u64) -> u64 {
        self.frames.update(table, index, clear, set)
    }
}
