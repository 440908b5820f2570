//! Disks whose bytes lie in the file as they are: raw images and fixed VHDs, which have a footer behind them.

use crate::disk::{
    Description, Disk, Extent, Place, SectorSizes, Shrink, WriteTicket, check_range, push_extent,
};
use crate::error::{Error, Result};
use crate::in_use::IoGuard;
use crate::storage::{Storage, StorageExt};
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a flat format has beside the bytes.
pub(crate) trait Around: Send + Sync + Debug {
    fn describe(&self) -> Description;
    fn identity(&self) -> Option<[u8; 16]>;
    /// Changes the size of the file from one to the other, so that a power loss leaves one of them.
    fn resize(&self, storage: &dyn Storage, from: u64, to: u64) -> Result<()>;
    /// Whether discarded space stays taken.
    fn keeps_space(&self) -> bool;
}

/// A flat disk.
#[derive(Debug)]
pub(crate) struct Flat<A> {
    storage: Arc<dyn Storage>,
    around: A,
    size: AtomicU64,
    sectors: SectorSizes,
    read_only: bool,
}

impl<A: Around> Flat<A> {
    pub fn new(
        storage: Arc<dyn Storage>,
        around: A,
        size: u64,
        sectors: SectorSizes,
        read_only: bool,
    ) -> Self {
        Self { storage, around, size: AtomicU64::new(size), sectors, read_only }
    }

    fn map(&self, offset: u64, len: u64, extents: &mut Vec<Extent>) -> Result<()> {
        extents.clear();
        check_range(offset, len, self.size(), self.sectors.logical)?;
        if len > 0 {
            push_extent(extents, Place::File { file: 0, offset }, len);
        }
        Ok(())
    }

    fn writable(&self) -> Result<()> {
        if self.read_only { Err(Error::ReadOnly) } else { Ok(()) }
    }
}

impl<A: Around> Disk for Flat<A> {
    fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    fn sectors(&self) -> SectorSizes {
        self.sectors
    }

    fn identity(&self) -> Option<[u8; 16]> {
        self.around.identity()
    }

    fn content_id(&self) -> Option<[u8; 16]> {
        self.around.identity()
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn file(&self, number: u16) -> Option<&dyn Storage> {
        (number == 0).then_some(&*self.storage)
    }

    fn map_read(&self, offset: u64, len: u64, extents: &mut Vec<Extent>) -> Result<IoGuard> {
        self.map(offset, len, extents)?;
        Ok(IoGuard::none())
    }

    fn map_write(&self, offset: u64, len: u64, extents: &mut Vec<Extent>) -> Result<WriteTicket> {
        self.writable()?;
        self.map(offset, len, extents)?;
        Ok(WriteTicket { offset, len, marks: false, _guard: IoGuard::none() })
    }

    fn complete(&self, _ticket: WriteTicket) -> Result<()> {
        Ok(())
    }

    fn needs_commit(&self) -> bool {
        false
    }

    fn flush(&self) -> Result<()> {
        if self.read_only { Ok(()) } else { self.storage.sync() }
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.writable()?;
        check_range(offset, len, self.size(), self.sectors.logical)?;
        match (len, self.around.keeps_space()) {
            (0, _) => Ok(()),
            (_, true) => self.storage.zero(offset, len),
            (_, false) => self.storage.punch(offset, len),
        }
    }

    fn resize(&self, size: u64, shrink: Shrink) -> Result<()> {
        self.writable()?;
        let old = self.size();
        let sector = self.sectors.logical;
        if size == 0 || !size.is_multiple_of(sector.into()) {
            return Err(Error::Unsupported(format!(
                "{size} bytes are not a whole number of sectors of {sector} bytes"
            )));
        }
        if size < old && shrink == Shrink::Refuse {
            return Err(Error::Unsupported(format!(
                "the disk has {old} bytes: to cut it down to {size} must be said explicitly"
            )));
        }
        self.around.resize(&*self.storage, old, size)?;
        self.size.store(size, Ordering::Release);
        Ok(())
    }

    fn close(&self) -> Result<()> {
        self.flush()
    }

    fn describe(&self) -> Description {
        self.around.describe()
    }
}
