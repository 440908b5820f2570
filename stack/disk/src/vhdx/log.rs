//! Writing the log: metadata changes become stable as a whole before they are done in place.
//!
//! Each entry is its own tail: everything before it has been done in place and flushed by then. Two entries that follow
//! each other never overlap, so the last whole one is there while the next is written.

use super::header::Headers;
use super::wire::{LOG_SECTOR, LogData, LogDescriptor, LogEntryHeader, MIB, checksum};
use crate::error::Result;
use crate::guid::Guid;
use crate::sparse::Journal;
use crate::storage::{Storage, StorageExt};
use zerocopy::{FromZeros, IntoBytes};

const SECTOR: usize = LOG_SECTOR as usize;
/// An entry takes at most this part of the log, so that one that does not fit behind its predecessor fits before it.
const ENTRY_PART: u64 = 3;

/// The log and the headers, which say whether it counts.
#[derive(Debug)]
pub(crate) struct Log {
    headers: Headers,
    /// Where in the log the next entry starts.
    position: u64,
    sequence: u64,
    guid: Guid,
    /// Whether the headers name the log.
    named: bool,
    /// Whether changes were done in place that are not flushed.
    unstable: bool,
    /// Damaged structures that there is another copy of, to be written anew.
    repair: Vec<(u64, Vec<u8>)>,
}

impl Log {
    /// For a file whose log has been replayed.
    pub fn new(headers: Headers, repair: Vec<(u64, Vec<u8>)>) -> Self {
        let guid = Guid::random();
        Self { headers, position: 0, sequence: 1, guid, named: false, unstable: false, repair }
    }

    /// What children note of this disk.
    pub fn data_write(&self) -> Guid {
        self.headers.data_write()
    }

    /// Pages that fit in an entry.
    fn pages_at_once(&self) -> usize {
        let sectors = self.headers.log().len / ENTRY_PART / LOG_SECTOR;
        let (mut pages, mut descriptors) = (sectors.saturating_sub(1), 1);
        while descriptor_sectors(pages) > descriptors {
            descriptors += 1;
            pages -= 1;
        }
        usize::try_from(pages).unwrap_or(1).max(1)
    }

    /// Makes one entry stable, then does what it says.
    fn log(&mut self, storage: &dyn Storage, pages: &[(u64, Vec<u8>)], end: u64) -> Result<()> {
        if self.unstable {
            storage.sync()?;
            self.unstable = false;
        }
        let log = self.headers.log();
        let len = entry_len(pages.len() as u64);
        if self.position + len > log.len {
            self.position = 0;
        }
        let entry = Entry { tail: self.position, sequence: self.sequence, log: self.guid, end };
        storage.write(log.start + self.position, &entry.encode(pages))?;
        storage.sync()?;
        self.position += len;
        self.sequence += 1;
        if !self.named {
            let guid = self.guid;
            self.headers.update_both(storage, |header| header.log = guid)?;
            self.named = true;
        }
        self.unstable = true;
        pages.iter().try_for_each(|(offset, bytes)| storage.write(*offset, bytes))
    }
}

impl Journal for Log {
    fn begin(&mut self, storage: &dyn Storage) -> Result<()> {
        // So that what has room in the file can be made stable when the file system is full.
        let log = self.headers.log();
        storage.keep_room(log.start, log.len)?;
        let (file_write, data_write) = (Guid::random(), Guid::random());
        self.headers.update_both(storage, |header| {
            header.file_write = file_write;
            header.data_write = data_write;
        })?;
        for (offset, bytes) in std::mem::take(&mut self.repair) {
            storage.write(offset, &bytes)?;
        }
        Ok(())
    }

    fn commit(&mut self, storage: &dyn Storage, pages: &[(u64, Vec<u8>)], end: u64) -> Result<()> {
        // The caller has just flushed.
        self.unstable = false;
        let at_once = self.pages_at_once();
        pages.chunks(at_once).try_for_each(|pages| self.log(storage, pages, end))
    }

    fn close(&mut self, storage: &dyn Storage, _end: u64) -> Result<()> {
        storage.sync()?;
        self.unstable = false;
        if self.named {
            self.headers.update_both(storage, |header| header.log = Guid::ZERO)?;
            self.named = false;
            self.guid = Guid::random();
        }
        Ok(())
    }

    fn content_id(&self) -> [u8; 16] {
        self.data_write().0
    }
}

/// Log sectors that hold an entry's header and this many descriptors.
pub(crate) fn descriptor_sectors(count: u64) -> u64 {
    let bytes = size_of::<LogEntryHeader>() as u64 + count * size_of::<LogDescriptor>() as u64;
    bytes.div_ceil(LOG_SECTOR)
}

fn entry_len(pages: u64) -> u64 {
    (descriptor_sectors(pages) + pages) * LOG_SECTOR
}

/// What an entry says beside its pages.
pub(super) struct Entry {
    /// Where in the log the entries start that have to be replayed with this one.
    pub tail: u64,
    pub sequence: u64,
    pub log: Guid,
    /// Where the file's structures end.
    pub end: u64,
}

impl Entry {
    pub fn encode(&self, pages: &[(u64, Vec<u8>)]) -> Vec<u8> {
        let count = pages.len() as u64;
        let length = entry_len(count);
        let header = LogEntryHeader {
            signature: *b"loge",
            checksum: 0.into(),
            length: u32::try_from(length).unwrap_or(0).into(),
            tail: u32::try_from(self.tail).unwrap_or(0).into(),
            sequence: self.sequence.into(),
            descriptor_count: u32::try_from(count).unwrap_or(0).into(),
            reserved: 0.into(),
            log: self.log,
            flushed_file_offset: (self.end / MIB * MIB).into(),
            last_file_offset: self.end.next_multiple_of(MIB).into(),
        };
        let mut bytes = header.as_bytes().to_vec();
        for (offset, page) in pages {
            bytes.extend_from_slice(self.descriptor(*offset, page).as_bytes());
        }
        bytes.resize(descriptor_sectors(count) as usize * SECTOR, 0);
        for (_, page) in pages {
            bytes.extend_from_slice(self.data(page).as_bytes());
        }
        let sum = checksum(&bytes).to_le_bytes();
        if let Some(place) = bytes.get_mut(4..8) {
            place.copy_from_slice(&sum);
        }
        bytes
    }

    fn descriptor(&self, offset: u64, page: &[u8]) -> LogDescriptor {
        LogDescriptor {
            signature: *b"desc",
            trailing: page.last_chunk().copied().unwrap_or_default(),
            leading: page.first_chunk().copied().unwrap_or_default(),
            file_offset: offset.into(),
            sequence: self.sequence.into(),
        }
    }

    fn data(&self, page: &[u8]) -> LogData {
        let mut data = LogData::new_zeroed();
        data.signature = *b"data";
        data.sequence_high = ((self.sequence >> 32) as u32).into();
        data.sequence_low = (self.sequence as u32).into();
        if let Some(middle) = page.get(8..SECTOR - 4) {
            data.bytes.copy_from_slice(middle);
        }
        data
    }
}
