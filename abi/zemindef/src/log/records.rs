//! Taking records apart again.

use super::{Level, RecordHeader};
use zerocopy::FromBytes;

/// One line of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// Where it stands in the stream.
    pub position: u64,
    /// Time since the hypervisor started, in 100 ns.
    pub time_100ns: u64,
    /// Its level as a number, which a later release may have added.
    pub level: u8,
    /// Index of the LP that wrote it; `None` before LPs had one.
    pub lp: Option<u8>,
    /// UTF-8 as the writer meant it; not checked.
    pub text: &'a [u8],
}

impl Record<'_> {
    /// Its level, if this release knows it.
    pub fn level(&self) -> Option<Level> {
        Level::from_number(self.level)
    }
}

/// The records in a chunk of the log. Ends at the first thing that is no whole record.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    position: u64,
    bytes: &'a [u8],
}

impl<'a> Records<'a> {
    /// Records in `bytes`, the first of which stands at `position` of the stream.
    pub const fn new(position: u64, bytes: &'a [u8]) -> Self {
        Self { position, bytes }
    }

    /// Position and bytes that are left: once the iterator has ended, anything here is damaged.
    pub const fn rest(&self) -> (u64, &'a [u8]) {
        (self.position, self.bytes)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let (header, _) = RecordHeader::read_from_prefix(self.bytes).ok()?;
        let position = self.position;
        if !header.is_at(position) {
            return None;
        }
        let (record, rest) = self.bytes.split_at_checked(header.record_len())?;
        let text = record.get(size_of::<RecordHeader>()..)?.get(..usize::from(header.text_len))?;
        self.position = position.checked_add(header.record_len() as u64)?;
        self.bytes = rest;
        let lp = (header.lp != RecordHeader::NO_LP).then_some(header.lp);
        Some(Record { position, time_100ns: header.time_100ns, level: header.level, lp, text })
    }
}
