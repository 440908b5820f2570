//! Making ranges zero, and giving their space back.

use super::state::{Piece, State, pieces};
use super::{Block, BlockState, Format, Layout, Sparse};
use crate::disk::Place;
use crate::error::Result;
use crate::storage::StorageExt;

impl<F: Format> Sparse<F> {
    pub(super) fn make_zero(&self, offset: u64, len: u64) -> Result<()> {
        self.begin()?;
        self.check(offset, len, self.read().table.size)?;
        for piece in pieces(offset, len, self.shape.block_size) {
            // Block by block: a large range takes long, and others want to go on meanwhile.
            let mut state = self.write();
            self.check(offset, len, state.table.size)?;
            let whole = piece.len == state.block_len(&self.shape, piece.block);
            let hides = !self.has_parent() || state.layout.can_hide_parent();
            match whole && hides && !self.shape.fixed {
                true => self.drop_block(&mut state, piece.block)?,
                false => self.zero_piece(&mut state, piece)?,
            }
        }
        Ok(())
    }

    /// Takes a block's room away. Its content goes at once, its place in the table with the next commit.
    pub(super) fn drop_block(&self, state: &mut State<F::Layout>, block: u64) -> Result<()> {
        let gone = match self.has_parent() {
            true => Block::ZERO,
            false => Block::ABSENT,
        };
        match state.block(block) {
            BlockState::Zero => return Ok(()),
            BlockState::Absent if !self.has_parent() => return Ok(()),
            BlockState::Absent => {}
            BlockState::Partial { data } | BlockState::Full { data } => {
                // Sectors of a partial block show the parent again if power fails before the commit, or are zero.
                self.storage.punch(data, self.shape.block_size)?;
                let room = state.layout.room(data);
                state.pages.forget(&room);
                state.freed.push(room);
            }
        }
        state.set_block(block, gone);
        Ok(())
    }

    fn zero_piece(&self, state: &mut State<F::Layout>, piece: Piece) -> Result<()> {
        match state.block(piece.block) {
            BlockState::Zero => return Ok(()),
            BlockState::Absent if self.is_zero_in_parent(piece)? => return Ok(()),
            _ => {}
        }
        let data = self.room(state, piece.block)? + piece.start;
        match self.shape.fixed {
            true => self.storage.zero(data, piece.len)?,
            false => self.storage.punch(data, piece.len)?,
        }
        let offset = piece.block * self.shape.block_size + piece.start;
        state.mark(&*self.storage, &self.shape, offset, piece.len)
    }

    fn is_zero_in_parent(&self, piece: Piece) -> Result<bool> {
        let mut extents = Vec::new();
        self.read_parent(piece, &mut extents)?;
        Ok(extents.iter().all(|extent| extent.place == Place::Zero))
    }
}
