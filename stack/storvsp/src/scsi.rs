//! SCSI as disks and DVD drives speak it: from a CDB to what is to be done.
//!
//! ```text
//!   cdb ── decode ──> Command ──┬─ disk ──┐
//!                               ├─ dvd ───┼──> Outcome: data, an I/O, or sense data
//!                               └─ absent ┘
//! ```
//!
//! Everything here is pure: it knows blocks, not files, and the guest's bytes are CDBs and parameter lists already copied.
//! The facts are those of SPC-4, SBC-3 and MMC-6.

pub mod cdb;
pub mod disk;
pub mod dvd;
pub mod inquiry;
pub mod mode;
pub mod reply;
pub mod sense;

pub use cdb::Command;
pub use reply::Reply;
pub use sense::Sense;

use crate::block::Operation;

/// SAM status byte.
pub mod status {
    /// Done.
    pub const GOOD: u8 = 0x00;
    /// See the sense data.
    pub const CHECK_CONDITION: u8 = 0x02;
}

/// An I/O, in bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Io {
    /// What.
    pub operation: Operation,
    /// Where.
    pub offset: u64,
    /// How much.
    pub length: u64,
}

/// What a command comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Done; the reply holds the data for the initiator, if any.
    Done,
    /// One I/O.
    Io(Io),
    /// Several, one after the other.
    Ios(Vec<Io>),
    /// It failed.
    Check(Sense),
    /// The tray opens.
    Eject,
    /// The tray is locked, or no longer.
    Lock(bool),
    /// As [`Self::Done`], and the reply tells of all media events.
    EventsTaken,
}
