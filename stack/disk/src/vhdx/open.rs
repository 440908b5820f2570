//! Opening: headers, log, regions, metadata, table, each checked before the next is believed.

use super::Vhdx;
use super::bat::BatLayout;
use super::header::Headers;
use super::log::Log;
use super::metadata::Metadata;
use super::region::Regions;
use super::replay::replay;
use super::wire::{FILE_SIGNATURE, HEADER_SECTION, MIB};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::guid::Guid;
use crate::overlay::Overlay;
use crate::parent::{FindParent, ParentReference};
use crate::space::{Space, Used};
use crate::sparse::{Block, Shape, Sparse, State, Table};
use crate::storage::{Storage, StorageExt};
use std::sync::Arc;

/// Whether a file calls itself a VHDX.
pub fn is_vhdx(storage: &dyn Storage) -> bool {
    let mut signature = [0; 8];
    storage.read_at(0, &mut signature).is_ok() && signature == *FILE_SIGNATURE
}

/// Opens a VHDX, replaying its log: into the file, or into memory when it is opened for reading only.
///
/// # Errors
/// [`Error::Malformed`] for anything that is not as MS-VHDX demands and could lead to wrong data; [`Error::Parent`].
pub fn open(
    storage: Arc<dyn Storage>,
    read_only: bool,
    parents: &mut dyn FindParent,
) -> Result<Box<dyn Disk>> {
    let mut headers = Headers::read(&*storage)?;
    let mut remarks: Vec<String> = headers.remark.iter().cloned().collect();
    let storage = recover(storage, &mut headers, read_only, &mut remarks)?;
    let regions = Regions::read(&*storage)?;
    remarks.extend(regions.damaged.iter().map(|(_, reason)| reason.clone()));
    let repair = regions.damaged.iter().map(|(offset, _)| (*offset, regions.encode())).collect();
    let metadata = Metadata::read(&*storage, &regions.metadata)?;
    let (layout, blocks) = BatLayout::read(&*storage, &metadata, regions)?;
    let space = free_space(&*storage, &headers, &layout, &blocks)?;
    let parent = find_parent(&metadata, parents)?;
    let shape = Shape {
        block_size: metadata.block_size,
        sectors: metadata.sectors,
        read_only,
        fixed: metadata.fixed,
    };
    let state = State::new(Table { size: metadata.size, blocks }, layout, space);
    let format = Vhdx { creator: creator(&*storage)?, metadata, remarks };
    Ok(Box::new(Sparse::new(format, shape, storage, parent, state, Log::new(headers, repair))))
}

/// Replays the log, if it holds anything.
fn recover(
    storage: Arc<dyn Storage>,
    headers: &mut Headers,
    read_only: bool,
    remarks: &mut Vec<String>,
) -> Result<Arc<dyn Storage>> {
    if headers.log_guid() == Guid::ZERO {
        return Ok(storage);
    }
    remarks.push("was not closed properly; its log has been replayed".to_owned());
    if read_only {
        let overlay = Overlay::new(storage).map_err(Error::io("asking for the file's length"))?;
        replay(&overlay, headers)?;
        return Ok(Arc::new(overlay));
    }
    replay(&*storage, headers)?;
    storage.sync()?;
    headers.update_both(&*storage, |header| header.log = Guid::ZERO)?;
    Ok(storage)
}

fn free_space(
    storage: &dyn Storage,
    headers: &Headers,
    layout: &BatLayout,
    blocks: &[Block],
) -> Result<Space> {
    let mut used = vec![Used { start: 0, len: HEADER_SECTION, name: "VHDX header section" }];
    used.push(headers.log());
    used.extend(layout.regions.used());
    used.extend(layout.used());
    used.extend(blocks.iter().filter_map(|block| {
        Some(Used { start: block.data()?, len: layout.block_size, name: "VHDX payload block" })
    }));
    Space::beside(used, storage.length()? / MIB * MIB, 0)
}

fn find_parent(metadata: &Metadata, parents: &mut dyn FindParent) -> Result<Option<Arc<dyn Disk>>> {
    let Some(locator) = &metadata.parent else { return Ok(None) };
    let identity = format!("the VHDX whose content is {}", locator.linkage());
    let parent = parents.find(&ParentReference { paths: locator.paths(), identity })?;
    match parent.content_id() {
        Some(id) if locator.accepts(Guid(id)) => {}
        Some(id) => {
            return Err(Error::Parent(format!(
                "its content is {} and should be {}: it was written to since the child was made, \
                 or is another disk",
                Guid(id),
                locator.linkage()
            )));
        }
        None => return Err(Error::Parent("it is no VHDX".to_owned())),
    }
    if parent.sectors().logical != metadata.sectors.logical {
        return Err(Error::Parent(format!(
            "its logical sectors have {} bytes, the child's {}",
            parent.sectors().logical,
            metadata.sectors.logical
        )));
    }
    Ok(Some(parent))
}

/// The name of the program that made the file, for people.
fn creator(storage: &dyn Storage) -> Result<String> {
    let bytes = storage.read_vec(8, 512)?;
    let units = bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
    let text: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    let text = String::from_utf16_lossy(&text);
    Ok(text.chars().map(|c| if c.is_control() { '?' } else { c }).collect())
}
