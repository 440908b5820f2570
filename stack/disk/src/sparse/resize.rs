//! Changing the size of an open disk.

use super::{Format, Sparse, State};
use crate::disk::Shrink;
use crate::error::{Error, Result};
use crate::storage::StorageExt;

impl<F: Format> Sparse<F> {
    pub(super) fn change_size(&self, size: u64, shrink: Shrink) -> Result<()> {
        self.begin()?;
        let old = self.read().table.size;
        let sector = u64::from(self.shape.sectors.logical);
        if !size.is_multiple_of(sector) || size == 0 {
            return Err(Error::Unsupported(format!(
                "{size} bytes are not a whole number of sectors of {sector} bytes"
            )));
        }
        if size < old && shrink == Shrink::Refuse {
            return Err(Error::Unsupported(format!(
                "the disk has {old} bytes: to cut it down to {size} must be said explicitly"
            )));
        }
        F::resize(self, size)
    }

    /// Makes sure that what a larger disk shows of its last block, and of its parent, is zero.
    pub(crate) fn prepare_growth(&self, state: &State<F::Layout>) -> Result<()> {
        let size = state.table.size;
        if let Some(parent) = &self.parent
            && parent.size() > size
        {
            return Err(Error::Unsupported(format!(
                "the parent has {} bytes: growing would show what it has beyond {size}",
                parent.size()
            )));
        }
        let start = size % self.shape.block_size;
        let last = state.table.blocks.last().and_then(|block| block.data());
        match last {
            Some(data) if start != 0 => {
                self.storage.punch(data + start, self.shape.block_size - start)
            }
            _ => Ok(()),
        }
    }
}
