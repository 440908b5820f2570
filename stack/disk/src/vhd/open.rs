//! Opening: footer, dynamic header, table, each checked before the next is believed.

use super::journal::InPlace;
use super::table::TableLayout;
use super::wire::{DIFFERENCING, DynamicHeader, FIXED, FOOTER_LEN, Footer, SECTOR};
use super::{FixedVhd, Vhd};
use crate::disk::{Disk, SectorSizes};
use crate::error::{Error, Result};
use crate::flat::Flat;
use crate::parent::{FindParent, ParentReference};
use crate::space::{Space, Used};
use crate::sparse::{Shape, Sparse, State, Table};
use crate::storage::{Storage, StorageExt};
use std::sync::Arc;
use uuid::Uuid;
use zerocopy::IntoBytes;

/// A VHD knows no other sectors.
const SECTORS: SectorSizes = SectorSizes { logical: SECTOR as u32, physical: SECTOR as u32 };

/// Whether a file calls itself a VHD, at its start or at its end.
pub fn is_vhd(storage: &dyn Storage) -> bool {
    let end = storage.size().ok().and_then(|size| size.checked_sub(FOOTER_LEN));
    [Some(0), end].into_iter().flatten().any(|offset| {
        let mut cookie = [0; 8];
        storage.read_at(offset, &mut cookie).is_ok() && cookie == *b"conectix"
    })
}

/// Opens a VHD.
///
/// # Errors
/// [`Error::Malformed`] for anything that is not as the specification demands and could lead to wrong data;
/// [`Error::Parent`].
pub fn open(
    storage: Arc<dyn Storage>,
    read_only: bool,
    parents: &mut dyn FindParent,
) -> Result<Box<dyn Disk>> {
    let found = Footers::read(&*storage)?;
    let footer = found.footer;
    let size = footer.current_size.get();
    if footer.kind.get() == FIXED {
        found.check_fixed(size)?;
        let vhd =
            Vhd { footer, header_offset: 0, remarks: found.remarks, parent_paths: Vec::new() };
        return Ok(Box::new(Flat::new(storage, FixedVhd(vhd), size, SECTORS, read_only)));
    }
    let header_offset = footer.data_offset.get();
    let header = DynamicHeader::read(&*storage, header_offset)?;
    let layout = TableLayout {
        table: header.table_offset.get(),
        entries: header.max_table_entries.get().into(),
        block_size: header.block_size.get().into(),
    };
    let blocks = layout.read(&*storage, size)?;
    let state = State::new(Table { size, blocks }, layout.clone(), Space::default());
    let space = free_space(&header, header_offset, &state, found.end)?;
    let state = State { space, ..state };
    let differs = footer.kind.get() == DIFFERENCING;
    let parent_paths = if differs { header.parent_paths(&*storage)? } else { Vec::new() };
    let parent = match differs {
        true => Some(find_parent(&header, &parent_paths, parents)?),
        false => None,
    };
    let shape = Shape { block_size: layout.block_size, sectors: SECTORS, read_only, fixed: false };
    let format = Vhd { footer, header_offset, remarks: found.remarks, parent_paths };
    let journal = InPlace { footer, copy_damaged: found.copy_damaged };
    Ok(Box::new(Sparse::new(format, shape, storage, parent, state, journal)))
}

/// The footer that counts, and the state of both places where it should be.
struct Footers {
    footer: Footer,
    /// Where the file's structures end: before the footer, or where one should be.
    end: u64,
    copy_damaged: bool,
    remarks: Vec<String>,
}

impl Footers {
    /// The copy at the start counts: the one at the end is not there while the file grows.
    fn read(storage: &dyn Storage) -> Result<Self> {
        let len = storage.length()?;
        let Some(last) = len.checked_sub(FOOTER_LEN) else {
            return Err(Error::malformed(
                "VHD footer",
                0,
                format!("a file of {len} bytes has none"),
            ));
        };
        let at_end = Footer::read(storage, last);
        let copy = Footer::read(storage, 0);
        let end = if at_end.is_ok() { last } else { len.next_multiple_of(SECTOR) };
        let found = |footer, copy_damaged, remarks| Ok(Self { footer, end, copy_damaged, remarks });
        match (copy, at_end) {
            (_, Ok(footer)) if footer.kind.get() == FIXED => found(footer, false, Vec::new()),
            (Ok(copy), Ok(footer)) if copy.as_bytes() == footer.as_bytes() => {
                found(copy, false, Vec::new())
            }
            (Ok(copy), Ok(_)) if copy.kind.get() != FIXED => found(
                copy,
                false,
                vec!["the footer differs from its copy, which counts".to_owned()],
            ),
            (Ok(copy), Err(error)) if copy.kind.get() != FIXED => {
                found(copy, false, vec![format!("{error}; its copy counts")])
            }
            (Err(error), Ok(footer)) => found(footer, true, vec![format!("{error} (the copy)")]),
            (Ok(_), Ok(footer)) => {
                found(footer, true, vec!["the footer's copy differs".to_owned()])
            }
            (_, Err(error)) => Err(error),
        }
    }

    fn check_fixed(&self, size: u64) -> Result<()> {
        if size <= self.end {
            return Ok(());
        }
        let reason = format!("the disk has {size} bytes, only {} are before it", self.end);
        Err(Error::malformed("VHD footer", self.end, reason))
    }
}

fn free_space(
    header: &DynamicHeader,
    header_offset: u64,
    state: &State<TableLayout>,
    end: u64,
) -> Result<Space> {
    let layout = &state.layout;
    let piece = |start, len, name| Used { start, len, name };
    let mut used = vec![
        piece(0, FOOTER_LEN, "VHD footer copy"),
        piece(header_offset, size_of::<DynamicHeader>() as u64, "VHD dynamic header"),
        piece(layout.table, layout.table_len(), "VHD block table"),
    ];
    for locator in header.locators.iter().filter(|locator| locator.platform != [0; 4]) {
        let (start, len) = (locator.offset.get(), u64::from(locator.length.get()));
        if start.checked_add(len).is_none_or(|place| place > end) {
            let reason = format!("{len} bytes are not in the file");
            return Err(Error::malformed("VHD parent locator", start, reason));
        }
        used.push(piece(start, len.next_multiple_of(SECTOR), "VHD parent locator"));
    }
    let room = layout.bitmap_len() + layout.block_size;
    used.extend(
        state.table.blocks.iter().filter_map(|block| {
            Some(piece(block.data()? - layout.bitmap_len(), room, "VHD block"))
        }),
    );
    Space::beside(used, end, FOOTER_LEN)
}

fn find_parent(
    header: &DynamicHeader,
    paths: &[String],
    parents: &mut dyn FindParent,
) -> Result<Arc<dyn Disk>> {
    let wanted = Uuid::from_bytes(header.parent_id);
    let identity = format!("the VHD {wanted}");
    let parent = parents.find(&ParentReference { paths: paths.to_vec(), identity })?;
    match parent.content_id() {
        Some(id) if id == header.parent_id => Ok(parent),
        Some(id) => Err(Error::Parent(format!(
            "its identifier is {} and should be {wanted}: it is another disk",
            Uuid::from_bytes(id)
        ))),
        None => Err(Error::Parent("it is no VHD".to_owned())),
    }
}
