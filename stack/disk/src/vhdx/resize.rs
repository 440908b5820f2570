//! Changing the size. The new size, and the BAT's new place if it has to move, become stable in one log entry.

use super::Vhdx;
use super::bat::{BatLayout, entry_count};
use super::log::Log;
use super::wire::{LOG_SECTOR, MIB, REGION_TABLES, SIZE_MAX};
use crate::error::{Error, Result};
use crate::space::{Fit, Used};
use crate::sparse::{Block, Journal, Layout, Sparse, State, Table};
use crate::storage::StorageExt;
use std::ops::Range;

/// The pages of one step of a change.
type Pages = Vec<(u64, Vec<u8>)>;

pub(super) fn resize(disk: &Sparse<Vhdx>, size: u64) -> Result<()> {
    if size > SIZE_MAX {
        return Err(Error::Unsupported(format!("{size} bytes are more than 64 TiB")));
    }
    let mut journal = disk.journal();
    disk.commit(&mut journal)?;
    let mut state = disk.write();
    if size > state.table.size {
        grow(disk, &mut journal, &mut state, size)
    } else {
        shrink(disk, &mut journal, &mut state, size)?;
        drop(state);
        disk.commit(&mut journal)
    }
}

fn grow(
    disk: &Sparse<Vhdx>,
    journal: &mut Log,
    state: &mut State<BatLayout>,
    size: u64,
) -> Result<()> {
    disk.prepare_growth(state)?;
    let mut table = table(state, &disk.shape, size);
    if disk.shape.fixed {
        make_room(disk, state, &mut table)?;
    }
    let mut layout = state.layout.clone();
    let blocks = table.blocks.len() as u64;
    let (entries, chunks) = entry_count(blocks, layout.chunk_ratio, layout.differencing);
    layout.bitmaps.resize(usize::try_from(chunks).unwrap_or(0), 0);
    let old_region = layout.regions.bat.clone();
    let mut last = size_pages(disk, size)?;
    if entries * 8 > old_region.len {
        let len = (entries * 8).next_multiple_of(MIB);
        let start = state.space.obtain(&*disk.storage, Fit { len, align: MIB, phase: 0 })?;
        layout.regions = layout.regions.with_bat(Used { start, len, ..old_region });
        disk.storage.write(start, &layout.encode(&table))?;
        let tables = layout.regions.encode();
        let first = tables.get(..LOG_SECTOR as usize).unwrap_or_default();
        last.extend(REGION_TABLES.map(|offset| (offset, first.to_vec())));
    } else {
        let old = state.table.blocks.len() as u64;
        let pages: Pages =
            new_pages(&layout, old, blocks).map(|page| layout.encode_table(page, &table)).collect();
        disk.storage.sync()?;
        journal.commit(&*disk.storage, &pages, state.space.end())?;
    }
    disk.storage.sync()?;
    journal.commit(&*disk.storage, &last, state.space.end())?;
    if layout.regions.bat.start != old_region.start {
        let old = &state.layout.regions.bat;
        state.in_use.retire(std::iter::once(old.start..old.start + old.len).collect());
    }
    (state.table, state.layout) = (table, layout);
    Ok(())
}

/// Gives the new blocks of a fixed disk their room, all or none.
fn make_room(disk: &Sparse<Vhdx>, state: &mut State<BatLayout>, table: &mut Table) -> Result<()> {
    let new = table.blocks.get_mut(state.table.blocks.len()..).unwrap_or_default();
    let len = new.len() as u64 * disk.shape.block_size;
    if len == 0 {
        return Ok(());
    }
    let start = state.space.obtain(&*disk.storage, Fit { len, align: MIB, phase: 0 })?;
    if let Err(error) = disk.storage.reserve(start, len) {
        state.space.give(start, len);
        return Err(Error::io(format!("reserving {len} bytes"))(error));
    }
    let step = usize::try_from(disk.shape.block_size).unwrap_or(usize::MAX);
    for (block, data) in new.iter_mut().zip((start..).step_by(step)) {
        *block = Block::full(data);
    }
    Ok(())
}

/// Table pages with entries that a larger disk has and a smaller one has not.
fn new_pages(layout: &BatLayout, fewer: u64, more: u64) -> Range<u64> {
    layout.table_page(fewer)..layout.table_page(more) + 1
}

fn table(state: &State<BatLayout>, shape: &crate::sparse::Shape, size: u64) -> Table {
    let mut blocks = state.table.blocks.clone();
    blocks.resize(usize::try_from(size.div_ceil(shape.block_size)).unwrap_or(0), Block::ABSENT);
    Table { size, blocks }
}

fn shrink(
    disk: &Sparse<Vhdx>,
    journal: &mut Log,
    state: &mut State<BatLayout>,
    size: u64,
) -> Result<()> {
    let last = size_pages(disk, size)?;
    disk.storage.sync()?;
    journal.commit(&*disk.storage, &last, state.space.end())?;
    let table = table(state, &disk.shape, size);
    let (fewer, more) = (table.blocks.len(), state.table.blocks.len());
    let layout = &mut state.layout;
    state.dirty_table.extend(new_pages(layout, fewer as u64, more as u64));
    let dropped = state.table.blocks.get(fewer..).unwrap_or_default();
    let rooms = dropped.iter().filter_map(|block| Some(layout.room(block.data()?)));
    state.freed.extend(rooms);
    let (_, chunks) = entry_count(fewer as u64, layout.chunk_ratio, layout.differencing);
    let chunks = usize::try_from(chunks).unwrap_or(usize::MAX);
    for start in layout.bitmaps.split_off(chunks.min(layout.bitmaps.len())) {
        if start != 0 {
            state.pages.forget(&(start..start + MIB));
            state.freed.push(start..start + MIB);
        }
    }
    state.table = table;
    Ok(())
}

/// The metadata page or pages with the size in them.
fn size_pages(disk: &Sparse<Vhdx>, size: u64) -> Result<Pages> {
    let place = disk.format.metadata.size_offset;
    let first = place / LOG_SECTOR * LOG_SECTOR;
    let pages = (place + 8 - first).div_ceil(LOG_SECTOR);
    let mut bytes = disk.storage.read_vec(first, (pages * LOG_SECTOR) as usize)?;
    let start = (place - first) as usize;
    if let Some(target) = bytes.get_mut(start..start + 8) {
        target.copy_from_slice(&size.to_le_bytes());
    }
    let pages = bytes.chunks(LOG_SECTOR as usize).map(<[u8]>::to_vec);
    Ok((first..).step_by(LOG_SECTOR as usize).zip(pages).collect())
}
