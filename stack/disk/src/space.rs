//! Where in a file there is room: the gaps between structures, and everything after the last.

use crate::error::{Error, Result};
use crate::storage::{Storage, StorageExt};
use std::collections::BTreeMap;

/// How a piece of the file must lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fit {
    /// Bytes.
    pub len: u64,
    /// The start is `phase` more than a multiple of this.
    pub align: u64,
    /// Less than `align`.
    pub phase: u64,
}

impl Fit {
    /// The first fitting start at or after `from`.
    fn start(self, from: u64) -> Option<u64> {
        let past = from % self.align;
        let wait =
            if past <= self.phase { self.phase - past } else { self.align - past + self.phase };
        from.checked_add(wait)
    }
}

/// The free space of a file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Space {
    /// Gaps by start: their lengths. Never touching each other.
    gaps: BTreeMap<u64, u64>,
    /// Everything from here on is free, except for `tail` bytes that move along.
    end: u64,
    /// Bytes that follow the end: a VHD's footer.
    tail: u64,
}

/// A part of the file that a structure takes, with the structure's name for errors.
#[derive(Debug, Clone)]
pub(crate) struct Used {
    pub start: u64,
    pub len: u64,
    pub name: &'static str,
}

impl Space {
    /// What is left beside `used`, in a file whose structures may end at `end` or before.
    ///
    /// # Errors
    /// [`Error::Malformed`] when two structures overlap.
    pub fn beside(mut used: Vec<Used>, end: u64, tail: u64) -> Result<Self> {
        used.sort_by_key(|piece| piece.start);
        let mut space = Self { gaps: BTreeMap::new(), end: 0, tail };
        let mut last = "start of the file";
        for piece in &used {
            let Some(gap) = piece.start.checked_sub(space.end) else {
                return Err(Error::malformed(
                    piece.name,
                    piece.start,
                    format!("overlaps with the {last} before it, which ends at {:#x}", space.end),
                ));
            };
            space.give(space.end, gap);
            space.end = piece.start.checked_add(piece.len).ok_or_else(|| {
                Error::malformed(piece.name, piece.start, "reaches beyond what a file can hold")
            })?;
            last = piece.name;
        }
        if end > space.end {
            space.give(space.end, end - space.end);
            space.end = end;
        }
        Ok(space)
    }

    /// The end of all structures, in bytes from the start of the file.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Bytes in gaps.
    pub fn unused(&self) -> u64 {
        self.gaps.values().sum()
    }

    /// Takes space back.
    pub fn give(&mut self, mut start: u64, mut len: u64) {
        if len == 0 {
            return;
        }
        if let Some((&before, &before_len)) = self.gaps.range(..start).next_back()
            && before + before_len == start
        {
            self.gaps.remove(&before);
            (start, len) = (before, before_len + len);
        }
        if let Some(after_len) = self.gaps.remove(&(start + len)) {
            len += after_len;
        }
        self.gaps.insert(start, len);
    }

    /// Room that reads as zero, in a gap or at the end of the file, which becomes longer.
    ///
    /// # Errors
    /// What the file says; nothing is taken then.
    pub fn obtain(&mut self, storage: &dyn Storage, fit: Fit) -> Result<u64> {
        if let Some((gap, start)) = self.find(fit) {
            storage.punch(start, fit.len)?;
            self.cut(gap, start, fit.len);
            return Ok(start);
        }
        self.extend(storage, fit)
    }

    fn find(&self, fit: Fit) -> Option<(u64, u64)> {
        self.gaps.iter().find_map(|(&gap, &len)| {
            let start = fit.start(gap)?;
            (start.checked_add(fit.len)? <= gap + len).then_some((gap, start))
        })
    }

    fn cut(&mut self, gap: u64, start: u64, len: u64) {
        let Some(gap_len) = self.gaps.remove(&gap) else { return };
        let rest = start + len;
        self.give(gap, start - gap);
        self.give(rest, gap + gap_len - rest);
    }

    fn extend(&mut self, storage: &dyn Storage, fit: Fit) -> Result<u64> {
        let too_large = || Error::Unsupported("the file would become too large".to_owned());
        let start = fit.start(self.end).ok_or_else(too_large)?;
        let end = start.checked_add(fit.len).ok_or_else(too_large)?;
        let wanted = end.checked_add(self.tail).ok_or_else(too_large)?;
        let size = storage.length()?;
        if size < wanted {
            storage.resize(wanted)?;
        }
        if size > self.end {
            // Something lies behind the end: the tail, or what a power loss left over.
            storage.zero(self.end, size.min(end) - self.end)?;
        }
        self.give(self.end, start - self.end);
        self.end = end;
        Ok(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem_storage::MemStorage;

    fn used(start: u64, len: u64) -> Used {
        Used { start, len, name: "block" }
    }

    #[test]
    fn gaps_are_used_before_the_end() {
        let storage = MemStorage::from_bytes(&[1; 100]);
        let mut space = Space::beside(vec![used(50, 50), used(0, 10)], 100, 0).unwrap();
        let fit = Fit { len: 15, align: 10, phase: 5 };
        assert_eq!(space.obtain(&storage, fit).unwrap(), 15);
        assert_eq!(space.unused(), 25);
        assert_eq!(space.obtain(&storage, fit).unwrap(), 35);
        assert_eq!(space.obtain(&storage, fit).unwrap(), 105);
        assert_eq!((storage.size().unwrap(), space.end()), (120, 120));
        space.give(15, 15);
        space.give(35, 15);
        assert_eq!(space.gaps.iter().next(), Some((&10, &40)), "neighbours are joined");
    }

    #[test]
    fn structures_that_overlap_are_named() {
        let error = Space::beside(vec![used(0, 20), used(10, 20)], 0, 0).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("block at byte 0xa") && text.contains("ends at 0x14"), "{text}");
    }

    #[test]
    fn what_moves_along_with_the_end_is_not_found_in_new_space() {
        let storage = MemStorage::from_bytes(&[9; 110]);
        let mut space = Space::beside(vec![used(0, 100)], 0, 10).unwrap();
        let start = space.obtain(&storage, Fit { len: 20, align: 1, phase: 0 }).unwrap();
        let mut bytes = [1; 20];
        storage.read_at(start, &mut bytes).unwrap();
        assert_eq!((start, bytes, storage.size().unwrap()), (100, [0; 20], 130));
    }

    #[test]
    fn a_full_disk_takes_nothing() {
        let storage = MemStorage::from_bytes(&[9; 100]);
        storage.set_limit(Some(100));
        let mut space = Space::beside(vec![used(0, 100)], 0, 0).unwrap();
        let fit = Fit { len: 20, align: 1, phase: 0 };
        assert!(space.obtain(&storage, fit).unwrap_err().is_out_of_space());
        assert_eq!(space.end(), 100);
    }
}
