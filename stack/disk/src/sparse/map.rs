//! From ranges of the disk to extents of files.

use super::bitmap::Missing;
use super::state::{Piece, State, pieces};
use super::{BlockState, Fill, Format, Layout, Sparse};
use crate::disk::{Extent, Place, WriteTicket, push_extent};
use crate::error::Result;
use crate::in_use::IoGuard;

/// Why a range could not be resolved with what is in memory.
enum Stop {
    Missing(Missing),
    Error(crate::Error),
}

impl From<Missing> for Stop {
    fn from(missing: Missing) -> Self {
        Self::Missing(missing)
    }
}

impl From<crate::Error> for Stop {
    fn from(error: crate::Error) -> Self {
        Self::Error(error)
    }
}

impl<F: Format> Sparse<F> {
    pub(super) fn resolve_read(
        &self,
        offset: u64,
        len: u64,
        extents: &mut Vec<Extent>,
    ) -> Result<IoGuard> {
        loop {
            extents.clear();
            let state = self.read();
            self.check(offset, len, state.table.size)?;
            let stop = pieces(offset, len, self.shape.block_size)
                .try_for_each(|piece| self.read_piece(&state, piece, extents));
            match stop {
                Ok(()) => return Ok(state.in_use.guard()),
                Err(Stop::Error(error)) => return Err(error),
                Err(Stop::Missing(missing)) => {
                    drop(state);
                    self.load(offset, len, missing)?;
                }
            }
        }
    }

    /// Reads a page of a bitmap; where only bitmaps tell, blocks may turn out to be full.
    fn load(&self, offset: u64, len: u64, missing: Missing) -> Result<()> {
        let mut state = self.write();
        state.load(&*self.storage, missing)?;
        if state.layout.tells_partial() {
            return Ok(());
        }
        pieces(offset, len, self.shape.block_size).try_for_each(|piece| {
            state.promote_if_partial(&*self.storage, &self.shape, piece.block)
        })
    }

    fn read_piece(
        &self,
        state: &State<F::Layout>,
        piece: Piece,
        extents: &mut Vec<Extent>,
    ) -> Result<(), Stop> {
        match state.block(piece.block) {
            BlockState::Zero => push_extent(extents, Place::Zero, piece.len),
            BlockState::Absent => self.read_parent(piece, extents)?,
            BlockState::Full { data } => {
                let offset = data + piece.start;
                push_extent(extents, Place::File { file: 0, offset }, piece.len);
            }
            BlockState::Partial { data } => self.read_partial(state, piece, data, extents)?,
        }
        Ok(())
    }

    fn read_partial(
        &self,
        state: &State<F::Layout>,
        piece: Piece,
        data: u64,
        extents: &mut Vec<Extent>,
    ) -> Result<(), Stop> {
        let bits = state.bits(piece.block, data);
        let sector = u64::from(self.shape.sectors.logical);
        let mut range = piece.bits(&self.shape);
        while !range.is_empty() {
            let (here, count) = state.pages.run(bits, range.clone())?;
            let (start, len) = (range.start * sector, count * sector);
            match here {
                true => {
                    push_extent(extents, Place::File { file: 0, offset: data + start }, len);
                }
                false => self.read_parent(Piece { start, len, ..piece }, extents)?,
            }
            range.start += count;
        }
        Ok(())
    }

    /// What the parent has there; zero beyond its end, or without one.
    pub(super) fn read_parent(&self, piece: Piece, extents: &mut Vec<Extent>) -> Result<()> {
        let offset = piece.block * self.shape.block_size + piece.start;
        let parent_size = self.parent.as_ref().map_or(0, |parent| parent.size());
        let from_parent = piece.len.min(parent_size.saturating_sub(offset));
        if let Some(parent) = self.parent.as_ref().filter(|_| from_parent > 0) {
            let mut found = Vec::new();
            // A parent never changes, so its guard keeps nothing.
            parent.map_read(offset, from_parent, &mut found)?;
            for extent in found {
                let place = match extent.place {
                    Place::Zero => Place::Zero,
                    Place::File { file, offset } => {
                        Place::File { file: file.saturating_add(1), offset }
                    }
                };
                push_extent(extents, place, extent.len);
            }
        }
        if from_parent < piece.len {
            push_extent(extents, Place::Zero, piece.len - from_parent);
        }
        Ok(())
    }

    pub(super) fn resolve_write(
        &self,
        offset: u64,
        len: u64,
        extents: &mut Vec<Extent>,
    ) -> Result<WriteTicket> {
        self.begin()?;
        if let Some(ticket) = self.rewrite(offset, len, extents)? {
            return Ok(ticket);
        }
        extents.clear();
        let mut state = self.write();
        self.check(offset, len, state.table.size)?;
        let mut marks = false;
        for piece in pieces(offset, len, self.shape.block_size) {
            let data = self.room(&mut state, piece.block)?;
            marks |= matches!(state.block(piece.block), BlockState::Partial { .. });
            push_extent(extents, Place::File { file: 0, offset: data + piece.start }, piece.len);
        }
        Ok(WriteTicket { offset, len, marks, _guard: state.in_use.guard() })
    }

    /// The common case, without keeping anybody else out: all blocks are full already.
    fn rewrite(
        &self,
        offset: u64,
        len: u64,
        extents: &mut Vec<Extent>,
    ) -> Result<Option<WriteTicket>> {
        extents.clear();
        let state = self.read();
        self.check(offset, len, state.table.size)?;
        for piece in pieces(offset, len, self.shape.block_size) {
            let BlockState::Full { data } = state.block(piece.block) else { return Ok(None) };
            push_extent(extents, Place::File { file: 0, offset: data + piece.start }, piece.len);
        }
        Ok(Some(WriteTicket { offset, len, marks: false, _guard: state.in_use.guard() }))
    }

    /// Where a block's data is in the file, after making room if there was none.
    pub(super) fn room(&self, state: &mut State<F::Layout>, block: u64) -> Result<u64> {
        let fill = match state.block(block) {
            BlockState::Full { data } | BlockState::Partial { data } => return Ok(data),
            BlockState::Absent if self.has_parent() => Fill::Parent,
            BlockState::Absent | BlockState::Zero => Fill::Zero,
        };
        state.allocate(&*self.storage, &self.shape, block, fill)
    }
}
