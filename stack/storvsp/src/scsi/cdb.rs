//! Command descriptor blocks: from bytes to [`Command`].

use super::Sense;
use vmbusdef::storage::CDB_MAX;

/// Operation codes (SPC-4 annex D, SBC-3, MMC-6).
#[expect(missing_docs, reason = "the names are the specifications'")]
pub mod opcode {
    pub const TEST_UNIT_READY: u8 = 0x00;
    pub const REQUEST_SENSE: u8 = 0x03;
    pub const READ_6: u8 = 0x08;
    pub const WRITE_6: u8 = 0x0A;
    pub const INQUIRY: u8 = 0x12;
    pub const MODE_SELECT_6: u8 = 0x15;
    pub const MODE_SENSE_6: u8 = 0x1A;
    pub const START_STOP_UNIT: u8 = 0x1B;
    pub const PREVENT_ALLOW_MEDIUM_REMOVAL: u8 = 0x1E;
    pub const READ_CAPACITY_10: u8 = 0x25;
    pub const READ_10: u8 = 0x28;
    pub const WRITE_10: u8 = 0x2A;
    pub const VERIFY_10: u8 = 0x2F;
    pub const SYNCHRONIZE_CACHE_10: u8 = 0x35;
    pub const WRITE_SAME_10: u8 = 0x41;
    pub const UNMAP: u8 = 0x42;
    pub const READ_TOC: u8 = 0x43;
    pub const GET_CONFIGURATION: u8 = 0x46;
    pub const GET_EVENT_STATUS: u8 = 0x4A;
    pub const READ_DISC_INFORMATION: u8 = 0x51;
    pub const MODE_SELECT_10: u8 = 0x55;
    pub const MODE_SENSE_10: u8 = 0x5A;
    pub const READ_16: u8 = 0x88;
    pub const WRITE_16: u8 = 0x8A;
    pub const VERIFY_16: u8 = 0x8F;
    pub const SYNCHRONIZE_CACHE_16: u8 = 0x91;
    pub const WRITE_SAME_16: u8 = 0x93;
    pub const SERVICE_ACTION_IN_16: u8 = 0x9E;
    pub const REPORT_LUNS: u8 = 0xA0;
    pub const READ_12: u8 = 0xA8;
    pub const WRITE_12: u8 = 0xAA;
    pub const MECHANISM_STATUS: u8 = 0xBD;
}

/// Service action of SERVICE ACTION IN(16).
const READ_CAPACITY_16: u8 = 0x10;

/// Blocks that a command is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// The first.
    pub lba: u64,
    /// How many.
    pub blocks: u64,
}

/// What an initiator wants. `room` is the allocation length: bytes it has space for.
#[expect(missing_docs, reason = "the names are the specifications'")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    TestUnitReady,
    RequestSense { descriptor: bool, room: usize },
    Inquiry { page: Option<u8>, room: usize },
    ModeSense { long: bool, no_descriptor: bool, control: u8, page: u8, subpage: u8, room: usize },
    ModeSelect { long: bool, length: usize },
    StartStop { start: bool, eject: bool },
    PreventRemoval { prevent: bool },
    ReadCapacity10,
    ReadCapacity16 { room: usize },
    ReportLuns { select: u8, room: usize },
    Read(Extent),
    Write { extent: Extent, fua: bool },
    Verify { extent: Extent, compare: bool },
    SynchronizeCache(Extent),
    Unmap { length: usize },
    WriteSame { extent: Extent, unmap: bool, no_data: bool },
    ReadToc { time: bool, format: u8, track: u8, room: usize },
    GetConfiguration { kind: u8, first: u16, room: usize },
    GetEventStatus { polled: bool, classes: u8, room: usize },
    ReadDiscInformation { kind: u8, room: usize },
    MechanismStatus { room: usize },
}

/// A CDB, zero behind its end.
#[derive(Clone, Copy)]
struct Cdb([u8; CDB_MAX]);

impl Cdb {
    fn byte(&self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or(0)
    }

    fn bit(&self, at: usize, bit: u32) -> bool {
        self.byte(at) >> bit & 1 != 0
    }

    /// `count` bytes, big-endian.
    fn number(&self, at: usize, count: usize) -> u64 {
        (at..at + count).fold(0, |value, at| value << 8 | u64::from(self.byte(at)))
    }

    fn size(&self, at: usize, count: usize) -> usize {
        self.number(at, count) as usize
    }

    fn extent(&self, lba: (usize, usize), blocks: (usize, usize)) -> Extent {
        Extent { lba: self.number(lba.0, lba.1), blocks: self.number(blocks.0, blocks.1) }
    }

    /// READ(6) and WRITE(6): 21 bits of address, and 0 blocks are 256.
    fn extent_6(&self) -> Extent {
        let blocks = match self.byte(4) {
            0 => 256,
            blocks => blocks.into(),
        };
        Extent { lba: self.number(1, 3) & 0x1F_FFFF, blocks }
    }

    /// By the group of the operation code: the 10, 12 and 16 byte forms differ only in this.
    fn extent_long(&self) -> Extent {
        match self.byte(0) >> 5 {
            4 => self.extent((2, 8), (10, 4)),
            5 => self.extent((2, 4), (6, 4)),
            _ => self.extent((2, 4), (7, 2)),
        }
    }
}

/// Bytes of a CDB by its operation code's group; `None` for groups without a fixed length.
fn length(opcode: u8) -> Option<usize> {
    match opcode >> 5 {
        0 => Some(6),
        1 | 2 => Some(10),
        4 => Some(16),
        5 => Some(12),
        _ => None,
    }
}

/// Understands a CDB.
///
/// # Errors
///
/// An operation code that nobody here knows, or a field that nobody here can honour.
pub fn decode(bytes: &[u8]) -> Result<Command, Sense> {
    match plain_transfer(bytes) {
        Some(command) => Ok(command),
        None => decode_any(bytes),
    }
}

/// READ and WRITE in their forms of 10 and 16 bytes, which nearly all commands are, if there is nothing to refuse.
fn plain_transfer(bytes: &[u8]) -> Option<Command> {
    let (flags, lba, blocks) = match *bytes {
        [opcode::READ_10 | opcode::WRITE_10, flags, a, b, c, d, _, e, f, _, ..] => {
            (flags, u32::from_be_bytes([a, b, c, d]).into(), u16::from_be_bytes([e, f]).into())
        }
        #[rustfmt::skip]
        [opcode::READ_16 | opcode::WRITE_16, flags, a, b, c, d, e, f, g, h, i, j, k, l, _, _, ..] => {
            (flags, u64::from_be_bytes([a, b, c, d, e, f, g, h]), u32::from_be_bytes([i, j, k, l]).into())
        },
        _ => return None,
    };
    let extent = Extent { lba, blocks };
    match bytes.first()? {
        _ if flags >> 5 != 0 => None,
        &opcode::READ_10 | &opcode::READ_16 => Some(Command::Read(extent)),
        _ => Some(Command::Write { extent, fua: flags >> 3 & 1 != 0 }),
    }
}

fn decode_any(bytes: &[u8]) -> Result<Command, Sense> {
    let mut cdb = Cdb([0; CDB_MAX]);
    for (to, from) in cdb.0.iter_mut().zip(bytes) {
        *to = *from;
    }
    let opcode = cdb.byte(0);
    let command =
        primary(opcode, &cdb).or_else(|| block(opcode, &cdb)).or_else(|| multimedia(opcode, &cdb));
    let command = command.ok_or(Sense::INVALID_OPCODE)?;
    if length(opcode).is_none_or(|length| bytes.len() < length) {
        return Err(Sense::INVALID_FIELD);
    }
    checked(opcode, &cdb, command)
}

/// Commands of all devices.
fn primary(opcode: u8, cdb: &Cdb) -> Option<Command> {
    let mode_sense = |long, room| Command::ModeSense {
        long,
        no_descriptor: cdb.bit(1, 3),
        control: cdb.byte(2) >> 6,
        page: cdb.byte(2) & 0x3F,
        subpage: cdb.byte(3),
        room,
    };
    Some(match opcode {
        opcode::TEST_UNIT_READY => Command::TestUnitReady,
        opcode::REQUEST_SENSE => {
            Command::RequestSense { descriptor: cdb.bit(1, 0), room: cdb.size(4, 1) }
        }
        opcode::INQUIRY => {
            let page = cdb.bit(1, 0).then(|| cdb.byte(2));
            Command::Inquiry { page, room: cdb.size(3, 2) }
        }
        opcode::MODE_SENSE_6 => mode_sense(false, cdb.size(4, 1)),
        opcode::MODE_SENSE_10 => mode_sense(true, cdb.size(7, 2)),
        opcode::MODE_SELECT_6 => Command::ModeSelect { long: false, length: cdb.size(4, 1) },
        opcode::MODE_SELECT_10 => Command::ModeSelect { long: true, length: cdb.size(7, 2) },
        opcode::REPORT_LUNS => Command::ReportLuns { select: cdb.byte(2), room: cdb.size(6, 4) },
        opcode::PREVENT_ALLOW_MEDIUM_REMOVAL => Command::PreventRemoval { prevent: cdb.bit(4, 0) },
        opcode::START_STOP_UNIT => {
            Command::StartStop { start: cdb.bit(4, 0), eject: cdb.bit(4, 1) }
        }
        _ => return None,
    })
}

/// Commands about blocks.
fn block(opcode: u8, cdb: &Cdb) -> Option<Command> {
    let fua = cdb.bit(1, 3);
    Some(match opcode {
        opcode::READ_CAPACITY_10 => Command::ReadCapacity10,
        opcode::SERVICE_ACTION_IN_16 if cdb.byte(1) & 0x1F == READ_CAPACITY_16 => {
            Command::ReadCapacity16 { room: cdb.size(10, 4) }
        }
        opcode::READ_6 => Command::Read(cdb.extent_6()),
        opcode::WRITE_6 => Command::Write { extent: cdb.extent_6(), fua: false },
        opcode::READ_10 | opcode::READ_12 | opcode::READ_16 => Command::Read(cdb.extent_long()),
        opcode::WRITE_10 | opcode::WRITE_12 | opcode::WRITE_16 => {
            Command::Write { extent: cdb.extent_long(), fua }
        }
        opcode::VERIFY_10 | opcode::VERIFY_16 => {
            Command::Verify { extent: cdb.extent_long(), compare: cdb.byte(1) & 6 != 0 }
        }
        opcode::SYNCHRONIZE_CACHE_10 | opcode::SYNCHRONIZE_CACHE_16 => {
            Command::SynchronizeCache(cdb.extent_long())
        }
        opcode::UNMAP => Command::Unmap { length: cdb.size(7, 2) },
        opcode::WRITE_SAME_10 | opcode::WRITE_SAME_16 => {
            let no_data = opcode == opcode::WRITE_SAME_16 && cdb.bit(1, 0);
            Command::WriteSame { extent: cdb.extent_long(), unmap: fua, no_data }
        }
        _ => return None,
    })
}

/// Commands of drives with media.
fn multimedia(opcode: u8, cdb: &Cdb) -> Option<Command> {
    Some(match opcode {
        opcode::READ_TOC => Command::ReadToc {
            time: cdb.bit(1, 1),
            // Old initiators have the format in the control byte.
            format: if cdb.byte(2) & 0xF == 0 { cdb.byte(9) >> 6 } else { cdb.byte(2) & 0xF },
            track: cdb.byte(6),
            room: cdb.size(7, 2),
        },
        opcode::GET_CONFIGURATION => Command::GetConfiguration {
            kind: cdb.byte(1) & 3,
            first: cdb.number(2, 2) as u16,
            room: cdb.size(7, 2),
        },
        opcode::GET_EVENT_STATUS => Command::GetEventStatus {
            polled: cdb.bit(1, 0),
            classes: cdb.byte(4),
            room: cdb.size(7, 2),
        },
        opcode::READ_DISC_INFORMATION => {
            Command::ReadDiscInformation { kind: cdb.byte(1) & 7, room: cdb.size(7, 2) }
        }
        opcode::MECHANISM_STATUS => Command::MechanismStatus { room: cdb.size(8, 2) },
        _ => return None,
    })
}

/// Refuses what would have to be honoured and is not: protection information, and variants of WRITE SAME.
fn checked(opcode: u8, cdb: &Cdb, command: Command) -> Result<Command, Sense> {
    let has_protection = !matches!(opcode, opcode::READ_6 | opcode::WRITE_6);
    let is_sound = match command {
        Command::Read(_) | Command::Write { .. } | Command::Verify { .. } if has_protection => {
            cdb.byte(1) >> 5 == 0
        }
        // Anchored, or data that changes from block to block.
        Command::WriteSame { .. } => cdb.byte(1) >> 5 == 0 && cdb.byte(1) & 0b1_0110 == 0,
        // Anchored.
        Command::Unmap { .. } => !cdb.bit(1, 0),
        _ => true,
    };
    if is_sound { Ok(command) } else { Err(Sense::INVALID_FIELD) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn plain_transfers_are_what_they_are_by_the_long_way(
            code in prop::sample::select(vec![
                opcode::READ_10, opcode::WRITE_10, opcode::READ_16, opcode::WRITE_16, opcode::READ_12,
            ]),
            rest in prop::collection::vec(any::<u8>(), 0..16),
        ) {
            let mut bytes = vec![code];
            bytes.extend(rest);
            if let Some(command) = plain_transfer(&bytes) {
                prop_assert_eq!(decode_any(&bytes), Ok(command));
            }
        }
    }

    #[test]
    fn a_plain_read_is_taken_the_short_way_and_nothing_unusual_is() {
        let read = [opcode::READ_10, 0x08, 0, 0, 1, 2, 0, 0, 3, 0];
        assert_eq!(plain_transfer(&read), Some(Command::Read(Extent { lba: 0x102, blocks: 3 })));
        assert_eq!(plain_transfer(&read[..9]), None, "too short");
        let protected = [opcode::READ_10, 0x20, 0, 0, 1, 2, 0, 0, 3, 0];
        assert_eq!(
            (plain_transfer(&protected), decode(&protected)),
            (None, Err(Sense::INVALID_FIELD))
        );
    }
}
