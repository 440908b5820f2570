//! Making what changed stable.

use super::state::State;
use super::{Format, Journal, Layout, Sparse};
use crate::error::Result;
use crate::storage::StorageExt;
use std::collections::BTreeSet;
use std::ops::Range;

/// What one commit makes stable.
#[derive(Debug)]
struct Batch {
    /// Bitmaps before table entries: an entry may rely on its bitmap.
    pages: Vec<(u64, Vec<u8>)>,
    table_pages: BTreeSet<u64>,
    freed: Vec<Range<u64>>,
    end: u64,
}

impl<F: Format> Sparse<F> {
    /// What a flush does; the caller holds the journal, so commits follow each other.
    pub(crate) fn commit(&self, journal: &mut F::Journal) -> Result<()> {
        if self.shape.read_only {
            return Ok(());
        }
        let batch = self.write().take_batch();
        let result = self.storage.sync().and_then(|()| match batch.pages.is_empty() {
            true => Ok(()),
            false => journal.commit(&*self.storage, &batch.pages, batch.end),
        });
        self.write().settle(batch, result.is_err());
        result
    }
}

impl<L: Layout> State<L> {
    fn take_batch(&mut self) -> Batch {
        let mut pages = self.pages.take_dirty();
        let table_pages = std::mem::take(&mut self.dirty_table);
        pages.extend(table_pages.iter().map(|page| self.layout.encode_table(*page, &self.table)));
        let freed = std::mem::take(&mut self.freed);
        Batch { pages, table_pages, freed, end: self.space.end() }
    }

    fn settle(&mut self, batch: Batch, failed: bool) {
        self.pages.settle(failed);
        if failed {
            self.dirty_table.extend(batch.table_pages);
            self.freed.extend(batch.freed);
        } else {
            self.in_use.retire(batch.freed);
        }
    }
}
