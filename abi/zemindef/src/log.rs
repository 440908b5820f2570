//! The log: records in an endless stream of bytes, of which a ring keeps the newest.
//!
//! A *position* is the number of bytes that came before, ever. It never wraps in practice (64 bits), names a record
//! uniquely, and lets a reader see that it missed some. Records start at multiples of 8 and are never split by an
//! overwrite: the ring drops whole records, oldest first.

mod records;
mod ring;

pub use records::{Record, Records};
pub use ring::LogRing;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Most bytes of text in a record; longer text is cut at a character.
pub const TEXT_MAX: usize = 1008;
/// Most bytes of a record.
pub const RECORD_MAX: usize = size_of::<RecordHeader>() + TEXT_MAX;

/// How much a line matters. Ordered: a log level admits itself and everything before it.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Level {
    /// Something is broken, or cannot go on.
    Error = 0,
    /// Something is not as it should be, and was coped with.
    Warn = 1,
    /// Milestones of a normal run.
    Info = 2,
    /// What a developer wants to know.
    Debug = 3,
    /// Every step.
    Trace = 4,
}

impl Level {
    /// All levels, most important first.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// The level with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Its name in lower case: `error`, `warn`, `info`, `debug`, `trace`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// The level with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}

/// Starts a record; `text_len` bytes of UTF-8 follow, then zeros up to a multiple of 8.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RecordHeader {
    /// Time since the hypervisor started, in 100 ns; 0 before clocks were calibrated.
    pub time_100ns: u64,
    /// Bytes of text.
    pub text_len: u16,
    /// [`Level`].
    pub level: u8,
    /// Index of the LP that wrote it; [`RecordHeader::NO_LP`] before LPs had one.
    pub lp: u8,
    /// Low half of the record's position: tells a record's start from its inside.
    pub position_low: u32,
}
const _: () = assert!(size_of::<RecordHeader>() == 16);
const _: () = assert!(core::mem::offset_of!(RecordHeader, position_low) == 12);

impl RecordHeader {
    /// [`Self::lp`] of records from before there were LPs.
    pub const NO_LP: u8 = 0xFF;

    /// Bytes of the record: header, text and padding.
    pub const fn record_len(&self) -> usize {
        (size_of::<Self>() + self.text_len as usize).next_multiple_of(8)
    }

    /// Whether this can be the header of the record at `position`.
    pub const fn is_at(&self, position: u64) -> bool {
        self.position_low == position as u32 && self.text_len as usize <= TEXT_MAX
    }
}
