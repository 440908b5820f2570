//! [`Storage`] in memory, sparse, for tests and fuzzers: it can record what happens to it and play back a power loss.

use crate::storage::Storage;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Unit of bookkeeping and of what a power loss tears: one sector of the host's disk.
pub const SECTOR: u64 = 512;

/// Something that happened to the storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Bytes were written.
    Write {
        /// Where.
        offset: u64,
        /// What.
        data: Vec<u8>,
    },
    /// A range became zero.
    Zero {
        /// Where it starts.
        offset: u64,
        /// Bytes of it.
        len: u64,
    },
    /// The length was set.
    SetLen(u64),
    /// Everything so far is stable.
    Flush,
}

#[derive(Debug, Clone, Default)]
struct Content {
    /// Shared between copies until written.
    sectors: BTreeMap<u64, Arc<[u8; SECTOR as usize]>>,
    size: u64,
    limit: Option<u64>,
    /// Most bytes that sectors in use may take.
    space: Option<u64>,
    /// Changes that still succeed.
    fuse: Option<usize>,
    events: Option<Vec<Event>>,
}

/// A sparse file in memory.
#[derive(Debug, Default)]
pub struct MemStorage(Mutex<Content>);

impl MemStorage {
    /// An empty file.
    pub fn new() -> Self {
        Self::default()
    }

    /// A file with this content.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let storage = Self::default();
        storage.lock().write(0, bytes);
        storage
    }

    /// A copy of the content, without record or limit.
    pub fn copy(&self) -> Self {
        let content = self.lock().clone();
        Self(Mutex::new(Content { limit: None, space: None, fuse: None, events: None, ..content }))
    }

    /// Refuses to become longer than this from now on, as a full disk would. `None`: any length.
    pub fn set_limit(&self, bytes: Option<u64>) {
        self.lock().limit = bytes;
    }

    /// Lets sectors in use take no more than this from now on, as a full disk below a sparse file would. `None`: no limit.
    /// What is reserved counts while there is one.
    pub fn set_space(&self, bytes: Option<u64>) {
        self.lock().space = bytes;
    }

    /// Lets this many changes and flushes succeed from now on, and all others fail; `None`: none fails.
    pub fn fail_after(&self, changes: Option<usize>) {
        self.lock().fuse = changes;
    }

    /// Starts to record.
    pub fn record(&self) {
        self.lock().events = Some(Vec::new());
    }

    /// What happened since recording started.
    pub fn events(&self) -> Vec<Event> {
        self.lock().events.clone().unwrap_or_default()
    }

    /// How many events were recorded.
    pub fn event_count(&self) -> usize {
        self.lock().events.as_ref().map_or(0, Vec::len)
    }

    /// Does to this storage what was done to another. Never fails: the limit is not looked at.
    pub fn apply(&self, event: &Event) {
        let mut content = self.lock();
        match event {
            Event::Write { offset, data } => content.write(*offset, data),
            Event::Zero { offset, len } => content.zero(*offset, *len),
            Event::SetLen(size) => content.set_len(*size),
            Event::Flush => {}
        }
    }

    /// Bytes that sectors in use take: what a sparse file would occupy.
    pub fn occupied(&self) -> u64 {
        self.lock().sectors.len() as u64 * SECTOR
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pieces of a range by sector: sector number, start within it, bytes.
fn pieces(offset: u64, len: u64) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut at = offset;
    let end = offset.saturating_add(len);
    std::iter::from_fn(move || {
        let start = at % SECTOR;
        let step = (SECTOR - start).min(end.checked_sub(at).filter(|rest| *rest > 0)?);
        let piece = (at / SECTOR, start as usize, step as usize);
        at += step;
        Some(piece)
    })
}

impl Content {
    /// Records what is about to happen, unless it is to fail.
    fn note(&mut self, event: impl FnOnce() -> Event) -> io::Result<()> {
        match &mut self.fuse {
            Some(0) => return Err(io::Error::other("made to fail")),
            Some(left) => *left -= 1,
            None => {}
        }
        if let Some(events) = &mut self.events {
            events.push(event());
        }
        Ok(())
    }

    fn admit(&self, end: Option<u64>) -> io::Result<()> {
        match (end, self.limit) {
            (None, _) => Err(io::ErrorKind::FileTooLarge.into()),
            (Some(end), Some(limit)) if end > limit => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    /// Whether a range can be in use, the sectors of it that are not yet included.
    fn has_space(&self, offset: u64, len: u64) -> io::Result<()> {
        let Some(space) = self.space else { return Ok(()) };
        let new = pieces(offset, len).filter(|(sector, ..)| !self.sectors.contains_key(sector));
        let wanted = (self.sectors.len() as u64).saturating_add(new.count() as u64);
        if wanted.saturating_mul(SECTOR) > space {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn write(&mut self, offset: u64, mut data: &[u8]) {
        self.size = self.size.max(offset.saturating_add(data.len() as u64));
        for (sector, start, len) in pieces(offset, data.len() as u64) {
            let (now, rest) = data.split_at(len);
            let place = self.sectors.entry(sector).or_insert_with(|| Arc::new([0; 512]));
            if let Some(target) = Arc::make_mut(place).get_mut(start..start + len) {
                target.copy_from_slice(now);
            }
            data = rest;
        }
    }

    fn zero(&mut self, offset: u64, len: u64) {
        let end = offset.saturating_add(len).min(self.size);
        let (first, last) = (offset / SECTOR, end.div_ceil(SECTOR));
        let touched: Vec<u64> =
            self.sectors.range(first..last.max(first)).map(|(s, _)| *s).collect();
        for (sector, start, step) in touched.into_iter().filter_map(|sector| {
            let from = (sector * SECTOR).max(offset);
            let to = ((sector + 1) * SECTOR).min(end);
            (from < to).then_some((sector, (from % SECTOR) as usize, (to - from) as usize))
        }) {
            if step as u64 == SECTOR {
                self.sectors.remove(&sector);
            } else if let Some(place) = self.sectors.get_mut(&sector)
                && let Some(target) = Arc::make_mut(place).get_mut(start..start + step)
            {
                target.fill(0);
            }
        }
    }

    fn set_len(&mut self, size: u64) {
        if size < self.size {
            let old = self.size;
            self.zero(size, old - size);
        }
        self.size = size;
    }
}

impl Storage for MemStorage {
    fn size(&self) -> io::Result<u64> {
        Ok(self.lock().size)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let content = self.lock();
        match offset.checked_add(buffer.len() as u64) {
            Some(end) if end <= content.size => {}
            _ => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        let mut rest = buffer;
        for (sector, start, len) in pieces(offset, rest.len() as u64) {
            let (now, later) = rest.split_at_mut(len);
            match content.sectors.get(&sector).and_then(|bytes| bytes.get(start..start + len)) {
                Some(bytes) => now.copy_from_slice(bytes),
                None => now.fill(0),
            }
            rest = later;
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut content = self.lock();
        content.admit(offset.checked_add(data.len() as u64))?;
        content.has_space(offset, data.len() as u64)?;
        content.note(|| Event::Write { offset, data: data.to_vec() })?;
        content.write(offset, data);
        Ok(())
    }

    fn set_len(&self, size: u64) -> io::Result<()> {
        let mut content = self.lock();
        content.admit(Some(size))?;
        content.note(|| Event::SetLen(size))?;
        content.set_len(size);
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.lock().note(|| Event::Flush)
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut content = self.lock();
        content.note(|| Event::Zero { offset, len })?;
        content.zero(offset, len);
        Ok(())
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> io::Result<()> {
        self.punch_hole(offset, len)
    }

    fn reserve(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut content = self.lock();
        if content.space.is_some() {
            content.has_space(offset, len)?;
            for (sector, ..) in pieces(offset, len) {
                content.sectors.entry(sector).or_insert_with(|| Arc::new([0; SECTOR as usize]));
            }
        }
        Ok(())
    }
}
