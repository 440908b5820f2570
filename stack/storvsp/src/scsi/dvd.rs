//! A DVD drive: what each command comes to (MMC-6). It only reads.

use super::disk;
use super::inquiry::{self, DeviceType, Identity};
use super::mode::{self, ModeSense};
use super::{Command, Outcome, Reply, Sense};
use crate::block::{DiskInfo, Operation};

/// Bytes of a sector of any medium.
pub const SECTOR: u32 = 2048;

/// A medium of more than this is a DVD, else a CD: 80 minutes of 75 sectors a second.
const CD_BLOCKS_MAX: u64 = 80 * 60 * 75;

const PROFILE_CD_ROM: u16 = 0x08;
const PROFILE_DVD_ROM: u16 = 0x10;

/// Sectors before the first one of a CD's data, in addresses by time.
const PREGAP: u64 = 150;

/// The drive at this moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Drive {
    /// The medium, if there is one.
    pub medium: Option<DiskInfo>,
    /// The guest keeps the tray shut.
    pub is_locked: bool,
    /// What happened to the medium since the guest last asked: 0 nothing, 2 it arrived, 3 it was removed.
    pub event: u8,
}

impl Drive {
    fn blocks(info: &DiskInfo) -> u64 {
        info.size / u64::from(info.logical_block.max(1))
    }

    fn profile(&self) -> u16 {
        match &self.medium {
            Some(info) if Self::blocks(info) > CD_BLOCKS_MAX => PROFILE_DVD_ROM,
            Some(_) => PROFILE_CD_ROM,
            None => 0,
        }
    }
}

/// What a drive makes of a command. `reply` is empty.
pub fn execute(
    drive: &Drive,
    identity: &Identity,
    command: &Command,
    parameters: disk::Parameters<'_>,
    reply: &mut Reply,
) -> Outcome {
    match *command {
        Command::RequestSense { descriptor, room } => disk::request_sense(descriptor, room, reply),
        Command::Inquiry { page: None, room } => inquiry::standard(DeviceType::Dvd, room, reply),
        Command::Inquiry { page: Some(page), room } => {
            inquiry::vital(page, DeviceType::Dvd, None, identity, room, reply)
        }
        Command::ModeSense { long, no_descriptor, control, page, subpage, room } => {
            mode::sense_dvd(&ModeSense { long, no_descriptor, control, page, subpage, room }, reply)
        }
        Command::ModeSelect { long, .. } => mode::select(long, parameters),
        Command::PreventRemoval { prevent } => Outcome::Lock(prevent),
        Command::StartStop { start: false, eject: true } if drive.is_locked => {
            Outcome::Check(Sense::REMOVAL_PREVENTED)
        }
        Command::StartStop { start: false, eject: true } => Outcome::Eject,
        Command::StartStop { .. } => Outcome::Done,
        Command::GetConfiguration { kind, first, room } => {
            configuration(drive, kind, first, room, reply)
        }
        Command::GetEventStatus { polled, classes, room } => {
            event_status(drive, polled, classes, room, reply)
        }
        Command::MechanismStatus { room } => {
            reply.zeros(8).limit(room);
            Outcome::Done
        }
        _ => match &drive.medium {
            Some(info) => on_medium(info, command, reply),
            None if is_about_medium(command) => Outcome::Check(Sense::NO_MEDIUM),
            None => Outcome::Check(Sense::INVALID_OPCODE),
        },
    }
}

fn is_about_medium(command: &Command) -> bool {
    matches!(
        command,
        Command::TestUnitReady
            | Command::ReadCapacity10
            | Command::ReadCapacity16 { .. }
            | Command::Read(_)
            | Command::Write { .. }
            | Command::Verify { .. }
            | Command::SynchronizeCache(_)
            | Command::ReadToc { .. }
            | Command::ReadDiscInformation { .. }
    )
}

fn on_medium(info: &DiskInfo, command: &Command, reply: &mut Reply) -> Outcome {
    match *command {
        Command::TestUnitReady | Command::Verify { .. } | Command::SynchronizeCache(_) => {
            Outcome::Done
        }
        Command::ReadCapacity10 => disk::capacity_10(info, reply),
        Command::Read(extent) => disk::io(info, Operation::Read, extent),
        Command::Write { .. } => Outcome::Check(Sense::WRITE_PROTECTED),
        Command::ReadToc { time, format, track, room } => {
            toc(info, time, format, track, room, reply)
        }
        Command::ReadDiscInformation { kind: 0, room } => disc_information(room, reply),
        Command::ReadDiscInformation { .. } => Outcome::Check(Sense::INVALID_FIELD),
        _ => Outcome::Check(Sense::INVALID_OPCODE),
    }
}

/// Features (MMC-6, 5.3 and 6.5): the list from `first` on, those in effect, or just one.
fn configuration(drive: &Drive, kind: u8, first: u16, room: usize, reply: &mut Reply) -> Outcome {
    let profile = drive.profile();
    reply.zeros(6).push(&profile.to_be_bytes());
    let is_in = |number: u16, is_current: bool| match kind {
        0 => number >= first,
        1 => number >= first && is_current,
        _ => number == first,
    };
    let has_medium = drive.medium.is_some();
    let current = u8::from;
    // Number, in effect, version, data.
    let features: [(u16, bool, u8, &[u8]); 8] = [
        (
            0x0000,
            true,
            0,
            &[0, 0x10, current(profile == 0x10), 0, 0, 0x08, current(profile == 0x08), 0],
        ),
        // SCSI family.
        (0x0001, true, 2, &[0, 0, 0, 1, 0, 0, 0, 0]),
        (0x0002, true, 1, &[0, 0, 0, 0]),
        // A tray that ejects, loads and locks.
        (0x0003, true, 0, &[0x39, 0, 0, 0]),
        (0x0010, has_medium, 0, &[0, 0, 8, 0, 0, 1, 0, 0]),
        (0x001E, profile == PROFILE_CD_ROM, 2, &[0, 0, 0, 0]),
        (0x001F, profile == PROFILE_DVD_ROM, 0, &[]),
        (0x0105, true, 0, &[0, 0, 0, 0]),
    ];
    for (number, is_current, version, data) in features {
        if is_in(number, is_current) {
            // Persistent are those that do not depend on the medium.
            let is_persistent = u8::from(is_current && !matches!(number, 0x0010 | 0x001E | 0x001F));
            let flags = version << 2 | is_persistent << 1 | u8::from(is_current);
            reply.push(&number.to_be_bytes()).push(&[flags, data.len() as u8]).push(data);
        }
    }
    let length = reply.len().saturating_sub(4) as u32;
    reply.patch(0, &length.to_be_bytes()).limit(room);
    Outcome::Done
}

/// Bit of media events among the classes of events.
const MEDIA_CLASS: u8 = 4;

/// MMC-6, 6.7. There are media events only, and nobody waits for them.
fn event_status(
    drive: &Drive,
    polled: bool,
    classes: u8,
    room: usize,
    reply: &mut Reply,
) -> Outcome {
    if !polled {
        return Outcome::Check(Sense::INVALID_FIELD);
    }
    if classes >> MEDIA_CLASS & 1 == 0 {
        // No event available.
        reply.push(&[0, 2, 0x80, 1 << MEDIA_CLASS]).limit(room);
        return Outcome::Done;
    }
    let present = if drive.medium.is_some() { 2 } else { 0 };
    reply.push(&[0, 6, MEDIA_CLASS, 1 << MEDIA_CLASS, drive.event, present, 0, 0]).limit(room);
    Outcome::EventsTaken
}

/// One session with one data track (MMC-6, 6.25).
fn toc(
    info: &DiskInfo,
    time: bool,
    format: u8,
    track: u8,
    room: usize,
    reply: &mut Reply,
) -> Outcome {
    const LEAD_OUT: u8 = 0xAA;
    // Data, copying permitted by nobody.
    const DATA: u8 = 0x14;
    let end = Drive::blocks(info);
    match format {
        0 if track <= 1 || track == LEAD_OUT => {
            reply.push(&[0, 0, 1, 1]);
            if track <= 1 {
                reply.push(&[0, DATA, 1, 0]).push(&address(0, time));
            }
            reply.push(&[0, DATA, LEAD_OUT, 0]).push(&address(end, time));
        }
        1 => {
            reply.push(&[0, 0, 1, 1, 0, DATA, 1, 0]).push(&address(0, time));
        }
        2 => full_toc(end, reply),
        _ => return Outcome::Check(Sense::INVALID_FIELD),
    }
    let length = reply.len().saturating_sub(2) as u16;
    reply.patch(0, &length.to_be_bytes()).limit(room);
    Outcome::Done
}

/// What is in the lead-in: first track, last track, lead-out, and the track.
fn full_toc(end: u64, reply: &mut Reply) {
    let [_, minute, second, frame] = address(end, true);
    let [_, m0, s0, f0] = address(0, true);
    reply.push(&[0, 0, 1, 1]);
    for (point, place) in
        [(0xA0, [1, 0, 0]), (0xA1, [1, 0, 0]), (0xA2, [minute, second, frame]), (1, [m0, s0, f0])]
    {
        reply.push(&[1, 0x14, 0, point, 0, 0, 0, 0]).push(&place);
    }
}

/// Of a sector: its number, or minutes, seconds and frames.
fn address(block: u64, time: bool) -> [u8; 4] {
    if !time {
        return u32::try_from(block).unwrap_or(u32::MAX).to_be_bytes();
    }
    let frames = block + PREGAP;
    [0, (frames / 75 / 60).min(255) as u8, (frames / 75 % 60) as u8, (frames % 75) as u8]
}

/// A finished disc with one session and one track (MMC-6, 6.21).
fn disc_information(room: usize, reply: &mut Reply) -> Outcome {
    reply.push(&[0, 32, 0x0E, 1, 1, 1, 1]).zeros(27).limit(room);
    Outcome::Done
}
