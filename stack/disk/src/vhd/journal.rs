//! How a VHD's metadata becomes stable: by sectors, each of which is old or new after a power loss, and none of which
//! relies on another. The copy of the footer at the start of the file serves while the one at the end moves.

use super::wire::Footer;
use crate::error::Result;
use crate::sparse::Journal;
use crate::storage::{Storage, StorageExt};
use zerocopy::IntoBytes;

/// Writes metadata in place, and the footer behind it.
#[derive(Debug)]
pub(crate) struct InPlace {
    pub footer: Footer,
    /// Whether the copy of the footer has to be written anew.
    pub copy_damaged: bool,
}

impl Journal for InPlace {
    fn begin(&mut self, storage: &dyn Storage) -> Result<()> {
        if self.copy_damaged {
            storage.write(0, self.footer.as_bytes())?;
            storage.sync()?;
            self.copy_damaged = false;
        }
        Ok(())
    }

    fn commit(&mut self, storage: &dyn Storage, pages: &[(u64, Vec<u8>)], end: u64) -> Result<()> {
        pages.iter().try_for_each(|(offset, bytes)| storage.write(*offset, bytes))?;
        self.close(storage, end)
    }

    fn close(&mut self, storage: &dyn Storage, end: u64) -> Result<()> {
        storage.write(end, self.footer.as_bytes())?;
        storage.sync()
    }

    fn content_id(&self) -> [u8; 16] {
        self.footer.id
    }
}
