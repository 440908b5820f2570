//! Sense data: why a command failed.

use crate::block::{IoError, Operation};

/// Sense key, additional sense code and its qualifier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sense {
    /// SPC-4 table 51.
    pub key: u8,
    /// Additional sense code.
    pub asc: u8,
    /// Its qualifier.
    pub ascq: u8,
}

/// Bytes of sense data in fixed format.
pub const FIXED_SIZE: usize = 18;

const NOT_READY: u8 = 0x2;
const MEDIUM_ERROR: u8 = 0x3;
const HARDWARE_ERROR: u8 = 0x4;
const ILLEGAL_REQUEST: u8 = 0x5;
const UNIT_ATTENTION: u8 = 0x6;
const DATA_PROTECT: u8 = 0x7;

impl Sense {
    /// Nothing to report.
    pub const NONE: Self = Self::new(0, 0, 0);
    /// No such operation code.
    pub const INVALID_OPCODE: Self = Self::new(ILLEGAL_REQUEST, 0x20, 0);
    /// A block that the disk does not have.
    pub const LBA_OUT_OF_RANGE: Self = Self::new(ILLEGAL_REQUEST, 0x21, 0);
    /// A field in the CDB.
    pub const INVALID_FIELD: Self = Self::new(ILLEGAL_REQUEST, 0x24, 0);
    /// No such LUN.
    pub const LUN_NOT_SUPPORTED: Self = Self::new(ILLEGAL_REQUEST, 0x25, 0);
    /// A field in the parameter list.
    pub const INVALID_PARAMETER: Self = Self::new(ILLEGAL_REQUEST, 0x26, 0);
    /// The parameter list is too short.
    pub const PARAMETER_LENGTH: Self = Self::new(ILLEGAL_REQUEST, 0x1A, 0);
    /// There is nothing to be saved.
    pub const SAVING_NOT_SUPPORTED: Self = Self::new(ILLEGAL_REQUEST, 0x39, 0);
    /// The medium is held.
    pub const REMOVAL_PREVENTED: Self = Self::new(ILLEGAL_REQUEST, 0x53, 0x02);
    /// No medium.
    pub const NO_MEDIUM: Self = Self::new(NOT_READY, 0x3A, 0);
    /// The medium may have changed.
    pub const MEDIUM_CHANGED: Self = Self::new(UNIT_ATTENTION, 0x28, 0);
    /// The capacity has.
    pub const CAPACITY_CHANGED: Self = Self::new(UNIT_ATTENTION, 0x2A, 0x09);
    /// A reset happened.
    pub const BUS_RESET: Self = Self::new(UNIT_ATTENTION, 0x29, 0x02);
    /// Write-protected.
    pub const WRITE_PROTECTED: Self = Self::new(DATA_PROTECT, 0x27, 0);
    /// Thin provisioning came to an end. Linux makes ENOSPC of it.
    pub const SPACE_ALLOCATION_FAILED: Self = Self::new(DATA_PROTECT, 0x27, 0x07);
    /// Cannot be read.
    pub const UNRECOVERED_READ: Self = Self::new(MEDIUM_ERROR, 0x11, 0);
    /// Cannot be written.
    pub const WRITE_ERROR: Self = Self::new(MEDIUM_ERROR, 0x0C, 0);
    /// Ours.
    pub const INTERNAL_FAILURE: Self = Self::new(HARDWARE_ERROR, 0x44, 0);

    const fn new(key: u8, asc: u8, ascq: u8) -> Self {
        Self { key, asc, ascq }
    }

    /// Current error, fixed format (SPC-4, 4.5.3).
    pub fn fixed(&self) -> [u8; FIXED_SIZE] {
        let mut bytes = [0; FIXED_SIZE];
        // Response code, key, additional length, code, qualifier.
        let fields =
            [(0, 0x70), (2, self.key), (7, FIXED_SIZE as u8 - 8), (12, self.asc), (13, self.ascq)];
        for (at, value) in fields {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        bytes
    }

    /// Current error, descriptor format without descriptors (SPC-4, 4.5.2).
    pub fn descriptor(&self) -> [u8; 8] {
        [0x72, self.key, self.asc, self.ascq, 0, 0, 0, 0]
    }

    /// What an initiator hears when the store fails.
    pub fn of_error(error: &IoError, operation: &Operation) -> Self {
        match (error, operation) {
            (IoError::NoSpace, _) => Self::SPACE_ALLOCATION_FAILED,
            (IoError::ReadOnly, _) => Self::WRITE_PROTECTED,
            (IoError::OutOfRange, _) => Self::LBA_OUT_OF_RANGE,
            (IoError::Unsupported, _) => Self::INVALID_OPCODE,
            (IoError::Host(_), Operation::Read) => Self::UNRECOVERED_READ,
            (IoError::Host(_), _) => Self::WRITE_ERROR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_format_is_what_linux_normalizes() {
        let bytes = Sense::CAPACITY_CHANGED.fixed();
        assert_eq!(bytes[..14], [0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x2A, 0x09]);
    }
}
