//! GPADLs: put together from messages, kept, torn down.

use super::channels::Stage;
use super::{Action, Handled, Limits, Server, Violation, status};
use crate::packet::{Range, RangeError};
use std::collections::BTreeMap;
use std::sync::Arc;
use vmbusdef::MessageNumber;
use vmbusdef::gpadl::{GpadlBody, GpadlCreated, GpadlHeader, GpadlTeardown, GpadlTorndown};
use zerocopy::FromBytes;

/// Ranges in one list. Linux makes one.
const RANGES_MAX: u16 = 64;

/// One range of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GpadlRange {
    /// Bytes.
    pub byte_count: u32,
    /// In the first page.
    pub byte_offset: u32,
    /// Its pages, all of them RAM.
    pub gpns: Vec<u64>,
}

/// Pages that the guest shares until it takes them back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gpadl {
    /// At least one.
    pub ranges: Vec<GpadlRange>,
}

impl Gpadl {
    /// The pages, if they are one range that begins with a page.
    pub fn whole_pages(&self) -> Option<&[u64]> {
        match self.ranges.as_slice() {
            [range] if range.byte_offset == 0 => Some(&range.gpns),
            _ => None,
        }
    }

    fn parse(list: &[u8], count: u16, is_ram: &dyn Fn(u64) -> bool) -> Result<Self, RangeError> {
        let mut ranges = Vec::with_capacity(count.into());
        let mut list = list;
        for _ in 0..count {
            let (range, rest) = Range::split(list)?;
            list = rest;
            let gpns: Vec<_> = range.gpns().collect();
            if let Some(gpn) = gpns.iter().find(|gpn| !is_ram(**gpn)) {
                return Err(RangeError::NotRam(*gpn));
            }
            let (byte_count, byte_offset) = (range.head.byte_count, range.head.byte_offset);
            ranges.push(GpadlRange { byte_count, byte_offset, gpns });
        }
        Ok(Self { ranges })
    }
}

enum State {
    /// Bodies are still to come.
    Partial {
        count: u16,
        list: Vec<u8>,
        length: usize,
    },
    Complete(Arc<Gpadl>),
    /// The guest wants it back, and the device has been told.
    Releasing,
}

struct Entry {
    relid: u32,
    /// Counted against the limit.
    pages: usize,
    state: State,
}

/// A list of which everything has come.
struct Finished {
    relid: u32,
    /// What it holds, or why it holds nothing.
    parsed: Result<Arc<Gpadl>, RangeError>,
}

/// All lists of a guest, by the name it gave them.
pub(super) struct Gpadls {
    all: BTreeMap<u32, Entry>,
    pages: usize,
    limits: Limits,
}

impl Gpadls {
    pub(super) fn new(limits: Limits) -> Self {
        Self { all: BTreeMap::new(), pages: 0, limits }
    }

    /// A complete list of channel `relid`.
    pub(super) fn get(&self, relid: u32, gpadl: u32) -> Option<&Gpadl> {
        match self.all.get(&gpadl)? {
            Entry { relid: owner, state: State::Complete(pages), .. } if *owner == relid => {
                Some(pages)
            }
            _ => None,
        }
    }

    /// Makes room for a new list; the status for the guest if there is none.
    fn begin(&mut self, header: &GpadlHeader) -> Result<(), u32> {
        let length = usize::from(header.range_buffer_length);
        let is_sound = (1..=RANGES_MAX).contains(&header.range_count) && length.is_multiple_of(8);
        if !is_sound || self.all.contains_key(&header.gpadl) {
            return Err(status::INVALID_PARAMETER);
        }
        let pages = length / 8;
        if self.all.len() >= self.limits.gpadls || self.pages + pages > self.limits.gpadl_pages {
            return Err(status::INSUFFICIENT_RESOURCES);
        }
        let list = Vec::with_capacity(length);
        let state = State::Partial { count: header.range_count, list, length };
        self.all.insert(header.gpadl, Entry { relid: header.relid, pages, state });
        self.pages += pages;
        Ok(())
    }

    /// More of a list; the outcome once it is complete.
    fn extend(
        &mut self,
        gpadl: u32,
        bytes: &[u8],
        is_ram: &dyn Fn(u64) -> bool,
    ) -> Result<Option<Finished>, Violation> {
        let entry = self.all.get_mut(&gpadl).ok_or(Violation)?;
        let State::Partial { count, list, length } = &mut entry.state else {
            return Err(Violation);
        };
        let missing = length.saturating_sub(list.len());
        list.extend_from_slice(bytes.get(..missing).unwrap_or(bytes));
        if list.len() < *length {
            return Ok(None);
        }
        let relid = entry.relid;
        let parsed = Gpadl::parse(list, *count, is_ram).map(Arc::new);
        match &parsed {
            Ok(pages) => entry.state = State::Complete(Arc::clone(pages)),
            Err(_) => self.remove(gpadl),
        }
        Ok(Some(Finished { relid, parsed }))
    }

    fn remove(&mut self, gpadl: u32) {
        if let Some(entry) = self.all.remove(&gpadl) {
            self.pages -= entry.pages;
        }
    }

    /// Forgets the lists of a channel.
    pub(super) fn drop_of(&mut self, relid: u32) {
        self.all.retain(|_, entry| entry.relid != relid);
        self.pages = self.all.values().map(|entry| entry.pages).sum();
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.all.len() + self.pages
    }

    pub(super) fn clear(&mut self) {
        self.all.clear();
        self.pages = 0;
    }
}

impl Server {
    pub(super) fn gpadl_header(&mut self, body: &[u8]) -> Handled {
        let (header, list) = GpadlHeader::read_from_prefix(body).map_err(|_| Violation)?;
        let GpadlHeader { relid, gpadl, .. } = header;
        let begun = match self.channels.get(relid) {
            // The rescind crossed it.
            Some(channel) if channel.stage == Stage::Rescinded || channel.leaving => return Ok(()),
            Some(_) => self.gpadls.begin(&header),
            None => Err(status::INVALID_PARAMETER),
        };
        match begun {
            Ok(()) => self.extend_gpadl(gpadl, list),
            Err(status) => {
                self.post(MessageNumber::GPADL_CREATED, &GpadlCreated { relid, gpadl, status });
                Ok(())
            }
        }
    }

    pub(super) fn gpadl_body(&mut self, body: &[u8]) -> Handled {
        let (GpadlBody { gpadl, .. }, list) =
            GpadlBody::read_from_prefix(body).map_err(|_| Violation)?;
        self.extend_gpadl(gpadl, list)
    }

    fn extend_gpadl(&mut self, gpadl: u32, list: &[u8]) -> Handled {
        let Some(Finished { relid, parsed }) = self.gpadls.extend(gpadl, list, &self.is_ram)?
        else {
            return Ok(());
        };
        let status = match parsed {
            Ok(pages) => {
                self.actions.push_back(Action::GpadlCreated { relid, gpadl, pages });
                status::SUCCESS
            }
            Err(error) => {
                tracing::debug!(gpadl, %error, "a GPADL is refused");
                status::INVALID_PARAMETER
            }
        };
        self.post(MessageNumber::GPADL_CREATED, &GpadlCreated { relid, gpadl, status });
        Ok(())
    }

    pub(super) fn gpadl_teardown(&mut self, request: GpadlTeardown) -> Handled {
        let GpadlTeardown { relid, gpadl } = request;
        let channel = self.channels.get(relid).ok_or(Violation)?;
        if channel.stage == Stage::Rescinded {
            return Ok(());
        }
        let (device, is_in_use, is_ring) =
            (channel.device, channel.is_in_use(), channel.ring == Some(gpadl));
        let Some(entry) = self.gpadls.all.get_mut(&gpadl) else {
            // It was refused, or is gone: the pages are the guest's.
            self.torn_down(gpadl);
            return Ok(());
        };
        if entry.relid != relid {
            return Err(Violation);
        }
        match entry.state {
            State::Partial { .. } => self.torn_down(gpadl),
            State::Complete(_) if !is_in_use => self.torn_down(gpadl),
            State::Complete(_) => {
                entry.state = State::Releasing;
                if is_ring {
                    // Without its rings a channel cannot be; closing it ends the teardown.
                    self.close_with_subchannels(relid);
                } else {
                    self.actions.push_back(Action::ReleaseGpadl { device, relid, gpadl });
                }
            }
            State::Releasing => {}
        }
        Ok(())
    }

    /// The device's answer to [`Action::ReleaseGpadl`].
    pub fn gpadl_released(&mut self, gpadl: u32) {
        let is_releasing = self
            .gpadls
            .all
            .get(&gpadl)
            .is_some_and(|entry| matches!(entry.state, State::Releasing));
        if is_releasing {
            self.torn_down(gpadl);
        }
    }

    /// A channel has closed: whatever of it is to be torn down is.
    pub(super) fn finish_teardowns(&mut self, relid: u32) {
        let is_due =
            |entry: &Entry| entry.relid == relid && matches!(entry.state, State::Releasing);
        let due: Vec<_> =
            self.gpadls.all.iter().filter(|(_, entry)| is_due(entry)).map(|(id, _)| *id).collect();
        due.into_iter().for_each(|gpadl| self.torn_down(gpadl));
    }

    fn torn_down(&mut self, gpadl: u32) {
        self.gpadls.remove(gpadl);
        self.post(MessageNumber::GPADL_TORNDOWN, &GpadlTorndown { gpadl });
    }
}
