//! A disk: what each command comes to.

use super::cdb::Extent;
use super::inquiry::{self, DeviceType, Identity, UNMAP_BLOCKS_MAX, UNMAP_RANGES_MAX};
use super::mode::{self, ModeSense};
use super::{Command, Io, Outcome, Reply, Sense};
use crate::block::{DiskInfo, Operation};

/// Bytes in front of the ranges of an UNMAP, and of each range.
const UNMAP_HEADER: usize = 8;
const UNMAP_RANGE: usize = 16;

/// What the initiator sends with a command, as far as it is not blocks.
pub type Parameters<'a> = &'a [u8];

/// Parameter bytes that a command comes with, blocks not counted.
pub fn parameter_length(command: &Command, info: &DiskInfo) -> usize {
    match command {
        Command::Unmap { length } | Command::ModeSelect { length, .. } => *length,
        Command::WriteSame { no_data: false, .. } => info.logical_block as usize,
        _ => 0,
    }
}

/// What a disk makes of a command. `reply` is empty.
pub fn execute(
    info: &DiskInfo,
    identity: &Identity,
    command: &Command,
    parameters: Parameters<'_>,
    reply: &mut Reply,
) -> Outcome {
    match *command {
        Command::TestUnitReady | Command::StartStop { eject: false, .. } => Outcome::Done,
        Command::RequestSense { descriptor, room } => request_sense(descriptor, room, reply),
        Command::Inquiry { page: None, room } => inquiry::standard(DeviceType::Disk, room, reply),
        Command::Inquiry { page: Some(page), room } => {
            inquiry::vital(page, DeviceType::Disk, Some(info), identity, room, reply)
        }
        Command::ModeSense { long, no_descriptor, control, page, subpage, room } => {
            let ask = ModeSense { long, no_descriptor, control, page, subpage, room };
            mode::sense_disk(info, &ask, reply)
        }
        Command::ModeSelect { long, .. } => mode::select(long, parameters),
        Command::ReadCapacity10 => capacity_10(info, reply),
        Command::ReadCapacity16 { room } => capacity_16(info, room, reply),
        Command::Read(extent) => io(info, Operation::Read, extent),
        Command::Write { extent, fua } => io(info, Operation::Write { fua }, extent),
        Command::Verify { compare: true, .. } => Outcome::Check(Sense::INVALID_FIELD),
        Command::Verify { extent, .. } => match bytes(info, extent) {
            Ok(_) => Outcome::Done,
            Err(sense) => Outcome::Check(sense),
        },
        Command::SynchronizeCache(extent) => match bytes(info, extent) {
            Ok(_) => Outcome::Io(Io { operation: Operation::Flush, offset: 0, length: 0 }),
            Err(sense) => Outcome::Check(sense),
        },
        Command::Unmap { .. } => unmap(info, parameters),
        Command::WriteSame { extent, unmap, no_data } => {
            write_same(info, extent, unmap, no_data, parameters)
        }
        // A disk stays where it is.
        Command::StartStop { .. } => Outcome::Check(Sense::INVALID_FIELD),
        _ => Outcome::Check(Sense::INVALID_OPCODE),
    }
}

/// Nothing is ever pending: sense data comes with the command that failed.
pub(super) fn request_sense(descriptor: bool, room: usize, reply: &mut Reply) -> Outcome {
    if descriptor {
        reply.push(&Sense::NONE.descriptor());
    } else {
        reply.push(&Sense::NONE.fixed());
    }
    reply.limit(room);
    Outcome::Done
}

fn blocks(info: &DiskInfo) -> u64 {
    info.size / u64::from(info.logical_block.max(1))
}

/// Last block, or all ones if it has no place here; bytes of a block (SBC-3, 5.12.2).
pub(super) fn capacity_10(info: &DiskInfo, reply: &mut Reply) -> Outcome {
    let last = u32::try_from(blocks(info).saturating_sub(1)).unwrap_or(u32::MAX);
    reply.push(&last.to_be_bytes()).push(&info.logical_block.to_be_bytes());
    Outcome::Done
}

/// SBC-3, 5.13.2.
fn capacity_16(info: &DiskInfo, room: usize, reply: &mut Reply) -> Outcome {
    let ratio = (info.physical_block / info.logical_block.max(1)).max(1);
    // Provisioning management, and whether what was unmapped reads as zeros.
    let flags = match &info.discard {
        Some(discard) if discard.reads_zeros => 0xC0,
        Some(_) => 0x80,
        None => 0,
    };
    reply.push(&blocks(info).saturating_sub(1).to_be_bytes());
    reply.push(&info.logical_block.to_be_bytes());
    reply.push(&[0, ratio.ilog2().min(15) as u8, flags, 0]).zeros(16);
    reply.limit(room);
    Outcome::Done
}

/// Bytes of an extent, if the disk has them.
fn bytes(info: &DiskInfo, extent: Extent) -> Result<(u64, u64), Sense> {
    let end = extent.lba.checked_add(extent.blocks).ok_or(Sense::LBA_OUT_OF_RANGE)?;
    if end > blocks(info) {
        return Err(Sense::LBA_OUT_OF_RANGE);
    }
    let block = u64::from(info.logical_block);
    Ok((extent.lba * block, extent.blocks * block))
}

/// What a READ comes to, or a WRITE: nothing, if it is of no blocks.
#[inline]
pub fn transfer(
    info: &DiskInfo,
    operation: Operation,
    extent: Extent,
) -> Result<Option<Io>, Sense> {
    if info.read_only && operation != Operation::Read {
        return Err(Sense::WRITE_PROTECTED);
    }
    let (offset, length) = bytes(info, extent)?;
    Ok((length > 0).then_some(Io { operation, offset, length }))
}

pub(super) fn io(info: &DiskInfo, operation: Operation, extent: Extent) -> Outcome {
    match transfer(info, operation, extent) {
        Err(sense) => Outcome::Check(sense),
        Ok(None) => Outcome::Done,
        Ok(Some(io)) => Outcome::Io(io),
    }
}

/// A list of ranges (SBC-3, 5.28.2).
fn unmap(info: &DiskInfo, list: &[u8]) -> Outcome {
    if info.discard.is_none() {
        return Outcome::Check(Sense::INVALID_OPCODE);
    }
    if info.read_only {
        return Outcome::Check(Sense::WRITE_PROTECTED);
    }
    if list.is_empty() {
        return Outcome::Done;
    }
    let Some((header, ranges)) = list.split_first_chunk::<UNMAP_HEADER>() else {
        return Outcome::Check(Sense::PARAMETER_LENGTH);
    };
    let [_, _, high, low, ..] = *header;
    let length = usize::from(u16::from_be_bytes([high, low])).min(ranges.len());
    let ranges = ranges.get(..length).unwrap_or_default().as_chunks::<UNMAP_RANGE>().0;
    if ranges.len() > UNMAP_RANGES_MAX as usize {
        return Outcome::Check(Sense::INVALID_PARAMETER);
    }
    let mut ios = Vec::with_capacity(ranges.len());
    for range in ranges {
        match unmap_range(info, range) {
            Ok(Some(io)) => ios.push(io),
            Ok(None) => {}
            Err(sense) => return Outcome::Check(sense),
        }
    }
    if ios.is_empty() { Outcome::Done } else { Outcome::Ios(ios) }
}

fn unmap_range(info: &DiskInfo, range: &[u8; UNMAP_RANGE]) -> Result<Option<Io>, Sense> {
    let [l0, l1, l2, l3, l4, l5, l6, l7, b0, b1, b2, b3, ..] = *range;
    let lba = u64::from_be_bytes([l0, l1, l2, l3, l4, l5, l6, l7]);
    let blocks = u32::from_be_bytes([b0, b1, b2, b3]);
    if blocks > UNMAP_BLOCKS_MAX {
        return Err(Sense::INVALID_PARAMETER);
    }
    let (offset, length) = bytes(info, Extent { lba, blocks: blocks.into() })?;
    Ok((length > 0).then_some(Io { operation: Operation::Discard, offset, length }))
}

fn write_same(
    info: &DiskInfo,
    extent: Extent,
    unmap: bool,
    no_data: bool,
    block: &[u8],
) -> Outcome {
    // 0 blocks would be all to the end: excluded by WSNZ in the block limits.
    if extent.blocks == 0 || extent.blocks > u64::from(UNMAP_BLOCKS_MAX) {
        return Outcome::Check(Sense::INVALID_FIELD);
    }
    if !no_data && block.len() != info.logical_block as usize {
        return Outcome::Check(Sense::PARAMETER_LENGTH);
    }
    let is_zero = no_data || block.iter().all(|byte| *byte == 0);
    let discards_to_zero = info.discard.is_some_and(|discard| discard.reads_zeros);
    let operation = match (is_zero, unmap && discards_to_zero) {
        (true, true) => Operation::Discard,
        (true, false) => Operation::WriteZeros,
        (false, _) => Operation::Fill(block.into()),
    };
    io(info, operation, extent)
}
