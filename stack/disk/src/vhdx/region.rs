//! The region table: where BAT and metadata are.

use super::wire::{
    BAT_REGION, HEADER_SECTION, METADATA_REGION, MIB, REGION_TABLE_LEN, REGION_TABLES, RegionEntry,
    RegionTableHeader, TABLE_ENTRIES_MAX, checksum,
};
use crate::error::{Error, Result};
use crate::guid::Guid;
use crate::space::Used;
use crate::storage::{Storage, StorageExt};
use zerocopy::{FromBytes, IntoBytes};

const NAME: &str = "VHDX region table";

/// The regions of a file.
#[derive(Debug, Clone)]
pub(crate) struct Regions {
    entries: Vec<RegionEntry>,
    pub bat: Used,
    pub metadata: Used,
    /// What is wrong with the copy that is not used, and where that copy is.
    pub damaged: Option<(u64, String)>,
}

impl Regions {
    /// Reads the first whole copy.
    pub fn read(storage: &dyn Storage) -> Result<Self> {
        let file_len = storage.length()?;
        let [first_place, second_place] = REGION_TABLES;
        let first = read_one(storage, first_place, file_len);
        let second = read_one(storage, second_place, file_len);
        match (first, second) {
            (Ok(first), second) => {
                let damaged = second.err().map(|error| (second_place, error.to_string()));
                Ok(Self { damaged, ..first })
            }
            (Err(error), Ok(second)) => {
                Ok(Self { damaged: Some((first_place, error.to_string())), ..second })
            }
            (Err(error), Err(_)) => Err(error),
        }
    }

    /// The regions of a new file.
    pub fn new(bat: Used, metadata: Used) -> Self {
        let entry = |guid, region: &Used| RegionEntry {
            guid,
            offset: region.start.into(),
            length: u32::try_from(region.len).unwrap_or(0).into(),
            flags: 1.into(),
        };
        let entries = vec![entry(BAT_REGION, &bat), entry(METADATA_REGION, &metadata)];
        Self { entries, bat, metadata, damaged: None }
    }

    /// The same regions, with the BAT elsewhere.
    pub fn with_bat(&self, bat: Used) -> Self {
        let mut regions = self.clone();
        for entry in &mut regions.entries {
            if entry.guid == BAT_REGION {
                entry.offset = bat.start.into();
                entry.length = u32::try_from(bat.len).unwrap_or(0).into();
            }
        }
        regions.bat = bat;
        regions
    }

    /// A copy of the table as it is in the file.
    pub fn encode(&self) -> Vec<u8> {
        let header = RegionTableHeader {
            signature: *b"regi",
            checksum: 0.into(),
            entry_count: u32::try_from(self.entries.len()).unwrap_or(0).into(),
            reserved: 0.into(),
        };
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(self.entries.as_bytes());
        bytes.resize(REGION_TABLE_LEN, 0);
        let sum = checksum(&bytes).to_le_bytes();
        if let Some(place) = bytes.get_mut(4..8) {
            place.copy_from_slice(&sum);
        }
        bytes
    }

    /// How many regions are not known, and need not be.
    pub fn unknown(&self) -> usize {
        let known = [BAT_REGION, METADATA_REGION];
        self.entries.iter().filter(|entry| !known.contains(&entry.guid)).count()
    }

    /// All regions, also those that are not known.
    pub fn used(&self) -> impl Iterator<Item = Used> {
        self.entries.iter().map(|entry| Used {
            start: entry.offset.get(),
            len: entry.length.get().into(),
            name: region_name(entry.guid),
        })
    }
}

fn region_name(guid: Guid) -> &'static str {
    match guid {
        BAT_REGION => "VHDX BAT region",
        METADATA_REGION => "VHDX metadata region",
        _ => "VHDX region of an unknown kind",
    }
}

fn read_one(storage: &dyn Storage, offset: u64, file_len: u64) -> Result<Regions> {
    let bytes = storage.read_vec(offset, REGION_TABLE_LEN)?;
    let fail = |reason: String| Error::malformed(NAME, offset, reason);
    let Ok((header, rest)) = RegionTableHeader::ref_from_prefix(&bytes) else {
        return Err(fail("is too short".to_owned()));
    };
    if header.signature != *b"regi" {
        return Err(fail("its signature is not \"regi\"".to_owned()));
    }
    let (said, is) = (header.checksum.get(), checksum(&bytes));
    if said != is {
        return Err(fail(format!("its checksum is {said:#010x}, its content gives {is:#010x}")));
    }
    let count = header.entry_count.get();
    if count > TABLE_ENTRIES_MAX {
        return Err(fail(format!("it claims {count} entries, {TABLE_ENTRIES_MAX} at most fit")));
    }
    let (entries, _) = <[RegionEntry]>::ref_from_prefix_with_elems(rest, count as usize)
        .map_err(|_| fail(format!("{count} entries do not fit")))?;
    for entry in entries {
        check_entry(entry, file_len).map_err(fail)?;
    }
    let find = |guid: Guid| match entries.iter().filter(|entry| entry.guid == guid).count() {
        1 => Ok(Used {
            start: region(entries, guid).map_or(0, |entry| entry.offset.get()),
            len: region(entries, guid).map_or(0, |entry| entry.length.get().into()),
            name: region_name(guid),
        }),
        count => Err(fail(format!("has {count} entries for the {}", region_name(guid)))),
    };
    let (bat, metadata) = (find(BAT_REGION)?, find(METADATA_REGION)?);
    Ok(Regions { entries: entries.to_vec(), bat, metadata, damaged: None })
}

fn region(entries: &[RegionEntry], guid: Guid) -> Option<&RegionEntry> {
    entries.iter().find(|entry| entry.guid == guid)
}

fn check_entry(entry: &RegionEntry, file_len: u64) -> Result<(), String> {
    let (offset, len) = (entry.offset.get(), u64::from(entry.length.get()));
    let end = offset.checked_add(len);
    let what = format!("region {} at {offset:#x}, {len} bytes,", entry.guid);
    if !offset.is_multiple_of(MIB) || !len.is_multiple_of(MIB) || len == 0 {
        Err(format!("{what} is not whole MiB"))
    } else if offset < HEADER_SECTION {
        Err(format!("{what} lies in the header section"))
    } else if end.is_none_or(|end| end > file_len) {
        Err(format!("{what} reaches beyond the end of the file ({file_len} bytes)"))
    } else if entry.flags.get() & 1 != 0 && ![BAT_REGION, METADATA_REGION].contains(&entry.guid) {
        Err(format!("{what} is required and of an unknown kind"))
    } else {
        Ok(())
    }
}
