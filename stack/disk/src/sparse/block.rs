//! What is known of one block, in a word.

/// Blocks and their bitmaps start at multiples of this in any file.
const UNIT: u64 = 512;

/// Where a block's content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockState {
    /// In the parent, or zero where there is none.
    Absent,
    /// Zero, whatever the parent has.
    Zero,
    /// Some sectors in the file at `data`, the others as if absent; a bitmap tells which.
    Partial {
        /// Byte offset in the file.
        data: u64,
    },
    /// In the file at `data`.
    Full {
        /// Byte offset in the file.
        data: u64,
    },
}

/// A [`BlockState`] in eight bytes: the offset, whose low bits are zero, and the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Block(u64);

impl Block {
    pub const ABSENT: Self = Self(0);
    pub const ZERO: Self = Self(1);

    pub fn partial(data: u64) -> Self {
        Self(data & !(UNIT - 1) | 2)
    }

    pub fn full(data: u64) -> Self {
        Self(data & !(UNIT - 1) | 3)
    }

    pub fn state(self) -> BlockState {
        let data = self.0 & !(UNIT - 1);
        match self.0 % UNIT {
            0 => BlockState::Absent,
            1 => BlockState::Zero,
            2 => BlockState::Partial { data },
            _ => BlockState::Full { data },
        }
    }

    /// Where its room in the file is, if it has any.
    pub fn data(self) -> Option<u64> {
        match self.state() {
            BlockState::Partial { data } | BlockState::Full { data } => Some(data),
            BlockState::Absent | BlockState::Zero => None,
        }
    }
}

/// Whether a file of this length can hold all blocks that claim room: cheaper than to find out which overlap.
pub(crate) fn check_count(blocks: &[Block], block_size: u64, file_len: u64) -> Result<(), String> {
    let count = blocks.iter().filter(|block| block.data().is_some()).count() as u64;
    match count.checked_mul(block_size) {
        Some(len) if len <= file_len => Ok(()),
        _ => Err(format!("{count} blocks do not fit into the file of {file_len} bytes")),
    }
}
