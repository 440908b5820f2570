//! What can be wrong with the firmware's tables.

use acpidefs::sdt::Signature;
use core::fmt;

/// What is wrong with a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Its memory, or part of it, cannot be read.
    Unreadable,
    /// It says that it is shorter than its fixed part, or absurdly long.
    BadLength(u32),
    /// Its bytes do not add up to 0; this is what they add up to.
    BadChecksum(u8),
    /// Another signature was expected here.
    WrongSignature(Signature),
    /// An entry at this offset is shorter than its type, or reaches beyond the table.
    BadEntry {
        /// Bytes from the table's start.
        offset: u32,
        /// The entry's type.
        kind: u8,
        /// The entry's length.
        length: u8,
    },
    /// It lists more of something than we can keep.
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many fit.
        kept: usize,
    },
    /// It describes nothing usable.
    Nothing(&'static str),
}

/// A table and its fault. Prints as one line that names signature, address and fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableFault {
    /// The table's signature; four zeros if it could not even be read.
    pub signature: Signature,
    /// Its address.
    pub address: u64,
    /// What is wrong.
    pub fault: Fault,
}

/// Why there is no usable description of the machine. Prints as one line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScanError {
    /// No valid RSDP where firmware may leave one.
    NoRsdp,
    /// A table that is needed is not listed.
    Missing(Signature),
    /// A table that is needed is corrupt.
    Corrupt(TableFault),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable => f.write_str("reaches beyond the memory that can be read"),
            Self::BadLength(length) => write!(f, "has an impossible length of {length} bytes"),
            Self::BadChecksum(sum) => {
                write!(f, "has a bad checksum (bytes add up to {sum:#04x}, not 0)")
            }
            Self::WrongSignature(expected) => write!(f, "has another signature than {expected}"),
            Self::BadEntry { offset, kind, length } => {
                write!(
                    f,
                    "has a malformed entry at offset {offset:#x} (type {kind}, length {length})"
                )
            }
            Self::TooMany { what, kept } => {
                write!(f, "lists more than {kept} {what}; the rest is ignored")
            }
            Self::Nothing(what) => write!(f, "lists no {what}"),
        }
    }
}

impl fmt::Display for TableFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {} at {:#x} {}", self.signature, self.address, self.fault)
    }
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRsdp => f.write_str("no valid RSDP found"),
            Self::Missing(signature) => write!(f, "no {signature} table"),
            Self::Corrupt(fault) => write!(f, "{fault}"),
        }
    }
}
