//! Making a VHDX.

use super::bat::{BatLayout, entry_count};
use super::header::Headers;
use super::locator::Locator;
use super::metadata::Metadata;
use super::region::Regions;
use super::wire::{BLOCK_SIZES, FILE_SIGNATURE, HEADER_SECTION, MIB, REGION_TABLES, SIZE_MAX};
use crate::disk::SectorSizes;
use crate::error::{Error, Result};
use crate::guid::Guid;
use crate::space::Used;
use crate::sparse::{Block, Table};
use crate::storage::{Storage, StorageExt};

/// What Hyper-V takes unless told otherwise.
const BLOCK_SIZE: u64 = 32 * MIB;
/// The same for differencing disks, where what is copied on a first write does not depend on it.
const DIFFERENCING_BLOCK_SIZE: u64 = 2 * MIB;
const CREATOR: &str = concat!("Zemin ", env!("CARGO_PKG_VERSION"));

/// A parent for a differencing disk.
#[derive(Debug, Clone)]
pub struct Parent {
    /// The parent's [`crate::Disk::content_id`].
    pub content_id: [u8; 16],
    /// Its path from the child's directory, with backslashes.
    pub relative: Option<String>,
    /// Its absolute path.
    pub absolute: String,
}

/// What to make.
#[derive(Debug, Clone)]
pub struct Parameters {
    /// Bytes of the disk: whole logical sectors, up to 64 TiB.
    pub size: u64,
    /// A power of two from 1 to 256 MiB; `None`: the usual.
    pub block_size: Option<u64>,
    /// 512 or 4096 each.
    pub sectors: SectorSizes,
    /// All space is taken at once.
    pub fixed: bool,
    /// Makes it a differencing disk.
    pub parent: Option<Parent>,
    /// Its identifier; `None`: a new one.
    pub identity: Option<[u8; 16]>,
    /// What its children note; `None`: new content. Only for a copy that takes the original's place.
    pub content_id: Option<[u8; 16]>,
}

/// Writes an empty VHDX to an empty file and flushes it.
///
/// # Errors
/// [`Error::Unsupported`] when the format cannot be that; what writing says.
pub fn create(storage: &dyn Storage, parameters: &Parameters) -> Result<()> {
    let content = parameters.content_id.map_or_else(Guid::random, Guid);
    write(storage, &metadata(parameters)?, content)
}

/// Writes an empty VHDX that is the same disk as another, whose log is empty, in all but its content.
///
/// # Errors
/// [`Error::Unsupported`] when the other has parts that are not known here and would be lost.
pub fn create_like(other: &dyn Storage, storage: &dyn Storage) -> Result<()> {
    let regions = Regions::read(other)?;
    let metadata = Metadata::read(other, &regions.metadata)?;
    if metadata.unknown + regions.unknown() > 0 {
        return Err(Error::Unsupported(
            "the image has regions or metadata of unknown kinds, which a new one would lose"
                .to_owned(),
        ));
    }
    write(storage, &metadata, Guid::random())
}

fn write(storage: &dyn Storage, metadata: &Metadata, content: Guid) -> Result<()> {
    let log = Used { start: HEADER_SECTION, len: MIB, name: "log" };
    let items = metadata.encode();
    let region = |start, len: u64| Used { start, len: len.next_multiple_of(MIB), name: "region" };
    let metadata_region = region(log.start + log.len, items.len() as u64);
    let (entries, _) = entry_count(metadata.blocks(), metadata.chunk_ratio(), metadata.has_parent);
    let bat_region = region(metadata_region.start + metadata_region.len, entries * 8);
    let payload = bat_region.start + bat_region.len;
    let blocks = blocks(metadata, payload)?;
    let end = payload + if metadata.fixed { metadata.blocks() * metadata.block_size } else { 0 };

    let regions = Regions::new(bat_region.clone(), metadata_region.clone());
    storage.resize(end)?;
    storage.write(0, &identifier())?;
    for offset in REGION_TABLES {
        storage.write(offset, &regions.encode())?;
    }
    storage.write(metadata_region.start, &items)?;
    if metadata.fixed {
        let reserved = storage.reserve(payload, end - payload);
        reserved.map_err(Error::io(format!("reserving {} bytes", end - payload)))?;
        let layout = BatLayout::new(metadata, regions);
        let table = Table { size: metadata.size, blocks };
        storage.write(bat_region.start, &layout.encode(&table))?;
    }
    storage.sync()?;
    Headers::create(storage, content, &log)?;
    Ok(())
}

fn metadata(parameters: &Parameters) -> Result<Metadata> {
    let refuse = |reason: String| Err(Error::Unsupported(reason));
    let usual = if parameters.parent.is_some() { DIFFERENCING_BLOCK_SIZE } else { BLOCK_SIZE };
    let block_size = parameters.block_size.unwrap_or(usual);
    if !block_size.is_power_of_two() || !BLOCK_SIZES.contains(&block_size) {
        return refuse(format!("a block of {block_size} bytes is not 1, 2, 4, … or 256 MiB"));
    }
    let sectors = parameters.sectors;
    if ![sectors.logical, sectors.physical].iter().all(|size| [512, 4096].contains(size)) {
        return refuse("a sector has 512 or 4096 bytes".to_owned());
    }
    let size = parameters.size;
    if size == 0 || size > SIZE_MAX || !size.is_multiple_of(sectors.logical.into()) {
        return refuse(format!(
            "a VHDX of {size} bytes is not whole sectors of {} bytes, up to 64 TiB",
            sectors.logical
        ));
    }
    if parameters.fixed && parameters.parent.is_some() {
        return refuse("a differencing disk cannot be fixed".to_owned());
    }
    let locator = parameters
        .parent
        .clone()
        .map(|parent| Locator::new(Guid(parent.content_id), parent.relative, parent.absolute));
    Ok(Metadata {
        block_size,
        fixed: parameters.fixed,
        has_parent: locator.is_some(),
        size,
        id: parameters.identity.map_or_else(Guid::random, Guid),
        sectors,
        parent: locator,
        size_offset: 0,
        unknown: 0,
    })
}

fn blocks(metadata: &Metadata, payload: u64) -> Result<Vec<Block>> {
    if !metadata.fixed {
        return Ok(Vec::new());
    }
    let all = metadata.blocks().checked_mul(metadata.block_size).map(|len| len + payload);
    let end = all.ok_or_else(|| Error::Unsupported("the disk is too large".to_owned()))?;
    let step = usize::try_from(metadata.block_size).unwrap_or(usize::MAX);
    Ok((payload..end).step_by(step).map(Block::full).collect())
}

/// The first 64 KiB: signature and creator.
fn identifier() -> Vec<u8> {
    let mut bytes = FILE_SIGNATURE.to_vec();
    bytes.extend(CREATOR.encode_utf16().flat_map(u16::to_le_bytes));
    bytes.resize(64 * 1024, 0);
    bytes
}
