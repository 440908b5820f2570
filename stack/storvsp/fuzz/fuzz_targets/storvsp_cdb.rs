//! Any CDB, with any parameters, to a disk or a drive of any size: what comes of it is inside the disk, and no reply is
//! longer than the initiator has room for.
//!
//! A byte chooses the device, one the length of the CDB; the CDB follows, then the parameters.
#![no_main]

use libfuzzer_sys::fuzz_target;
use storvsp::block::{Discard, DiskInfo};
use storvsp::scsi::dvd::Drive;
use storvsp::scsi::inquiry::Identity;
use storvsp::scsi::{Command, Io, Outcome, Reply, cdb, disk, dvd};

fuzz_target!(|data: &[u8]| {
    let [choice, length, rest @ ..] = data else { return };
    let (bytes, parameters) = rest.split_at(rest.len().min(usize::from(length % 18)));
    let Ok(command) = cdb::decode(bytes) else { return };
    let (info, identity) = (info(*choice), Identity { id: [*choice; 16] });
    let mut reply = Reply::default();
    let outcome = if choice & 1 == 0 {
        let wanted = disk::parameter_length(&command, &info);
        let Some(parameters) = parameters.get(..wanted) else { return };
        disk::execute(&info, &identity, &command, parameters, &mut reply)
    } else {
        let medium = (choice & 2 != 0).then_some(info);
        let drive = Drive { medium, is_locked: choice & 4 != 0, event: choice % 4 };
        dvd::execute(&drive, &identity, &command, parameters, &mut reply)
    };
    match outcome {
        Outcome::Io(io) => check(&io, &info),
        Outcome::Ios(ios) => ios.iter().for_each(|io| check(io, &info)),
        Outcome::Check(sense) => assert!(sense.key != 0),
        _ => {}
    }
    if let Some(room) = room(&command) {
        assert!(reply.len() <= room);
    }
});

fn info(choice: u8) -> DiskInfo {
    let logical_block = [512, 4096, 2048, 512][usize::from(choice >> 3 & 3)];
    let blocks = [0, 1, 1000, 1 << 32, (1 << 51) - 1][usize::from(choice >> 5) % 5];
    let discard = Discard { granularity: logical_block * 8, reads_zeros: choice & 0x10 != 0 };
    DiskInfo {
        size: blocks * u64::from(logical_block),
        logical_block,
        physical_block: 4096,
        read_only: choice & 2 != 0,
        discard: (choice & 4 != 0).then_some(discard),
    }
}

fn check(io: &Io, info: &DiskInfo) {
    let end = io.offset.checked_add(io.length).expect("no disk is that large");
    assert!(end <= info.size);
    assert!((io.offset | io.length) % u64::from(info.logical_block) == 0);
}

fn room(command: &Command) -> Option<usize> {
    match *command {
        Command::RequestSense { room, .. }
        | Command::Inquiry { room, .. }
        | Command::ModeSense { room, .. }
        | Command::ReadCapacity16 { room }
        | Command::ReadToc { room, .. }
        | Command::GetConfiguration { room, .. }
        | Command::GetEventStatus { room, .. }
        | Command::ReadDiscInformation { room, .. }
        | Command::MechanismStatus { room } => Some(room),
        _ => None,
    }
}
