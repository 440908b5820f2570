//! Ranges of physical addresses.

use core::fmt;

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// `[start, end)` in physical memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PhysRange {
    /// First byte.
    pub start: u64,
    /// First byte after it; never below `start` in ranges made by [`PhysRange::new`].
    pub end: u64,
}

impl PhysRange {
    /// Nothing.
    pub const EMPTY: Self = Self { start: 0, end: 0 };

    /// `[start, end)`; nothing if `end` is below `start`.
    pub const fn new(start: u64, end: u64) -> Self {
        Self { start, end: if end < start { start } else { end } }
    }

    /// `len` bytes from `start` on, cut off at the end of the address space.
    pub const fn at(start: u64, len: u64) -> Self {
        Self { start, end: start.saturating_add(len) }
    }

    /// Bytes.
    pub const fn len(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether it holds no byte.
    pub const fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// Whether the two share a byte.
    pub const fn overlaps(self, other: Self) -> bool {
        !self.intersection(other).is_empty()
    }

    /// Whether all of `other` is inside.
    pub const fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// What the two share.
    pub const fn intersection(self, other: Self) -> Self {
        let start = if self.start > other.start { self.start } else { other.start };
        let end = if self.end < other.end { self.end } else { other.end };
        Self::new(start, end)
    }

    /// The pages it touches.
    pub const fn page_outward(self) -> Self {
        let end = match self.end.checked_next_multiple_of(PAGE) {
            Some(end) => end,
            None => u64::MAX,
        };
        Self::new(self.start - self.start % PAGE, end)
    }
}

impl fmt::Display for PhysRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}-{:#x}", self.start, self.end.saturating_sub(1))
    }
}

/// A number of bytes as people read it: whole MiB or KiB, rounded up.
pub(crate) struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..0x400 => write!(f, "{} bytes", self.0),
            0x400..0x40_0000 => write!(f, "{} KiB", self.0.div_ceil(0x400)),
            _ => write!(f, "{} MiB", self.0.div_ceil(0x10_0000)),
        }
    }
}
