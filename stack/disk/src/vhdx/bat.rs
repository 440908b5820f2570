//! The block allocation table: after every `chunk_ratio` payload blocks comes the entry of the bitmap block they share.

use super::metadata::Metadata;
use super::region::Regions;
use super::wire::{LOG_SECTOR, MIB, bitmap, payload};
use crate::error::{Error, Result};
use crate::space::{Fit, Space, Used};
use crate::sparse::{BitOrder, Block, BlockState, Fill, Layout, Table, check_count};
use crate::storage::{Storage, StorageExt};
use std::ops::Range;

const NAME: &str = "VHDX BAT";
const STATE: u64 = 7;
const ENTRY: u64 = size_of::<u64>() as u64;
const PER_PAGE: u64 = LOG_SECTOR / ENTRY;
/// Entries read at once.
const READ_AT_ONCE: u64 = 32 * 1024;

/// Where the BAT, bitmaps and blocks of a VHDX file are.
#[derive(Debug, Clone)]
pub(crate) struct BatLayout {
    /// Where the BAT's region is, among others.
    pub regions: Regions,
    pub block_size: u64,
    pub logical_sector: u64,
    pub chunk_ratio: u64,
    pub differencing: bool,
    /// Offsets of the bitmap blocks by chunk; 0: none.
    pub bitmaps: Vec<u64>,
}

/// How many entries a BAT for this many blocks has, and how many bitmap blocks.
pub(crate) fn entry_count(blocks: u64, chunk_ratio: u64, differencing: bool) -> (u64, u64) {
    let chunks = blocks.div_ceil(chunk_ratio);
    match differencing {
        true => (chunks * (chunk_ratio + 1), chunks),
        false => (blocks + blocks.saturating_sub(1) / chunk_ratio, chunks),
    }
}

impl BatLayout {
    /// An empty table.
    pub fn new(metadata: &Metadata, regions: Regions) -> Self {
        let chunk_ratio = metadata.chunk_ratio();
        let (_, chunks) = entry_count(metadata.blocks(), chunk_ratio, metadata.has_parent);
        Self {
            regions,
            block_size: metadata.block_size,
            logical_sector: metadata.sectors.logical.into(),
            chunk_ratio,
            differencing: metadata.has_parent,
            bitmaps: vec![0; usize::try_from(chunks).unwrap_or(0)],
        }
    }

    /// Reads and checks all entries. The blocks' overlaps are for the caller to find.
    pub fn read(
        storage: &dyn Storage,
        metadata: &Metadata,
        regions: Regions,
    ) -> Result<(Self, Vec<Block>)> {
        let mut layout = Self::new(metadata, regions);
        let (count, _) = entry_count(metadata.blocks(), layout.chunk_ratio, layout.differencing);
        if count * ENTRY > layout.regions.bat.len {
            let reason = format!(
                "its region has room for {} entries, the disk needs {count}",
                layout.regions.bat.len / ENTRY
            );
            return Err(Error::malformed(NAME, layout.regions.bat.start, reason));
        }
        let file_len = storage.length()?;
        let mut blocks = Vec::with_capacity(usize::try_from(metadata.blocks()).unwrap_or(0));
        let mut at = 0;
        while at < count {
            let step = READ_AT_ONCE.min(count - at);
            let place = layout.regions.bat.start + at * ENTRY;
            let bytes = storage.read_vec(place, (step * ENTRY) as usize)?;
            for (index, entry) in (at..).zip(bytes.as_chunks::<8>().0) {
                layout.accept(&mut blocks, index, u64::from_le_bytes(*entry), file_len)?;
            }
            at += step;
        }
        blocks.truncate(usize::try_from(metadata.blocks()).unwrap_or(0));
        check_count(&blocks, layout.block_size, file_len)
            .map_err(|reason| Error::malformed(NAME, layout.regions.bat.start, reason))?;
        layout.check_partial(&blocks)?;
        Ok((layout, blocks))
    }

    fn accept(
        &mut self,
        blocks: &mut Vec<Block>,
        index: u64,
        entry: u64,
        file_len: u64,
    ) -> Result<()> {
        let fail = |reason: String| {
            Error::malformed(
                NAME,
                self.regions.bat.start + index * ENTRY,
                format!("entry {index} {reason}"),
            )
        };
        let (state, data) = (entry & STATE, entry >> 20 << 20);
        let in_file = |len: u64| match data.checked_add(len) {
            Some(end) if data >= MIB && end <= file_len => Ok(data),
            _ => Err(fail(format!("puts a block at {data:#x}, which is not in the file"))),
        };
        if index % (self.chunk_ratio + 1) == self.chunk_ratio {
            let place = match state {
                bitmap::NOT_PRESENT => 0,
                bitmap::PRESENT => in_file(MIB)?,
                _ => return Err(fail(format!("has the unknown bitmap block state {state}"))),
            };
            let chunk = usize::try_from(index / (self.chunk_ratio + 1)).unwrap_or(usize::MAX);
            if let Some(bitmap) = self.bitmaps.get_mut(chunk) {
                *bitmap = place;
            }
            return Ok(());
        }
        blocks.push(match state {
            payload::NOT_PRESENT => Block::ABSENT,
            payload::UNDEFINED | payload::UNMAPPED if !self.differencing => Block::ABSENT,
            payload::UNDEFINED | payload::UNMAPPED | payload::ZERO => Block::ZERO,
            payload::FULLY_PRESENT => Block::full(in_file(self.block_size)?),
            payload::PARTIALLY_PRESENT if self.differencing => {
                Block::partial(in_file(self.block_size)?)
            }
            payload::PARTIALLY_PRESENT => {
                return Err(fail("is partially present, but the disk has no parent".to_owned()));
            }
            _ => return Err(fail(format!("has the unknown payload block state {state}"))),
        });
        Ok(())
    }

    fn check_partial(&self, blocks: &[Block]) -> Result<()> {
        for (number, block) in (0..).zip(blocks) {
            let partial = matches!(block.state(), BlockState::Partial { .. });
            if partial && self.bitmap_block(number) == 0 {
                let index = number + number / self.chunk_ratio;
                return Err(Error::malformed(
                    NAME,
                    self.regions.bat.start + index * ENTRY,
                    format!("entry {index} is partially present, but has no sector bitmap"),
                ));
            }
        }
        Ok(())
    }

    /// The bitmap blocks there are.
    pub fn used(&self) -> impl Iterator<Item = Used> {
        let present = self.bitmaps.iter().filter(|place| **place != 0);
        present.map(|&start| Used { start, len: MIB, name: "VHDX sector bitmap block" })
    }

    fn bitmap_block(&self, block: u64) -> u64 {
        let chunk = usize::try_from(block / self.chunk_ratio).unwrap_or(usize::MAX);
        self.bitmaps.get(chunk).copied().unwrap_or(0)
    }

    fn entry(&self, index: u64, table: &Table) -> u64 {
        let (chunk, place) = (index / (self.chunk_ratio + 1), index % (self.chunk_ratio + 1));
        if place == self.chunk_ratio {
            let bitmap = usize::try_from(chunk).ok().and_then(|chunk| self.bitmaps.get(chunk));
            return match bitmap {
                Some(&offset) if offset != 0 => offset | bitmap::PRESENT,
                _ => bitmap::NOT_PRESENT,
            };
        }
        let number = usize::try_from(chunk * self.chunk_ratio + place).unwrap_or(usize::MAX);
        match table.blocks.get(number).copied().unwrap_or_default().state() {
            BlockState::Absent => payload::NOT_PRESENT,
            BlockState::Zero => payload::ZERO,
            BlockState::Partial { data } => data | payload::PARTIALLY_PRESENT,
            BlockState::Full { data } => data | payload::FULLY_PRESENT,
        }
    }

    /// All entries, as bytes.
    pub fn encode(&self, table: &Table) -> Vec<u8> {
        let blocks = table.blocks.len() as u64;
        let (count, _) = entry_count(blocks, self.chunk_ratio, self.differencing);
        (0..count).flat_map(|index| self.entry(index, table).to_le_bytes()).collect()
    }
}

impl Layout for BatLayout {
    fn page_size(&self) -> u64 {
        LOG_SECTOR
    }

    fn bit_order(&self) -> BitOrder {
        BitOrder::LowFirst
    }

    fn can_hide_parent(&self) -> bool {
        true
    }

    fn tells_partial(&self) -> bool {
        true
    }

    fn allocate(
        &mut self,
        storage: &dyn Storage,
        space: &mut Space,
        block: u64,
        fill: Fill,
    ) -> Result<(u64, Option<u64>)> {
        let fit = Fit { len: self.block_size, align: MIB, phase: 0 };
        let data = space.obtain(storage, fit)?;
        if fill != Fill::Parent || self.bitmap_block(block) != 0 {
            return Ok((data, None));
        }
        let place = match space.obtain(storage, Fit { len: MIB, align: MIB, phase: 0 }) {
            Ok(place) => place,
            Err(error) => {
                space.give(data, self.block_size);
                return Err(error);
            }
        };
        let chunk = block / self.chunk_ratio;
        if let Some(bitmap) =
            usize::try_from(chunk).ok().and_then(|chunk| self.bitmaps.get_mut(chunk))
        {
            *bitmap = place;
        }
        Ok((data, Some((chunk * (self.chunk_ratio + 1) + self.chunk_ratio) / PER_PAGE)))
    }

    fn room(&self, data: u64) -> Range<u64> {
        data..data + self.block_size
    }

    fn bitmap(&self, block: u64, _data: u64) -> u64 {
        let bytes = self.block_size / self.logical_sector / 8;
        self.bitmap_block(block) + block % self.chunk_ratio * bytes
    }

    fn table_page(&self, block: u64) -> u64 {
        (block + block / self.chunk_ratio) / PER_PAGE
    }

    fn encode_table(&self, page: u64, table: &Table) -> (u64, Vec<u8>) {
        let first = page * PER_PAGE;
        let entries = first..first + PER_PAGE;
        let bytes = entries.flat_map(|index| self.entry(index, table).to_le_bytes()).collect();
        (self.regions.bat.start + page * LOG_SECTOR, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_the_sizes_of_the_specification() {
        // 1 TiB in blocks of 32 MiB, 512-byte sectors: chunks of 128 blocks.
        assert_eq!(entry_count(32_768, 128, false), (32_768 + 255, 256));
        assert_eq!(entry_count(32_768, 128, true), (256 * 129, 256));
        assert_eq!(entry_count(1, 128, false), (1, 1));
        assert_eq!(entry_count(1, 128, true), (129, 1));
        assert_eq!(entry_count(129, 128, false), (130, 2));
    }
}
