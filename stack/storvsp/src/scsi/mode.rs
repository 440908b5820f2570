//! MODE SENSE and MODE SELECT.

use super::{Outcome, Reply, Sense};
use crate::block::DiskInfo;

/// Values that an initiator may ask for.
const CHANGEABLE: u8 = 1;
const SAVED: u8 = 3;

const ALL_PAGES: u8 = 0x3F;
const CACHING: u8 = 0x08;
const CONTROL: u8 = 0x0A;
const ERROR_RECOVERY: u8 = 0x01;
const CAPABILITIES: u8 = 0x2A;

/// What MODE SENSE asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ModeSense {
    /// The 10-byte form.
    pub long: bool,
    /// No block descriptor, please.
    pub no_descriptor: bool,
    /// Which values.
    pub control: u8,
    /// Which page.
    pub page: u8,
    /// Which part of it.
    pub subpage: u8,
    /// Bytes there is room for.
    pub room: usize,
}

/// Pages of a disk.
pub fn sense_disk(info: &DiskInfo, ask: &ModeSense, reply: &mut Reply) -> Outcome {
    // Write protection; DPO and FUA are understood.
    let device_specific = if info.read_only { 0x90 } else { 0x10 };
    let blocks = info.size / u64::from(info.logical_block.max(1));
    sense(
        ask,
        device_specific,
        Some((blocks, info.logical_block)),
        &[ERROR_RECOVERY, CACHING, CONTROL],
        reply,
    )
}

/// Pages of a DVD drive.
pub fn sense_dvd(ask: &ModeSense, reply: &mut Reply) -> Outcome {
    sense(ask, 0, None, &[ERROR_RECOVERY, CAPABILITIES], reply)
}

fn sense(
    ask: &ModeSense,
    device_specific: u8,
    blocks: Option<(u64, u32)>,
    pages: &[u8],
    reply: &mut Reply,
) -> Outcome {
    if ask.control == SAVED {
        return Outcome::Check(Sense::SAVING_NOT_SUPPORTED);
    }
    let is_known = ask.page == ALL_PAGES || pages.contains(&ask.page);
    if !is_known || !matches!(ask.subpage, 0 | 0xFF) {
        return Outcome::Check(Sense::INVALID_FIELD);
    }
    let descriptor = blocks.filter(|_| !ask.no_descriptor);
    header(ask.long, device_specific, descriptor.is_some(), reply);
    if let Some((count, size)) = descriptor {
        block_descriptor(count, size, reply);
    }
    for page in pages.iter().filter(|page| ask.page == ALL_PAGES || ask.page == **page) {
        push_page(*page, ask.control == CHANGEABLE, reply);
    }
    let length = reply.len();
    if ask.long {
        reply.patch(0, &(length.saturating_sub(2) as u16).to_be_bytes());
    } else {
        reply.patch(0, &[length.saturating_sub(1) as u8]);
    }
    reply.limit(ask.room);
    Outcome::Done
}

/// SPC-4, 7.5.5.
fn header(long: bool, device_specific: u8, has_descriptor: bool, reply: &mut Reply) {
    let descriptor_length = if has_descriptor { 8 } else { 0 };
    if long {
        reply.push(&[0, 0, 0, device_specific, 0, 0, 0, descriptor_length]);
    } else {
        reply.push(&[0, 0, device_specific, descriptor_length]);
    }
}

/// SBC-3, 6.5.2.2: the short form; as many blocks as fit into it.
fn block_descriptor(count: u64, size: u32, reply: &mut Reply) {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    reply.push(&count.to_be_bytes()).push(&size.to_be_bytes());
}

/// A page; of what can be changed there is nothing.
fn push_page(page: u8, is_mask: bool, reply: &mut Reply) {
    let start = reply.len();
    match page {
        ERROR_RECOVERY => reply.push(&[ERROR_RECOVERY, 10, 0x80]).zeros(9),
        // There is a write cache: SYNCHRONIZE CACHE is needed.
        CACHING => reply.push(&[CACHING, 18, 0x04]).zeros(17),
        // One task set; commands may be reordered; no limit to busy time.
        CONTROL => reply.push(&[CONTROL, 10, 0x02, 0x10, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0]),
        // Reads CDs and DVDs; a tray that locks and ejects; 24 times 176 KB/s.
        CAPABILITIES => reply
            .push(&[
                CAPABILITIES,
                18,
                0x3F,
                0,
                0x71,
                0x60,
                0x29,
                0,
                0x10,
                0x8A,
                0,
                2,
                2,
                0,
                0x10,
                0x8A,
            ])
            .zeros(4),
        _ => reply,
    };
    if is_mask {
        let zeros = vec![0; reply.len().saturating_sub(start + 2)];
        reply.patch(start + 2, &zeros);
    }
}

/// Takes a parameter list that changes nothing, as initiators send it back.
pub fn select(long: bool, list: &[u8]) -> Outcome {
    let header = if long { 8 } else { 4 };
    if list.is_empty() {
        return Outcome::Done;
    }
    if list.len() < header {
        return Outcome::Check(Sense::PARAMETER_LENGTH);
    }
    let descriptors = list.get(header - 1).map_or(0, |length| usize::from(*length));
    let pages = list.get(header + descriptors..).unwrap_or_default();
    match pages.first().map(|page| page & 0x3F) {
        // The write cache cannot be switched off.
        Some(CACHING) if pages.get(2).is_some_and(|flags| flags & 0x04 == 0) => {
            Outcome::Check(Sense::INVALID_PARAMETER)
        }
        None | Some(ERROR_RECOVERY | CACHING | CONTROL) => Outcome::Done,
        Some(_) => Outcome::Check(Sense::INVALID_PARAMETER),
    }
}
