//! Where on a disk file systems may be.

use crate::region::{ReadAt, Region};
use gptman::{GPT, GPTHeader};
use std::io::{Seek, SeekFrom};
use std::sync::Arc;

/// Most entries of a table that is looked at. 128 are usual.
const ENTRIES_MAX: u32 = 1024;
/// Sizes of an entry.
const ENTRY_SIZES: [u32; 3] = [128, 256, 512];

/// The partitions of a GPT in the order of their numbers; all of the disk where there is none.
pub fn candidates(disk: &Arc<dyn ReadAt>) -> Vec<Region> {
    let whole = Region::whole(disk);
    partitions(&whole).unwrap_or_else(|| vec![whole])
}

fn partitions(whole: &Region) -> Option<Vec<Region>> {
    let sector = whole.sector();
    // Of both headers, before anything is done with what they say: the reader takes the numbers as they are.
    let is_sane = |at| header(whole, at).is_none_or(|header| is_sane(&header));
    if !is_sane(SeekFrom::Start(sector)) || !is_sane(SeekFrom::End(-i64::try_from(sector).ok()?)) {
        return None;
    }
    let table = GPT::read_from(&mut whole.clone(), sector).ok()?;
    let used = table.iter().filter(|(_, entry)| entry.is_used());
    let region = |(number, entry): (u32, &gptman::GPTPartitionEntry)| {
        let count = entry.ending_lba.checked_sub(entry.starting_lba)?.checked_add(1)?;
        whole.part(number, entry.starting_lba.checked_mul(sector)?, count.checked_mul(sector)?)
    };
    Some(used.filter_map(region).collect())
}

/// The header there, if there is one.
fn header(whole: &Region, at: SeekFrom) -> Option<GPTHeader> {
    let mut reader = whole.clone();
    reader.seek(at).ok()?;
    GPTHeader::read_from(&mut reader).ok()
}

fn is_sane(header: &GPTHeader) -> bool {
    header.number_of_partition_entries <= ENTRIES_MAX
        && ENTRY_SIZES.contains(&header.size_of_partition_entry)
        && header.partition_entry_lba < 1 << 48
}
