//! What an open disk knows: its table, its bitmaps, its free space, and what of it the file does not know yet.

use super::bitmap::{Bits, Missing, Pages};
use super::{Block, BlockState, Fill, Layout, Shape};
use crate::error::Result;
use crate::in_use::InUse;
use crate::space::Space;
use crate::storage::{Storage, StorageExt};
use std::collections::BTreeSet;
use std::ops::Range;

/// The disk's size and its blocks.
#[derive(Debug)]
pub(crate) struct Table {
    /// Bytes of the disk.
    pub size: u64,
    pub blocks: Vec<Block>,
}

/// Everything that changes while a disk is open.
#[derive(Debug)]
pub(crate) struct State<L> {
    pub table: Table,
    pub layout: L,
    pub space: Space,
    pub pages: Pages,
    /// Table pages that the file has not, by number.
    pub dirty_table: BTreeSet<u64>,
    /// Room that the table does not name any more, while the file may.
    pub freed: Vec<Range<u64>>,
    pub in_use: InUse,
}

/// A part of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub block: u64,
    /// Where it starts in the block, in bytes.
    pub start: u64,
    /// Bytes of it.
    pub len: u64,
}

impl Piece {
    /// Its sectors, counted from the block's first.
    pub fn bits(self, shape: &Shape) -> Range<u64> {
        let sector = u64::from(shape.sectors.logical);
        self.start / sector..(self.start + self.len).div_ceil(sector)
    }
}

/// The parts of blocks that make up a range.
pub(crate) fn pieces(offset: u64, len: u64, block_size: u64) -> impl Iterator<Item = Piece> {
    let (mut at, end) = (offset, offset + len);
    std::iter::from_fn(move || {
        let start = at % block_size;
        let len = (block_size - start).min(end.checked_sub(at).filter(|rest| *rest > 0)?);
        let piece = Piece { block: at / block_size, start, len };
        at += len;
        Some(piece)
    })
}

impl<L: Layout> State<L> {
    pub fn new(table: Table, layout: L, space: Space) -> Self {
        let pages = Pages::new(layout.page_size());
        let (dirty_table, freed, in_use) = (BTreeSet::new(), Vec::new(), InUse::default());
        Self { table, layout, space, pages, dirty_table, freed, in_use }
    }

    pub fn is_dirty(&self) -> bool {
        !self.dirty_table.is_empty() || !self.freed.is_empty() || self.pages.is_dirty()
    }

    /// Bytes in the file that hold nothing.
    pub fn unused(&self) -> u64 {
        let freed: u64 = self.freed.iter().map(|range| range.end - range.start).sum();
        self.space.unused() + freed + self.in_use.waiting()
    }

    pub fn block(&self, number: u64) -> BlockState {
        let block = usize::try_from(number).ok().and_then(|number| self.table.blocks.get(number));
        block.copied().unwrap_or_default().state()
    }

    pub fn set_block(&mut self, number: u64, block: Block) {
        let place = usize::try_from(number).ok();
        if let Some(place) = place.and_then(|number| self.table.blocks.get_mut(number)) {
            *place = block;
            self.dirty_table.insert(self.layout.table_page(number));
        }
    }

    pub fn bits(&self, block: u64, data: u64) -> Bits {
        Bits { start: self.layout.bitmap(block, data), order: self.layout.bit_order() }
    }

    /// Bytes of a block that are on the disk: all, but for the last.
    pub fn block_len(&self, shape: &Shape, block: u64) -> u64 {
        let start = block.saturating_mul(shape.block_size);
        self.table.size.saturating_sub(start).min(shape.block_size)
    }

    /// Gives a block room.
    pub fn allocate(
        &mut self,
        storage: &dyn Storage,
        shape: &Shape,
        block: u64,
        fill: Fill,
    ) -> Result<u64> {
        for range in self.in_use.reclaim() {
            self.space.give(range.start, range.end - range.start);
        }
        let (data, beside) = self.layout.allocate(storage, &mut self.space, block, fill)?;
        self.dirty_table.extend(beside);
        if let Err(error) = self.reserve_notes(storage, shape, (block, data, fill), beside) {
            let room = self.layout.room(data);
            self.space.give(room.start, room.end - room.start);
            return Err(error);
        }
        self.pages.forget(&self.layout.room(data));
        if fill == Fill::Zero {
            self.set_block(block, Block::full(data));
            return Ok(data);
        }
        let all = 0..shape.block_size / u64::from(shape.sectors.logical);
        let bits = self.bits(block, data);
        if let Err(error) = self.pages.set(storage, bits, all, false) {
            let room = self.layout.room(data);
            self.space.give(room.start, room.end - room.start);
            return Err(error);
        }
        self.set_block(block, Block::partial(data));
        Ok(data)
    }

    /// What notes a block, the table's pages and its bitmap, gets space of its own: so a block that has room can be noted when
    /// the file system is full.
    fn reserve_notes(
        &self,
        storage: &dyn Storage,
        shape: &Shape,
        (block, data, fill): (u64, u64, Fill),
        beside: Option<u64>,
    ) -> Result<()> {
        for page in [Some(self.layout.table_page(block)), beside].into_iter().flatten() {
            let (offset, bytes) = self.layout.encode_table(page, &self.table);
            storage.keep_room(offset, bytes.len() as u64)?;
        }
        if fill == Fill::Zero {
            return Ok(());
        }
        let (bitmap, page) = (self.layout.bitmap(block, data), self.layout.page_size());
        let bits = shape.block_size / u64::from(shape.sectors.logical);
        let (start, end) = (bitmap / page * page, bitmap + bits.div_ceil(8));
        storage.keep_room(start, end.next_multiple_of(page) - start)
    }

    /// Notes that a range has been written, where a bitmap tells.
    pub fn mark(
        &mut self,
        storage: &dyn Storage,
        shape: &Shape,
        offset: u64,
        len: u64,
    ) -> Result<()> {
        for piece in pieces(offset, len, shape.block_size) {
            if let BlockState::Partial { data } = self.block(piece.block) {
                let bits = self.bits(piece.block, data);
                self.pages.set(storage, bits, piece.bits(shape), true)?;
                self.promote(storage, shape, piece.block, data)?;
            }
        }
        Ok(())
    }

    /// Finds out whether a partial block is full after all.
    pub fn promote_if_partial(
        &mut self,
        storage: &dyn Storage,
        shape: &Shape,
        block: u64,
    ) -> Result<()> {
        match self.block(block) {
            BlockState::Partial { data } => self.promote(storage, shape, block, data),
            _ => Ok(()),
        }
    }

    /// Turns a partial block that has all its sectors into a full one.
    fn promote(
        &mut self,
        storage: &dyn Storage,
        shape: &Shape,
        block: u64,
        data: u64,
    ) -> Result<()> {
        let all = 0..self.block_len(shape, block).div_ceil(shape.sectors.logical.into());
        let bits = self.bits(block, data);
        let (value, len) = loop {
            match self.pages.run(bits, all.clone()) {
                Ok(run) => break run,
                Err(missing) => self.load(storage, missing)?,
            }
        };
        if value && len == all.end {
            if self.layout.tells_partial() {
                self.set_block(block, Block::full(data));
            } else if let Ok(place) = usize::try_from(block)
                && let Some(place) = self.table.blocks.get_mut(place)
            {
                *place = Block::full(data);
            }
        }
        Ok(())
    }

    pub fn load(&mut self, storage: &dyn Storage, missing: Missing) -> Result<()> {
        self.pages.load(storage, missing)
    }
}
