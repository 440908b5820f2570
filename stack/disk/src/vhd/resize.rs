//! Changing the size, one sector that counts at a time.

use super::Vhd;
use super::journal::InPlace;
use super::table::TableLayout;
use super::wire::{DynamicHeader, FOOTER_LEN, Footer, SECTOR, SIZE_MAX};
use crate::error::{Error, Result};
use crate::space::Fit;
use crate::sparse::{Block, Layout, Sparse, State, Table};
use crate::storage::{Storage, StorageExt};
use zerocopy::IntoBytes;

pub(super) fn resize(disk: &Sparse<Vhd>, size: u64) -> Result<()> {
    check(size)?;
    let mut journal = disk.journal();
    disk.commit(&mut journal)?;
    let mut state = disk.write();
    if size > state.table.size {
        return grow(disk, &mut journal, &mut state, size);
    }
    write_size(disk, &mut journal, &state, size)?;
    shrink(&mut state, disk.shape.block_size, size);
    drop(state);
    disk.commit(&mut journal)
}

fn check(size: u64) -> Result<()> {
    match size > SIZE_MAX {
        true => Err(Error::Unsupported(format!("{size} bytes are more than 2040 GiB"))),
        false => Ok(()),
    }
}

/// The table first, then the header that says where it is and how long, then the size.
fn grow(
    disk: &Sparse<Vhd>,
    journal: &mut InPlace,
    state: &mut State<TableLayout>,
    size: u64,
) -> Result<()> {
    disk.prepare_growth(state)?;
    let storage = &*disk.storage;
    let old = state.table.blocks.len() as u64;
    let table = resized(state, disk.shape.block_size, size);
    let count = table.blocks.len() as u64;
    let mut layout = state.layout.clone();
    layout.entries = layout.entries.max(count);
    let moved = layout.table_len() > state.layout.table_len();
    if moved {
        let fit = Fit { len: layout.table_len(), align: SECTOR, phase: 0 };
        layout.table = state.space.obtain(storage, fit)?;
        storage.write(layout.table, &layout.encode(&table))?;
        // The old footer may lie under the new table.
        storage.write(state.space.end(), journal.footer.as_bytes())?;
    } else {
        for page in layout.table_page(old)..=layout.table_page(count.saturating_sub(1)) {
            let (offset, bytes) = layout.encode_table(page, &table);
            storage.write(offset, &bytes)?;
        }
    }
    storage.sync()?;
    write_header(disk, &layout)?;
    write_size(disk, journal, state, size)?;
    if moved {
        let old = &state.layout;
        let range = old.table..old.table + old.table_len();
        state.in_use.retire(std::iter::once(range).collect());
    }
    (state.table, state.layout) = (table, layout);
    Ok(())
}

/// All that changes in the header is in its first sector.
fn write_header(disk: &Sparse<Vhd>, layout: &TableLayout) -> Result<()> {
    let storage = &*disk.storage;
    let mut header = DynamicHeader::read(storage, disk.format.header_offset)?;
    header.table_offset = layout.table.into();
    header.max_table_entries = u32::try_from(layout.entries).unwrap_or(u32::MAX).into();
    let header = header.sealed();
    let first = header.as_bytes().get(..SECTOR as usize).unwrap_or_default();
    storage.write(disk.format.header_offset, first)?;
    storage.sync()
}

/// The copy of the footer counts, so it changes first.
fn write_size(
    disk: &Sparse<Vhd>,
    journal: &mut InPlace,
    state: &State<TableLayout>,
    size: u64,
) -> Result<()> {
    let storage = &*disk.storage;
    let footer = journal.footer.with_size(size);
    storage.write(0, footer.as_bytes())?;
    storage.sync()?;
    journal.footer = footer;
    storage.write(state.space.end(), footer.as_bytes())?;
    storage.sync()
}

fn resized(state: &State<TableLayout>, block_size: u64, size: u64) -> Table {
    let mut blocks = state.table.blocks.clone();
    blocks.resize(usize::try_from(size.div_ceil(block_size)).unwrap_or(0), Block::ABSENT);
    Table { size, blocks }
}

fn shrink(state: &mut State<TableLayout>, block_size: u64, size: u64) {
    let table = resized(state, block_size, size);
    let (fewer, more) = (table.blocks.len(), state.table.blocks.len());
    let layout = &state.layout;
    state
        .dirty_table
        .extend(layout.table_page(fewer as u64)..=layout.table_page(more.saturating_sub(1) as u64));
    let dropped = state.table.blocks.get(fewer..).unwrap_or_default();
    for room in dropped.iter().filter_map(|block| Some(layout.room(block.data()?))) {
        state.pages.forget(&room);
        state.freed.push(room);
    }
    state.table = table;
}

/// A fixed disk has one footer. It is written at its new place before the old one goes; a write that makes a file
/// longer by one sector takes effect as a whole.
pub(super) fn resize_fixed(
    storage: &dyn Storage,
    footer: &Footer,
    from: u64,
    to: u64,
) -> Result<()> {
    check(to)?;
    let footer = footer.with_size(to);
    storage.write(to, footer.as_bytes())?;
    storage.sync()?;
    if to < from {
        storage.resize(to + FOOTER_LEN)?;
    } else if to >= from + FOOTER_LEN {
        storage.zero(from, FOOTER_LEN)?;
        storage
            .reserve(from, to - from)
            .map_err(Error::io(format!("reserving {} bytes", to - from)))?;
    }
    storage.sync()
}
