//! The block table of a dynamic or differencing VHD. A block's room is its sector bitmap and then its data.

use super::wire::{FOOTER_LEN, SECTOR, UNUSED};
use crate::error::{Error, Result};
use crate::space::{Fit, Space};
use crate::sparse::{BitOrder, Block, Fill, Layout, Table, check_count};
use crate::storage::{Storage, StorageExt};
use std::ops::Range;

const NAME: &str = "VHD block table";
const ENTRY: u64 = size_of::<u32>() as u64;
const PER_PAGE: u64 = SECTOR / ENTRY;
/// Data of new blocks starts at such offsets, so that the parent's I/O on them need not be split or copied.
const DATA_ALIGN: u64 = 4096;
/// Entries read at once.
const READ_AT_ONCE: u64 = 64 * 1024;

/// Where table and blocks of a VHD are.
#[derive(Debug, Clone)]
pub(crate) struct TableLayout {
    /// Offset of the table.
    pub table: u64,
    /// Entries that it has room for.
    pub entries: u64,
    pub block_size: u64,
}

impl TableLayout {
    /// Bytes of a block's bitmap, whole sectors.
    pub fn bitmap_len(&self) -> u64 {
        (self.block_size / SECTOR / 8).next_multiple_of(SECTOR)
    }

    /// Bytes of the table, whole sectors.
    pub fn table_len(&self) -> u64 {
        (self.entries * ENTRY).next_multiple_of(SECTOR)
    }

    /// Reads and checks the entries of a disk of this size. The blocks' overlaps are for the caller to find.
    pub fn read(&self, storage: &dyn Storage, size: u64) -> Result<Vec<Block>> {
        let fail = |reason: String| Error::malformed(NAME, self.table, reason);
        let file_len = storage.length()?;
        let count = size.div_ceil(self.block_size);
        if count > self.entries {
            let entries = self.entries;
            return Err(fail(format!("it has {entries} entries, the disk needs {count}")));
        }
        if self.table.checked_add(self.table_len()).is_none_or(|end| end > file_len) {
            return Err(fail(format!("{} entries are not in the file", self.entries)));
        }
        let mut blocks = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
        let mut at = 0;
        while at < count {
            let step = READ_AT_ONCE.min(count - at);
            let bytes = storage.read_vec(self.table + at * ENTRY, (step * ENTRY) as usize)?;
            for (index, entry) in (at..).zip(bytes.as_chunks::<4>().0) {
                blocks.push(self.block(index, u32::from_be_bytes(*entry), file_len)?);
            }
            at += step;
        }
        check_count(&blocks, self.block_size, file_len).map_err(fail)?;
        Ok(blocks)
    }

    fn block(&self, index: u64, entry: u32, file_len: u64) -> Result<Block> {
        if entry == UNUSED {
            return Ok(Block::ABSENT);
        }
        let room = u64::from(entry) * SECTOR;
        let data = room + self.bitmap_len();
        if data + self.block_size > file_len {
            let reason =
                format!("entry {index} puts a block at {room:#x}, which is not in the file");
            return Err(Error::malformed(NAME, self.table + index * ENTRY, reason));
        }
        Ok(Block::partial(data))
    }

    fn entry(&self, index: u64, table: &Table) -> u32 {
        let block = usize::try_from(index).ok().and_then(|index| table.blocks.get(index));
        let data = block.and_then(|block| block.data());
        data.and_then(|data| u32::try_from((data - self.bitmap_len()) / SECTOR).ok())
            .unwrap_or(UNUSED)
    }

    /// The whole table.
    pub fn encode(&self, table: &Table) -> Vec<u8> {
        let entries = self.table_len() / ENTRY;
        (0..entries).flat_map(|index| self.entry(index, table).to_be_bytes()).collect()
    }
}

impl Layout for TableLayout {
    fn page_size(&self) -> u64 {
        SECTOR
    }

    fn bit_order(&self) -> BitOrder {
        BitOrder::HighFirst
    }

    fn can_hide_parent(&self) -> bool {
        false
    }

    fn tells_partial(&self) -> bool {
        false
    }

    fn allocate(
        &mut self,
        storage: &dyn Storage,
        space: &mut Space,
        _block: u64,
        fill: Fill,
    ) -> Result<(u64, Option<u64>)> {
        let bitmap_len = self.bitmap_len();
        let phase = (DATA_ALIGN - bitmap_len % DATA_ALIGN) % DATA_ALIGN;
        let fit = Fit { len: bitmap_len + self.block_size, align: DATA_ALIGN, phase };
        if space.end() + 2 * fit.len > u64::from(UNUSED) * SECTOR {
            return Err(Error::Unsupported("a VHD file cannot be larger than 2 TiB".to_owned()));
        }
        let start = space.obtain(storage, fit)?;
        // The footer moves behind the block.
        let mut prepared = storage.keep_room(space.end(), FOOTER_LEN);
        if fill == Fill::Zero && prepared.is_ok() {
            // Nothing refers to the block yet, and it is stable before anything does.
            let all = vec![0xFF; usize::try_from(bitmap_len).unwrap_or(0)];
            prepared = storage.write(start, &all);
        }
        match prepared {
            Ok(()) => Ok((start + bitmap_len, None)),
            Err(error) => {
                space.give(start, fit.len);
                Err(error)
            }
        }
    }

    fn room(&self, data: u64) -> Range<u64> {
        data - self.bitmap_len()..data + self.block_size
    }

    fn bitmap(&self, _block: u64, data: u64) -> u64 {
        data - self.bitmap_len()
    }

    fn table_page(&self, block: u64) -> u64 {
        block / PER_PAGE
    }

    fn encode_table(&self, page: u64, table: &Table) -> (u64, Vec<u8>) {
        let first = page * PER_PAGE;
        let entries = first..first + PER_PAGE;
        let bytes = entries.flat_map(|index| self.entry(index, table).to_be_bytes()).collect();
        (self.table + page * SECTOR, bytes)
    }
}
