//! INQUIRY: standard data and vital product data pages.

use super::{Outcome, Reply, Sense};
use crate::block::DiskInfo;

/// Peripheral device type (SPC-4 table 133).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeviceType {
    /// Direct access block device.
    Disk = 0x00,
    /// CD/DVD.
    Dvd = 0x05,
    /// No device can be there.
    Absent = 0x7F,
}

/// What tells one device from another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Unique, and the same as long as the disk is the same.
    pub id: [u8; 16],
}

/// Hyper-V's vendor name: Linux switches quirks on by it.
const VENDOR: &str = "Msft";
const REVISION: &str = "1.0";

/// Blocks that one UNMAP or WRITE SAME may cover: 1 GiB of 512-byte blocks.
pub const UNMAP_BLOCKS_MAX: u32 = 1 << 21;
/// Ranges in one UNMAP.
pub const UNMAP_RANGES_MAX: u32 = 64;

/// The standard data (SPC-4, 6.4.2), 36 bytes and version descriptors.
pub fn standard(device: DeviceType, room: usize, reply: &mut Reply) -> Outcome {
    let removable = if device == DeviceType::Dvd { 0x80 } else { 0 };
    // SPC-3; data format 2, with hierarchical LUNs; command queueing.
    reply.push(&[device as u8, removable, 0x05, 0x12, 31, 0, 0, 0x02]);
    if device == DeviceType::Absent {
        reply.zeros(28);
    } else {
        let product = if device == DeviceType::Dvd { "Virtual DVD-ROM" } else { "Virtual Disk" };
        reply.text(VENDOR, 8).text(product, 16).text(REVISION, 4);
    }
    reply.limit(room);
    Outcome::Done
}

/// A page of vital product data. `info` is that of a disk.
pub fn vital(
    page: u8,
    device: DeviceType,
    info: Option<&DiskInfo>,
    identity: &Identity,
    room: usize,
    reply: &mut Reply,
) -> Outcome {
    reply.push(&[device as u8, page, 0, 0]);
    match (page, info) {
        (0x00, Some(_)) => reply.push(&[0x00, 0x80, 0x83, 0xB0, 0xB1, 0xB2]),
        (0x00, None) => reply.push(&[0x00, 0x80, 0x83]),
        (0x80, _) => serial_number(identity, reply),
        (0x83, _) => designators(identity, reply),
        (0xB0, Some(info)) => block_limits(info, reply),
        (0xB1, Some(_)) => characteristics(reply),
        (0xB2, Some(info)) => provisioning(info, reply),
        _ => {
            reply.clear();
            return Outcome::Check(Sense::INVALID_FIELD);
        }
    };
    let length = reply.len().saturating_sub(4) as u16;
    reply.patch(2, &length.to_be_bytes());
    reply.limit(room);
    Outcome::Done
}

fn serial_number<'a>(identity: &Identity, reply: &'a mut Reply) -> &'a mut Reply {
    for byte in identity.id {
        reply.push(format!("{byte:02x}").as_bytes());
    }
    reply
}

/// Designators of the logical unit (SPC-4, 7.8.6): by vendor, and an NAA as Hyper-V makes it, from which udev's names
/// come.
fn designators<'a>(identity: &Identity, reply: &'a mut Reply) -> &'a mut Reply {
    // ASCII, T10 vendor id.
    reply.push(&[0x02, 0x01, 0, 8 + 16]).text(VENDOR, 8).push(&identity.id.map(printable));
    // Binary, NAA: type 6, the vendor's number 00-22-48, then 12 bytes of our own behind a version.
    let mut naa = [0x60, 0x02, 0x24, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (to, from) in naa.iter_mut().skip(4).zip(identity.id) {
        *to = from;
    }
    reply.push(&[0x01, 0x03, 0, 16]).push(&naa)
}

/// A character for each byte of an id: a designator in ASCII has to be printable.
fn printable(byte: u8) -> u8 {
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-"
        .get(usize::from(byte) % 64)
        .copied()
        .unwrap_or(b'0')
}

/// SBC-3, 6.6.4.
fn block_limits<'a>(info: &DiskInfo, reply: &'a mut Reply) -> &'a mut Reply {
    let blocks = |bytes: u32| (bytes / info.logical_block.max(1)).to_be_bytes();
    let (unmap, ranges, granularity) = match &info.discard {
        Some(discard) => (UNMAP_BLOCKS_MAX, UNMAP_RANGES_MAX, discard.granularity),
        None => (0, 0, 0),
    };
    // WSNZ; compare-and-write; granularity and lengths of transfers: no limits but that of the controller.
    reply.push(&[0x01, 0, 0, 0]).zeros(12);
    reply.push(&unmap.to_be_bytes()).push(&ranges.to_be_bytes()).push(&blocks(granularity));
    // Alignment of the granularity: valid, at block 0.
    reply.push(&[if granularity == 0 { 0 } else { 0x80 }, 0, 0, 0]);
    reply.push(&u64::from(UNMAP_BLOCKS_MAX).to_be_bytes()).zeros(20)
}

/// SBC-3, 6.6.2: not a rotating medium.
fn characteristics(reply: &mut Reply) -> &mut Reply {
    reply.push(&[0, 1]).zeros(58)
}

/// SBC-3, 6.6.6: UNMAP and WRITE SAME with UNMAP, and what is read afterwards.
fn provisioning<'a>(info: &DiskInfo, reply: &'a mut Reply) -> &'a mut Reply {
    let flags = match &info.discard {
        Some(discard) if discard.reads_zeros => 0b1110_0100,
        Some(_) => 0b1000_0000,
        None => 0,
    };
    // Thin, unless nothing can be given back.
    let kind = if info.discard.is_some() { 2 } else { 1 };
    reply.push(&[0, flags, kind, 0])
}
