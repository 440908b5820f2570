//! Notices what needs a TLB flush.

use page_table::{Format, Frames};

/// Passes everything on to `inner` and remembers whether a processor may hold something that is no longer true.
pub(crate) struct Watch<'a, F> {
    inner: &'a mut F,
    format: Format,
    /// A valid entry was changed, or a table given back.
    pub flush: bool,
}

impl<'a, F: Frames> Watch<'a, F> {
    pub fn new(inner: &'a mut F, format: Format) -> Self {
        Self { inner, format, flush: false }
    }

    /// Entries that are not valid are never cached; a valid one that only gained accessed or dirty is still true.
    fn note(&mut self, old: u64, new: u64) {
        let gained = new & !old & (self.format.accessed | self.format.dirty);
        self.flush |= old & self.format.present != 0 && new & !gained != old;
    }
}

impl<F: Frames> Frames for Watch<'_, F> {
    fn alloc(&mut self) -> Option<u64> {
        self.inner.alloc()
    }

    fn free(&mut self, table: u64) {
        // Processors cache pointers to tables, even to tables without a valid entry.
        self.flush = true;
        self.inner.free(table);
    }

    fn read(&self, table: u64, index: usize) -> u64 {
        self.inner.read(table, index)
    }

    fn write(&mut self, table: u64, index: usize, entry: u64) {
        self.note(self.inner.read(table, index), entry);
        self.inner.write(table, index, entry);
    }

    fn update(&mut self, table: u64, index: usize, clear: u64, set: u64) -> u64 {
        let old = self.inner.update(table, index, clear, set);
        self.note(old, old & !clear | set);
        old
    }
}
