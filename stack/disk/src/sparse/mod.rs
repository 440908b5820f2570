//! Disks whose blocks are allocated as they are written, for the formats that differ only in how they note it.
//!
//! ```text
//!  Disk calls ──▶ Sparse ──▶ State: block table, bitmap pages, free space        (in memory, behind a lock)
//!                   │           └─ Layout: where entries, bitmaps and blocks lie (the format)
//!                   └─ commit ──▶ Journal: makes changed metadata stable         (the format)
//! ```
//!
//! The table changes in memory at once; the file hears of it in a commit, which is what a flush does:
//!
//! 1. copy what changed,
//! 2. flush the file, so that the data is there that the changes speak of,
//! 3. have the journal write them so that a power loss leaves the old or the new.
//!
//! What must hold:
//! * a block gets room that reads as zero, so its entry may become stable before its data does;
//! * a bitmap bit, which hides the parent, is set only after its data was written;
//! * freed space is given to another block only when the commit that freed it is stable and no mapping reaches it.

mod bitmap;
mod block;
mod commit;
mod discard;
mod map;
mod resize;
mod state;

pub(crate) use bitmap::BitOrder;
pub(crate) use block::{Block, BlockState, check_count};
pub(crate) use state::{State, Table};

use crate::disk::{Description, Disk, Extent, SectorSizes, Shrink, WriteTicket, check_range};
use crate::error::{Error, Result};
use crate::in_use::IoGuard;
use crate::space::Space;
use crate::storage::Storage;
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// What a new block holds before it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fill {
    /// Zeros: the whole block is in the file.
    Zero,
    /// What the parent has: no sector is in the file yet.
    Parent,
}

/// Where a format puts things. Has the parts of the format's table that are not blocks.
pub(crate) trait Layout: Send + Sync + Debug {
    /// Bytes that are written to metadata at once: the unit that the journal keeps whole.
    fn page_size(&self) -> u64;
    /// Which bit of a bitmap's byte comes first.
    fn bit_order(&self) -> BitOrder;
    /// Whether an entry can say "zero" where the parent has data.
    fn can_hide_parent(&self) -> bool;
    /// Whether entries tell partial blocks from full ones; otherwise only the bitmap does.
    fn tells_partial(&self) -> bool;
    /// Makes room for a block, and for its bitmap. Returns the offset of its data and a table page that changed beside
    /// the block's own.
    fn allocate(
        &mut self,
        storage: &dyn Storage,
        space: &mut Space,
        block: u64,
        fill: Fill,
    ) -> Result<(u64, Option<u64>)>;
    /// The room that a block with its data at this offset takes.
    fn room(&self, data: u64) -> std::ops::Range<u64>;
    /// Where the bitmap of a block starts that has its data at this offset.
    fn bitmap(&self, block: u64, data: u64) -> u64;
    /// The table page that a block's entry is in.
    fn table_page(&self, block: u64) -> u64;
    /// A page of the table as it is in the file: its offset and bytes.
    fn encode_table(&self, page: u64, table: &Table) -> (u64, Vec<u8>);
}

/// How a format makes metadata stable.
pub(crate) trait Journal: Send + Debug {
    /// Before the first change since the disk was opened.
    fn begin(&mut self, storage: &dyn Storage) -> Result<()>;
    /// Makes pages stable, in this order, each page as a whole; everything written before is stable already.
    /// `end` is where the last structure of the file ends.
    fn commit(&mut self, storage: &dyn Storage, pages: &[(u64, Vec<u8>)], end: u64) -> Result<()>;
    /// All is committed: notes in the file that it was closed properly.
    fn close(&mut self, storage: &dyn Storage, end: u64) -> Result<()>;
    /// What a child notes of this disk: see [`Disk::content_id`].
    fn content_id(&self) -> [u8; 16];
}

/// A format: its layout, its journal, and what else it knows of the disk.
pub(crate) trait Format: Send + Sync + Debug + Sized {
    type Layout: Layout;
    type Journal: Journal;
    /// Identifier, names and remarks; the engine fills in the numbers.
    fn describe(&self) -> Description;
    /// The disk's identifier.
    fn identity(&self) -> [u8; 16];
    /// Makes a new size and table stable; see [`resize`].
    fn resize(disk: &Sparse<Self>, size: u64) -> Result<()>;
}

/// What does not change while a disk is open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub block_size: u64,
    pub sectors: SectorSizes,
    pub read_only: bool,
    /// All blocks have room and keep it.
    pub fixed: bool,
}

/// A disk of allocated blocks.
#[derive(Debug)]
pub(crate) struct Sparse<F: Format> {
    pub format: F,
    pub shape: Shape,
    pub storage: Arc<dyn Storage>,
    pub parent: Option<Arc<dyn Disk>>,
    state: RwLock<State<F::Layout>>,
    journal: Mutex<F::Journal>,
    /// Whether the journal has begun.
    begun: AtomicBool,
}

impl<F: Format> Sparse<F> {
    pub fn new(
        format: F,
        shape: Shape,
        storage: Arc<dyn Storage>,
        parent: Option<Arc<dyn Disk>>,
        state: State<F::Layout>,
        journal: F::Journal,
    ) -> Self {
        let (state, journal) = (RwLock::new(state), Mutex::new(journal));
        Self { format, shape, storage, parent, state, journal, begun: AtomicBool::new(false) }
    }

    pub fn read(&self) -> RwLockReadGuard<'_, State<F::Layout>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, State<F::Layout>> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn journal(&self) -> MutexGuard<'_, F::Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before any change of the file.
    fn begin(&self) -> Result<()> {
        if self.shape.read_only {
            return Err(Error::ReadOnly);
        }
        if !self.begun.load(Ordering::Acquire) {
            let mut journal = self.journal();
            if !self.begun.load(Ordering::Acquire) {
                journal.begin(&*self.storage)?;
                self.begun.store(true, Ordering::Release);
            }
        }
        Ok(())
    }

    fn has_parent(&self) -> bool {
        self.parent.is_some()
    }

    fn check(&self, offset: u64, len: u64, size: u64) -> Result<()> {
        check_range(offset, len, size, self.shape.sectors.logical)
    }
}

impl<F: Format> Disk for Sparse<F> {
    fn size(&self) -> u64 {
        self.read().table.size
    }

    fn sectors(&self) -> SectorSizes {
        self.shape.sectors
    }

    fn identity(&self) -> Option<[u8; 16]> {
        Some(self.format.identity())
    }

    fn content_id(&self) -> Option<[u8; 16]> {
        Some(self.journal().content_id())
    }

    fn is_read_only(&self) -> bool {
        self.shape.read_only
    }

    fn file(&self, number: u16) -> Option<&dyn Storage> {
        match number.checked_sub(1) {
            None => Some(&*self.storage),
            Some(number) => self.parent.as_ref()?.file(number),
        }
    }

    fn map_read(&self, offset: u64, len: u64, extents: &mut Vec<Extent>) -> Result<IoGuard> {
        self.resolve_read(offset, len, extents)
    }

    fn map_write(&self, offset: u64, len: u64, extents: &mut Vec<Extent>) -> Result<WriteTicket> {
        self.resolve_write(offset, len, extents)
    }

    fn complete(&self, ticket: WriteTicket) -> Result<()> {
        if !ticket.marks {
            return Ok(());
        }
        self.write().mark(&*self.storage, &self.shape, ticket.offset, ticket.len)
    }

    fn needs_commit(&self) -> bool {
        self.read().is_dirty()
    }

    fn flush(&self) -> Result<()> {
        self.commit(&mut self.journal())
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.make_zero(offset, len)
    }

    fn resize(&self, size: u64, shrink: Shrink) -> Result<()> {
        self.change_size(size, shrink)
    }

    fn close(&self) -> Result<()> {
        if !self.begun.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut journal = self.journal();
        self.commit(&mut journal)?;
        let end = self.read().space.end();
        journal.close(&*self.storage, end)?;
        self.begun.store(false, Ordering::Release);
        Ok(())
    }

    fn describe(&self) -> Description {
        let state = self.read();
        let blocks = &state.table.blocks;
        Description {
            block_size: self.shape.block_size,
            blocks: blocks.len() as u64,
            allocated: blocks.iter().filter(|block| block.data().is_some()).count() as u64,
            unused: state.unused(),
            ..self.format.describe()
        }
    }
}

impl<F: Format> Drop for Sparse<F> {
    fn drop(&mut self) {
        // Whoever wants to know about errors calls `close`; the file is safe either way.
        let _ = self.close();
    }
}
