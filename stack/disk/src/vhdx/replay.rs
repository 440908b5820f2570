//! Replaying the log on open: what was logged and perhaps not done in place is done again.

use super::header::Headers;
use super::log::descriptor_sectors;
use super::wire::{
    LOG_SECTOR, LogData, LogDescriptor, LogEntryHeader, REGION_TABLES, SIZE_MAX, checksum,
};
use crate::error::{Error, Result};
use crate::guid::Guid;
use crate::space::Used;
use crate::storage::{Storage, StorageExt};
use std::cell::Cell;
use zerocopy::{FromBytes, IntoBytes};

const NAME: &str = "VHDX log";
const SECTOR: usize = LOG_SECTOR as usize;
/// How often the whole log is read, at most, to find its entries: a damaged one may name lengths as it likes.
const READS_MAX: u64 = 32;
/// The largest file that a log may ask for.
const FILE_MAX: u64 = 2 * SIZE_MAX;

/// An entry that is whole.
#[derive(Debug, Clone, Copy)]
struct Found {
    /// Where in the log it starts.
    position: u64,
    len: u64,
    sequence: u64,
    tail: u64,
}

/// Does what the log says. The caller flushes, and then lets the headers forget the log.
///
/// # Errors
/// When the headers name a log without a whole entry, or entries do not make sense; nothing has been changed then.
pub(crate) fn replay(storage: &dyn Storage, headers: &Headers) -> Result<()> {
    let log = Reader::new(storage, headers);
    if headers.log_version() != 0 {
        let reason = format!("its version is {}, only 0 is known", headers.log_version());
        return Err(Error::malformed(NAME, log.log.start, reason));
    }
    let sequence = log.active()?;
    let mut changes = Vec::new();
    let mut file_len = storage.length()?;
    for entry in sequence {
        let bytes = log.bytes(entry.position, entry.len)?;
        let position = log.log.start + entry.position;
        let fail = |reason: String| Error::malformed("VHDX log entry", position, reason);
        let header = LogEntryHeader::read_from_prefix(&bytes).map(|(header, _)| header);
        let header = header.map_err(|_| fail("is too short".to_owned()))?;
        check_size(&header, storage.length()?).map_err(fail)?;
        file_len = file_len.max(header.last_file_offset.get());
        log.changes(&header, &bytes, file_len, &mut changes).map_err(fail)?;
    }
    if file_len > storage.length()? {
        storage.resize(file_len)?;
    }
    changes.iter().try_for_each(|change| change.apply(storage))
}

fn check_size(header: &LogEntryHeader, file_len: u64) -> Result<(), String> {
    let (flushed, last) = (header.flushed_file_offset.get(), header.last_file_offset.get());
    if flushed > file_len {
        return Err(format!(
            "the file had at least {flushed} bytes when this was written, and has {file_len}: \
             it was cut off"
        ));
    }
    if last > FILE_MAX {
        return Err(format!("asks for a file of {last} bytes"));
    }
    Ok(())
}

/// What an entry wants done.
enum Change {
    Write { offset: u64, bytes: Box<[u8; SECTOR]> },
    Zero { offset: u64, len: u64 },
}

impl Change {
    fn apply(&self, storage: &dyn Storage) -> Result<()> {
        match self {
            Self::Write { offset, bytes } => storage.write(*offset, &**bytes),
            Self::Zero { offset, len } => storage.zero(*offset, *len),
        }
    }
}

struct Reader<'a> {
    storage: &'a dyn Storage,
    log: Used,
    guid: Guid,
    /// Bytes that may still be read to find out whether entries are whole.
    budget: Cell<u64>,
}

impl<'a> Reader<'a> {
    fn new(storage: &'a dyn Storage, headers: &Headers) -> Self {
        let log = headers.log();
        let budget = Cell::new(log.len.saturating_mul(READS_MAX));
        Self { storage, log, guid: headers.log_guid(), budget }
    }

    /// Bytes of the log, which is a ring.
    fn bytes(&self, position: u64, len: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        let before_end = len.min(self.log.len.saturating_sub(position));
        let (first, second) = bytes.split_at_mut(before_end as usize);
        self.storage.read(self.log.start + position, first)?;
        self.storage.read(self.log.start, second)?;
        Ok(bytes)
    }

    /// The entry at a position, if there is a whole one of this log.
    fn entry(&self, position: u64) -> Result<Option<Found>> {
        let bytes = self.bytes(position, LOG_SECTOR)?;
        let Ok((header, _)) = LogEntryHeader::read_from_prefix(&bytes) else { return Ok(None) };
        let (len, tail) = (u64::from(header.length.get()), u64::from(header.tail.get()));
        let sectors = descriptor_sectors(header.descriptor_count.get().into());
        let sound = header.signature == *b"loge"
            && header.log == self.guid
            && header.sequence.get() != 0
            && len.is_multiple_of(LOG_SECTOR)
            && (LOG_SECTOR..=self.log.len).contains(&len)
            && sectors * LOG_SECTOR <= len
            && tail.is_multiple_of(LOG_SECTOR)
            && tail < self.log.len;
        if !sound {
            return Ok(None);
        }
        let left = self.budget.get().checked_sub(len).ok_or_else(|| {
            Error::malformed(NAME, self.log.start, "is full of entries that are not whole")
        })?;
        self.budget.set(left);
        if checksum(&self.bytes(position, len)?) != header.checksum.get() {
            return Ok(None);
        }
        Ok(Some(Found { position, len, sequence: header.sequence.get(), tail }))
    }

    /// MS-VHDX 2.3.2: the run of entries that ends with the newest one, from that one's tail on.
    fn active(&self) -> Result<Vec<Found>> {
        let mut best: Option<(u64, Vec<Found>)> = None;
        let mut start = 0;
        while start < self.log.len {
            let run = self.run(start)?;
            let Some(head) = run.last().copied() else {
                start += LOG_SECTOR;
                continue;
            };
            let tail = run.iter().position(|entry| entry.position == head.tail);
            if let Some(tail) = tail
                && best.as_ref().is_none_or(|(newest, _)| head.sequence > *newest)
            {
                best = Some((head.sequence, run.get(tail..).unwrap_or_default().to_vec()));
            }
            start += run.iter().map(|entry| entry.len).sum::<u64>();
        }
        best.map(|(_, run)| run).ok_or_else(|| {
            let reason = "the header says that it holds changes, but it has no whole entry";
            Error::malformed(NAME, self.log.start, reason)
        })
    }

    /// Entries that follow each other, from a position on.
    fn run(&self, start: u64) -> Result<Vec<Found>> {
        let mut run: Vec<Found> = Vec::new();
        let mut taken = 0;
        while taken < self.log.len {
            let Some(entry) = self.entry((start + taken) % self.log.len)? else { break };
            let follows =
                run.last().is_none_or(|last| last.sequence.checked_add(1) == Some(entry.sequence));
            if !follows || taken + entry.len > self.log.len {
                break;
            }
            taken += entry.len;
            run.push(entry);
        }
        Ok(run)
    }

    /// What an entry wants done, checked.
    fn changes(
        &self,
        header: &LogEntryHeader,
        bytes: &[u8],
        file_len: u64,
        changes: &mut Vec<Change>,
    ) -> Result<(), String> {
        let count = header.descriptor_count.get() as usize;
        let rest = bytes.get(size_of::<LogEntryHeader>()..).unwrap_or_default();
        let (descriptors, _) = <[LogDescriptor]>::ref_from_prefix_with_elems(rest, count)
            .map_err(|_| format!("{count} descriptors do not fit"))?;
        let data = bytes.get(descriptor_sectors(count as u64) as usize * SECTOR..);
        let mut data = data.unwrap_or_default().chunks_exact(SECTOR);
        for (index, descriptor) in descriptors.iter().enumerate() {
            let fail = |reason: &str| format!("descriptor {index} {reason}");
            if descriptor.sequence != header.sequence {
                return Err(fail("belongs to another entry"));
            }
            let change = match &descriptor.signature {
                b"zero" => zero(descriptor),
                b"desc" => write(descriptor, data.next().ok_or_else(|| fail("has no data"))?)?,
                _ => return Err(fail("is of an unknown kind")),
            };
            self.check_target(&change, file_len).map_err(|reason| fail(&reason))?;
            changes.push(change);
        }
        Ok(())
    }

    /// Changes go to metadata inside the file: neither to the headers nor to the log itself.
    fn check_target(&self, change: &Change, file_len: u64) -> Result<(), String> {
        let (offset, len) = match change {
            Change::Write { offset, .. } => (*offset, LOG_SECTOR),
            Change::Zero { offset, len } => (*offset, *len),
        };
        let log_end = self.log.start + self.log.len;
        let Some(end) = offset.checked_add(len).filter(|end| *end <= file_len) else {
            return Err(format!("changes {len} bytes at {offset:#x}, beyond the end of the file"));
        };
        let [tables, _] = REGION_TABLES;
        if !offset.is_multiple_of(LOG_SECTOR) || !len.is_multiple_of(LOG_SECTOR) {
            Err(format!("changes {len} bytes at {offset:#x}, which are not whole log sectors"))
        } else if offset < tables || (offset < log_end && end > self.log.start) {
            Err(format!("changes {len} bytes at {offset:#x}, in the headers or the log"))
        } else {
            Ok(())
        }
    }
}

fn zero(descriptor: &LogDescriptor) -> Change {
    let len = u64::from_le_bytes(descriptor.leading);
    Change::Zero { offset: descriptor.file_offset.get(), len }
}

fn write(descriptor: &LogDescriptor, data: &[u8]) -> Result<Change, String> {
    let data = LogData::ref_from_bytes(data).map_err(|_| "has too little data".to_owned())?;
    let sequence = u64::from(data.sequence_high.get()) << 32 | u64::from(data.sequence_low.get());
    if data.signature != *b"data" || sequence != descriptor.sequence.get() {
        return Err("a data sector belongs to another entry".to_owned());
    }
    let mut bytes = Box::new([0; SECTOR]);
    let (leading, rest) = bytes.split_at_mut(descriptor.leading.len());
    let (middle, trailing) = rest.split_at_mut(data.bytes.len());
    leading.copy_from_slice(&descriptor.leading);
    middle.copy_from_slice(&data.bytes);
    trailing.copy_from_slice(descriptor.trailing.as_bytes());
    Ok(Change::Write { offset: descriptor.file_offset.get(), bytes })
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
