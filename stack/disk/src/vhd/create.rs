//! Making a VHD.

use super::table::TableLayout;
use super::wire::{
    ABSOLUTE_PATH, BLOCK_SIZES, DIFFERENCING, DYNAMIC, DynamicHeader, FIXED, FOOTER_LEN, Footer,
    ParentLocator, RELATIVE_PATH, SECTOR, SIZE_MAX,
};
use crate::error::{Error, Result};
use crate::sparse::Table;
use crate::storage::{Storage, StorageExt};
use uuid::Uuid;
use zerocopy::{FromZeros, IntoBytes};

/// What everybody takes.
const BLOCK_SIZE: u64 = 2 << 20;

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
    /// Bytes of the disk: whole sectors of 512 bytes, up to 2040 GiB.
    pub size: u64,
    /// A power of two from 4 KiB to 256 MiB; `None`: 2 MiB.
    pub block_size: Option<u64>,
    /// All space is taken at once.
    pub fixed: bool,
    /// Makes it a differencing disk.
    pub parent: Option<Parent>,
    /// Its identifier; `None`: a new one.
    pub identity: Option<[u8; 16]>,
}

/// Writes an empty VHD to an empty file and flushes it.
///
/// # Errors
/// [`Error::Unsupported`] when the format cannot be that; what writing says.
pub fn create(storage: &dyn Storage, parameters: &Parameters) -> Result<()> {
    check(parameters)?;
    let size = parameters.size;
    let kind = match (&parameters.parent, parameters.fixed) {
        (Some(_), _) => DIFFERENCING,
        (None, true) => FIXED,
        (None, false) => DYNAMIC,
    };
    let id = parameters.identity.unwrap_or_else(|| *Uuid::new_v4().as_bytes());
    let footer = Footer::new(size, kind, id);
    if parameters.fixed {
        storage.resize(size)?;
        storage.reserve(0, size).map_err(Error::io(format!("reserving {size} bytes")))?;
        storage.write(size, footer.as_bytes())?;
        return storage.sync();
    }
    let mut header = DynamicHeader::new(parameters.block_size.unwrap_or(BLOCK_SIZE) as u32);
    let mut paths = Vec::new();
    if let Some(parent) = &parameters.parent {
        header.parent_id = parent.content_id;
        header.set_parent_name(parent.absolute.rsplit(['/', '\\']).next().unwrap_or_default());
        let utf16 = |path: &String| path.encode_utf16().flat_map(u16::to_le_bytes).collect();
        paths.extend(parent.relative.iter().map(|path| (RELATIVE_PATH, utf16(path))));
        paths.push((ABSOLUTE_PATH, utf16(&parent.absolute)));
    }
    write(storage, footer, header, &paths)
}

/// Writes an empty VHD that is the same disk as another, which is not fixed, in all but its content.
///
/// # Errors
/// What reading and writing says.
pub fn create_like(other: &dyn Storage, storage: &dyn Storage) -> Result<()> {
    let footer = Footer::read(other, 0)?;
    let mut header = DynamicHeader::read(other, footer.data_offset.get())?;
    let mut paths = Vec::new();
    for locator in &mut header.locators {
        if locator.platform != [0; 4] {
            paths.push((locator.platform, locator.read(other)?));
        }
        *locator = ParentLocator::new_zeroed();
    }
    write(storage, footer, header, &paths)
}

/// Footer and copy, header, empty table, and the paths to the parent.
fn write(
    storage: &dyn Storage,
    mut footer: Footer,
    mut header: DynamicHeader,
    paths: &[([u8; 4], Vec<u8>)],
) -> Result<()> {
    let table_offset = FOOTER_LEN + size_of::<DynamicHeader>() as u64;
    let (size, block_size) = (footer.current_size.get(), u64::from(header.block_size.get()));
    let entries = size.div_ceil(block_size);
    let layout = TableLayout { table: table_offset, entries, block_size };
    let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    header.table_offset = table_offset.into();
    header.max_table_entries = number(entries).into();
    let mut end = table_offset + layout.table_len();
    for (place, (platform, path)) in header.locators.iter_mut().zip(paths) {
        let space = (path.len() as u64).next_multiple_of(SECTOR);
        *place = ParentLocator {
            platform: *platform,
            space: number(space).into(),
            length: number(path.len() as u64).into(),
            reserved: 0.into(),
            offset: end.into(),
        };
        storage.write(end, path)?;
        end += space;
    }
    storage.write(FOOTER_LEN, header.sealed().as_bytes())?;
    storage.write(table_offset, &layout.encode(&Table { size, blocks: Vec::new() }))?;
    footer.data_offset = FOOTER_LEN.into();
    let footer = footer.with_size(size);
    storage.write(0, footer.as_bytes())?;
    storage.write(end, footer.as_bytes())?;
    storage.sync()
}

fn check(parameters: &Parameters) -> Result<()> {
    let size = parameters.size;
    if size == 0 || size > SIZE_MAX || !size.is_multiple_of(SECTOR) {
        return Err(Error::Unsupported(format!(
            "a VHD of {size} bytes is not whole sectors of 512 bytes, up to 2040 GiB"
        )));
    }
    let block_size = parameters.block_size.unwrap_or(BLOCK_SIZE);
    if !block_size.is_power_of_two() || !BLOCK_SIZES.contains(&block_size) {
        return Err(Error::Unsupported(format!(
            "a block of {block_size} bytes is no power of two from 4 KiB to 256 MiB"
        )));
    }
    if parameters.fixed && parameters.parent.is_some() {
        return Err(Error::Unsupported("a differencing disk cannot be fixed".to_owned()));
    }
    Ok(())
}
