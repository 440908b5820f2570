//! The ring that keeps the newest records. No lock: whoever owns it serialises pushes and reads.

use super::{Level, RECORD_MAX, RecordHeader, TEXT_MAX};
use crate::property::LogChunk;
use zerocopy::{FromBytes, IntoBytes};

/// The newest records in `N` bytes, a power of two of at least [`RECORD_MAX`]. All zero when new, so it costs no space
/// in a file.
///
/// ```text
/// position   0 ........ first ............ next
///            overwritten  whole records     where the next one goes        at most N bytes apart
/// ```
#[derive(Debug)]
pub struct LogRing<const N: usize> {
    bytes: [u8; N],
    first: u64,
    next: u64,
}

impl<const N: usize> Default for LogRing<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> LogRing<N> {
    const SIZE_IS_USABLE: () = assert!(N.is_power_of_two() && N >= RECORD_MAX);

    /// An empty ring.
    pub const fn new() -> Self {
        let () = Self::SIZE_IS_USABLE;
        Self { bytes: [0; N], first: 0, next: 0 }
    }

    /// Position of the oldest record that is still there.
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// Position that the next record will have.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Adds a record and drops as many of the oldest as it takes. Text beyond [`TEXT_MAX`] bytes is cut.
    pub fn push(&mut self, level: Level, lp: u8, time_100ns: u64, text: &[u8]) {
        let text = cut(text);
        let position_low = self.next as u32;
        let header = RecordHeader {
            time_100ns,
            text_len: text.len() as u16,
            level: level as u8,
            lp,
            position_low,
        };
        let end = self.next + header.record_len() as u64;
        while end - self.first > N as u64 {
            let dropped = self
                .header_at(self.first)
                .map_or(end - self.first, |oldest| oldest.record_len() as u64);
            self.first += dropped;
        }
        let text_at = self.next + size_of::<RecordHeader>() as u64;
        self.store(self.next, header.as_bytes());
        self.store(text_at, text);
        let padding_at = text_at + text.len() as u64;
        self.store(padding_at, [0; 7].get(..(end - padding_at) as usize).unwrap_or_default());
        self.next = end;
    }

    /// Copies as many whole records as fit into `out`, starting with the one at `position`.
    ///
    /// A position that is overwritten, or not a record's, means the first record after it. The answer's `len` is 0 when
    /// there is none, and when `out` is too small for the first one ([`RECORD_MAX`] bytes always suffice).
    pub fn read_from(&self, position: u64, out: &mut [u8]) -> LogChunk {
        let first = self.record_at_or_after(position);
        let mut next = first;
        while let Some(header) = self.header_at(next) {
            let end = next + header.record_len() as u64;
            if end > self.next || end - first > out.len() as u64 {
                break;
            }
            next = end;
        }
        let len = (next - first) as usize;
        if let Some(out) = out.get_mut(..len) {
            self.load(first, out);
        }
        LogChunk { first, next, len: len as u32, reserved: 0 }
    }

    /// The usual positions cost nothing; only one that is no record's start is searched for from the oldest on.
    fn record_at_or_after(&self, position: u64) -> u64 {
        if position <= self.first {
            return self.first;
        }
        if position >= self.next {
            return self.next;
        }
        if self.header_at(position).is_some() {
            return position;
        }
        let mut start = self.first;
        while start < position {
            match self.header_at(start) {
                Some(header) => start += header.record_len() as u64,
                None => return self.next,
            }
        }
        start
    }

    /// The header at `position`, if there is one.
    fn header_at(&self, position: u64) -> Option<RecordHeader> {
        let end = position.checked_add(size_of::<RecordHeader>() as u64)?;
        if position < self.first || end > self.next {
            return None;
        }
        let mut bytes = [0; size_of::<RecordHeader>()];
        self.load(position, &mut bytes);
        RecordHeader::read_from_bytes(&bytes).ok().filter(|header| header.is_at(position))
    }

    fn load(&self, position: u64, out: &mut [u8]) {
        let (offset, before_end) = Self::split(position, out.len());
        let (head, tail) = out.split_at_mut(before_end);
        for (to, from) in [(head, offset), (tail, 0)] {
            if let Some(bytes) = self.bytes.get(from..from + to.len()) {
                to.copy_from_slice(bytes);
            }
        }
    }

    fn store(&mut self, position: u64, data: &[u8]) {
        let (offset, before_end) = Self::split(position, data.len());
        let (head, tail) = data.split_at(before_end);
        for (from, to) in [(head, offset), (tail, 0)] {
            if let Some(bytes) = self.bytes.get_mut(to..to + from.len()) {
                bytes.copy_from_slice(from);
            }
        }
    }

    /// Offset of `position` in the ring, and how many of `len` bytes lie before the ring's end.
    fn split(position: u64, len: usize) -> (usize, usize) {
        let offset = (position % N as u64) as usize;
        (offset, len.min(N - offset))
    }
}

/// `text` cut to [`TEXT_MAX`] bytes, not inside a character.
fn cut(text: &[u8]) -> &[u8] {
    let Some(kept) = text.get(..TEXT_MAX).filter(|_| text.len() > TEXT_MAX) else { return text };
    // The first byte left out tells whether a character was cut; its start is at most three bytes back.
    let is_inside = |at: usize| text.get(at).is_some_and(|byte| byte & 0xC0 == 0x80);
    let end = (TEXT_MAX - 3..=TEXT_MAX).rev().find(|&at| !is_inside(at)).unwrap_or(TEXT_MAX);
    kept.get(..end).unwrap_or(kept)
}

#[cfg(test)]
mod tests;
