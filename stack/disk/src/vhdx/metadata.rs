//! The metadata region: what kind of disk it is.

use super::locator::Locator;
use super::wire::{
    BLOCK_SIZES, DISK_ID, DISK_SIZE, FILE_PARAMETERS, FileParameters, HAS_PARENT, IS_REQUIRED,
    IS_USER, IS_VIRTUAL_DISK, LEAVE_BLOCKS_ALLOCATED, LOGICAL_SECTOR, METADATA_TABLE_LEN,
    MetadataEntry, MetadataTableHeader, PARENT_LOCATOR, PHYSICAL_SECTOR, SIZE_MAX,
    TABLE_ENTRIES_MAX,
};
use crate::disk::SectorSizes;
use crate::error::{Error, Result};
use crate::guid::Guid;
use crate::space::{Space, Used};
use crate::storage::{Storage, StorageExt};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

const TABLE: &str = "VHDX metadata table";
const ITEM: &str = "VHDX metadata item";
/// The longest item that is read: a parent locator with its paths.
const ITEM_MAX: u32 = 1 << 20;

/// What the metadata says.
#[derive(Debug, Clone)]
pub(crate) struct Metadata {
    pub block_size: u64,
    pub fixed: bool,
    pub has_parent: bool,
    pub size: u64,
    pub id: Guid,
    pub sectors: SectorSizes,
    pub parent: Option<Locator>,
    /// Where in the file the size is.
    pub size_offset: u64,
    /// Items that are not known, and need not be.
    pub unknown: usize,
}

impl Metadata {
    /// Reads and checks all items.
    pub fn read(storage: &dyn Storage, region: &Used) -> Result<Self> {
        let table = storage.read_vec(region.start, METADATA_TABLE_LEN)?;
        let items = Items { storage, region: region.start, entries: entries(&table, region)? };
        let parameters: FileParameters = items.fixed(FILE_PARAMETERS, "file parameters")?;
        let flags = parameters.flags.get();
        let has_parent = flags & HAS_PARENT != 0;
        let metadata = Self {
            block_size: parameters.block_size.get().into(),
            fixed: flags & LEAVE_BLOCKS_ALLOCATED != 0,
            has_parent,
            size: items.fixed::<U64>(DISK_SIZE, "disk size")?.get(),
            id: items.fixed(DISK_ID, "disk id")?,
            sectors: SectorSizes {
                logical: items.fixed::<U32>(LOGICAL_SECTOR, "logical sector size")?.get(),
                physical: items.fixed::<U32>(PHYSICAL_SECTOR, "physical sector size")?.get(),
            },
            parent: match has_parent {
                true => Some(items.locator()?),
                false => None,
            },
            size_offset: items.offset(DISK_SIZE).unwrap_or(region.start),
            unknown: items.entries.iter().filter(|entry| !is_known(entry)).count(),
        };
        metadata.check(&items)?;
        Ok(metadata)
    }

    fn check(&self, items: &Items<'_>) -> Result<()> {
        let fail = |item, reason: String| {
            let offset = items.offset(item).unwrap_or(items.region);
            Err(Error::malformed(ITEM, offset, reason))
        };
        if !self.block_size.is_power_of_two() || !BLOCK_SIZES.contains(&self.block_size) {
            let reason = format!(
                "the block size is {}, not a power of two from 1 to 256 MiB",
                self.block_size
            );
            return fail(FILE_PARAMETERS, reason);
        }
        if self.fixed && self.has_parent {
            return fail(FILE_PARAMETERS, "a disk cannot be fixed and have a parent".to_owned());
        }
        for (item, size) in
            [(LOGICAL_SECTOR, self.sectors.logical), (PHYSICAL_SECTOR, self.sectors.physical)]
        {
            if ![512, 4096].contains(&size) {
                return fail(item, format!("a sector size is {size}, neither 512 nor 4096"));
            }
        }
        if self.size == 0
            || self.size > SIZE_MAX
            || !self.size.is_multiple_of(self.sectors.logical.into())
        {
            let reason = format!(
                "the disk size is {}, not whole sectors of {} bytes up to 64 TiB",
                self.size, self.sectors.logical
            );
            return fail(DISK_SIZE, reason);
        }
        Ok(())
    }

    /// The region of a new file.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = ItemWriter::default();
        let flags = if self.fixed { LEAVE_BLOCKS_ALLOCATED } else { 0 }
            | if self.has_parent { HAS_PARENT } else { 0 };
        let block_size = u32::try_from(self.block_size).unwrap_or(0).into();
        let parameters = FileParameters { block_size, flags: flags.into() };
        writer.add(FILE_PARAMETERS, IS_REQUIRED, parameters.as_bytes());
        let about_disk = IS_REQUIRED | IS_VIRTUAL_DISK;
        writer.add(DISK_SIZE, about_disk, &self.size.to_le_bytes());
        writer.add(DISK_ID, about_disk, &self.id.0);
        writer.add(LOGICAL_SECTOR, about_disk, &self.sectors.logical.to_le_bytes());
        writer.add(PHYSICAL_SECTOR, about_disk, &self.sectors.physical.to_le_bytes());
        if let Some(parent) = &self.parent {
            writer.add(PARENT_LOCATOR, IS_REQUIRED, &parent.encode());
        }
        writer.finish()
    }

    /// Blocks of the disk.
    pub fn blocks(&self) -> u64 {
        self.size.div_ceil(self.block_size)
    }

    /// Blocks that share a bitmap block.
    pub fn chunk_ratio(&self) -> u64 {
        (1 << 23) * u64::from(self.sectors.logical) / self.block_size
    }
}

#[derive(Default)]
struct ItemWriter {
    entries: Vec<MetadataEntry>,
    items: Vec<u8>,
}

impl ItemWriter {
    fn add(&mut self, item: Guid, flags: u32, bytes: &[u8]) {
        let offset = METADATA_TABLE_LEN + self.items.len();
        self.entries.push(MetadataEntry {
            item,
            offset: u32::try_from(offset).unwrap_or(0).into(),
            length: u32::try_from(bytes.len()).unwrap_or(0).into(),
            flags: flags.into(),
            reserved: 0.into(),
        });
        self.items.extend_from_slice(bytes);
        self.items.resize(self.items.len().next_multiple_of(8), 0);
    }

    fn finish(self) -> Vec<u8> {
        let mut header = MetadataTableHeader::new_zeroed();
        header.signature = *b"metadata";
        header.entry_count = u16::try_from(self.entries.len()).unwrap_or(0).into();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(self.entries.as_bytes());
        bytes.resize(METADATA_TABLE_LEN, 0);
        bytes.extend_from_slice(&self.items);
        bytes
    }
}

fn entries(table: &[u8], region: &Used) -> Result<Vec<MetadataEntry>> {
    let fail = |reason: String| Error::malformed(TABLE, region.start, reason);
    let (header, rest) =
        MetadataTableHeader::ref_from_prefix(table).map_err(|_| fail("is too short".to_owned()))?;
    if header.signature != *b"metadata" {
        return Err(fail("its signature is not \"metadata\"".to_owned()));
    }
    let count = header.entry_count.get();
    if u32::from(count) > TABLE_ENTRIES_MAX {
        return Err(fail(format!("it claims {count} entries, {TABLE_ENTRIES_MAX} at most fit")));
    }
    let (entries, _) = <[MetadataEntry]>::ref_from_prefix_with_elems(rest, count.into())
        .map_err(|_| fail(format!("{count} entries do not fit")))?;
    for (index, entry) in entries.iter().enumerate() {
        check_entry(entry, region.len).map_err(fail)?;
        let earlier = entries.get(..index).unwrap_or_default();
        let same = |other: &&MetadataEntry| {
            other.item == entry.item && (other.flags.get() ^ entry.flags.get()) & IS_USER == 0
        };
        if earlier.iter().find(same).is_some() {
            return Err(fail(format!("item {} is there twice", entry.item)));
        }
    }
    check_apart(entries, region)?;
    Ok(entries.to_vec())
}

/// No item shares bytes with another: a new size, which is written over the old one, would change what else lies there.
fn check_apart(entries: &[MetadataEntry], region: &Used) -> Result<()> {
    let items = entries.iter().filter(|entry| entry.length.get() > 0).map(|entry| Used {
        start: region.start + u64::from(entry.offset.get()),
        len: entry.length.get().into(),
        name: ITEM,
    });
    Space::beside(items.collect(), 0, 0).map(drop)
}

fn is_known(entry: &MetadataEntry) -> bool {
    const KNOWN: [Guid; 6] =
        [FILE_PARAMETERS, DISK_SIZE, DISK_ID, LOGICAL_SECTOR, PHYSICAL_SECTOR, PARENT_LOCATOR];
    entry.flags.get() & IS_USER == 0 && KNOWN.contains(&entry.item)
}

fn check_entry(entry: &MetadataEntry, region_len: u64) -> Result<(), String> {
    let (offset, len) = (u64::from(entry.offset.get()), u64::from(entry.length.get()));
    let inside = offset >= METADATA_TABLE_LEN as u64 && offset + len <= region_len;
    let flags = entry.flags.get();
    if !(inside || (offset == 0 && len == 0)) {
        Err(format!("item {} ({len} bytes at {offset:#x}) is not in its region", entry.item))
    } else if flags & IS_REQUIRED != 0 && !is_known(entry) {
        Err(format!("item {} is required and of an unknown kind", entry.item))
    } else {
        Ok(())
    }
}

/// The items of a file, read as they are asked for.
struct Items<'a> {
    storage: &'a dyn Storage,
    region: u64,
    entries: Vec<MetadataEntry>,
}

impl Items<'_> {
    fn entry(&self, item: Guid) -> Option<&MetadataEntry> {
        let mine = |entry: &&MetadataEntry| entry.item == item && entry.flags.get() & IS_USER == 0;
        self.entries.iter().find(mine)
    }

    fn offset(&self, item: Guid) -> Option<u64> {
        Some(self.region + u64::from(self.entry(item)?.offset.get()))
    }

    fn bytes(&self, item: Guid, name: &str) -> Result<Vec<u8>> {
        let entry = self.entry(item).ok_or_else(|| {
            Error::malformed(TABLE, self.region, format!("has no item for the {name}"))
        })?;
        let (offset, len) = (self.region + u64::from(entry.offset.get()), entry.length.get());
        if len > ITEM_MAX {
            let reason = format!("the {name} takes {len} bytes, more than anybody writes");
            return Err(Error::malformed(ITEM, offset, reason));
        }
        self.storage.read_vec(offset, len as usize)
    }

    fn fixed<T: FromBytes>(&self, item: Guid, name: &str) -> Result<T> {
        let bytes = self.bytes(item, name)?;
        T::read_from_bytes(&bytes).map_err(|_| {
            let offset = self.offset(item).unwrap_or(self.region);
            let reason = format!("the {name} takes {} bytes, not {}", bytes.len(), size_of::<T>());
            Error::malformed(ITEM, offset, reason)
        })
    }

    fn locator(&self) -> Result<Locator> {
        let bytes = self.bytes(PARENT_LOCATOR, "parent locator")?;
        Locator::parse(&bytes).map_err(|reason| {
            let offset = self.offset(PARENT_LOCATOR).unwrap_or(self.region);
            Error::malformed("VHDX parent locator", offset, reason)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    const SOUND: Metadata = Metadata {
        block_size: 1 << 20,
        fixed: false,
        has_parent: false,
        size: 5 << 20,
        id: Guid([7; 16]),
        sectors: SectorSizes { logical: 512, physical: 4096 },
        parent: None,
        size_offset: 0,
        unknown: 0,
    };

    /// The entries of a sound table in which the one of the disk size says another offset.
    fn with_size_at(offset: u32) -> Result<Vec<MetadataEntry>> {
        let mut table = SOUND.encode();
        let size_entry = size_of::<MetadataTableHeader>() + size_of::<MetadataEntry>();
        let at = size_entry + offset_of!(MetadataEntry, offset);
        table[at..at + 4].copy_from_slice(&offset.to_le_bytes());
        entries(&table, &Used { start: 0, len: 1 << 20, name: "metadata" })
    }

    #[test]
    fn items_that_share_bytes_are_refused() {
        const FIRST: u32 = METADATA_TABLE_LEN as u32;
        assert_eq!(with_size_at(FIRST + 8).expect("as it was written").len(), 5);
        assert!(with_size_at(FIRST + 64).is_ok(), "behind the others");
        for offset in [FIRST, FIRST + 1, FIRST + 7, FIRST + 9, FIRST + 23] {
            let error = with_size_at(offset).expect_err("not a place of its own").to_string();
            assert!(error.contains("overlap"), "{offset:#x}: {error}");
        }
    }
}
