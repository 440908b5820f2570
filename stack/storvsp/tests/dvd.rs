//! A DVD drive as a guest's driver sees it.

mod guest;

use guest::{Data, Machine};
use std::sync::Arc;
use storvsp::backend::memory::MemoryDisk;
use storvsp::controller::{Class, LunError};
use storvsp::lun::Lun;

const READY: [u8; 6] = [0; 6];
const EJECT: [u8; 6] = [0x1B, 0, 0, 0, 2, 0];
const LOCK: [u8; 6] = [0x1E, 0, 0, 0, 1, 0];
const UNLOCK: [u8; 6] = [0x1E, 0, 0, 0, 0, 0];
const EVENTS: [u8; 10] = [0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8, 0];

fn iso(sectors: usize) -> MemoryDisk {
    let bytes = (0..sectors * 2048).map(|i| (i / 2048 + i) as u8).collect();
    MemoryDisk::new(bytes, 2048).read_only()
}

fn machine(medium: Option<MemoryDisk>) -> Machine {
    let machine = Machine::new(Class::Scsi, 1);
    let medium = medium.map(|disk| Arc::new(disk) as Arc<_>);
    machine.controller.attach(3, Lun::dvd(medium, [1; 16])).unwrap();
    machine
}

#[test]
fn an_iso_is_identified_and_read() {
    let machine = machine(Some(iso(300)));
    let driver = machine.start();
    let inquiry = driver.data(3, &[0x12, 0, 0, 0, 36, 0], 36);
    assert_eq!((inquiry[0], inquiry[1]), (5, 0x80));
    assert_eq!(&inquiry[8..], b"Msft    Virtual DVD-ROM 1.0 ");
    assert!(driver.command(3, &READY, Data::None).is_good());
    assert_eq!(driver.data(3, &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8), [0, 0, 1, 43, 0, 0, 8, 0]);
    let sectors = driver.data(3, &[0x28, 0, 0, 0, 0, 7, 0, 0, 2, 0], 4096);
    assert!(sectors == iso(300).bytes()[7 * 2048..9 * 2048]);
    let write = driver.command(3, &[0x2A, 0, 0, 0, 0, 0, 0, 0, 1, 0], Data::Out(&[0; 2048]));
    assert_eq!(write.why(), [7, 0x27, 0]);
    let toc = driver.data(3, &[0x43, 0, 0, 0, 0, 0, 0, 0, 20, 0], 20);
    assert_eq!(toc, [0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xAA, 0, 0, 0, 1, 44]);
    let by_time = driver.data(3, &[0x43, 2, 0, 0, 0, 0, 0xAA, 0, 12, 0], 12);
    // 300 + 150 frames are 6 seconds.
    assert_eq!(by_time, [0, 10, 1, 1, 0, 0x14, 0xAA, 0, 0, 0, 6, 0]);
    let session = driver.data(3, &[0x43, 0, 1, 0, 0, 0, 0, 0, 12, 0], 12);
    assert_eq!(session, [0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0]);
    let profile = driver.data(3, &[0x46, 0, 0, 0, 0, 0, 0, 0, 8, 0], 8);
    assert_eq!(profile[6..], [0, 8], "a small medium is a CD");
    let capabilities = driver.data(3, &[0x5A, 0, 0x2A, 0, 0, 0, 0, 0, 64, 0], 64);
    assert_eq!((capabilities.len(), capabilities[8], capabilities[9]), (8 + 20, 0x2A, 18));
    assert_eq!(driver.data(3, &[0x51, 0, 0, 0, 0, 0, 0, 0, 34, 0], 34)[..3], [0, 32, 0x0E]);
    assert_eq!(driver.data(3, &[0xBD, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0], 8), [0; 8]);
}

#[test]
fn configuration_is_told_whole_in_effect_or_by_feature() {
    let machine = machine(None);
    let driver = machine.start();
    let all = driver.data(3, &[0x46, 0, 0, 0, 0, 0, 0, 0, 200, 0], 200);
    assert_eq!(u32::from_be_bytes(all[..4].try_into().unwrap()) as usize, all.len() - 4);
    assert_eq!(all[6..8], [0, 0], "no medium, no profile");
    let mut numbers = Vec::new();
    let mut rest = &all[8..];
    while let [n0, n1, _, length, tail @ ..] = rest {
        numbers.push(u16::from_be_bytes([*n0, *n1]));
        rest = &tail[usize::from(*length)..];
    }
    assert_eq!(numbers, [0, 1, 2, 3, 0x10, 0x1E, 0x1F, 0x105]);
    let one = driver.data(3, &[0x46, 2, 0, 3, 0, 0, 0, 0, 200, 0], 200);
    assert_eq!(one[8..], [0, 3, 3, 4, 0x39, 0, 0, 0]);
    let in_effect = driver.data(3, &[0x46, 1, 0, 0x10, 0, 0, 0, 0, 200, 0], 200);
    assert_eq!(in_effect[8..10], [1, 5], "nothing of what needs a medium");
}

#[test]
fn the_guest_ejects_and_hears_of_a_new_medium() {
    let machine = machine(Some(iso(16)));
    let driver = machine.start();
    assert!(driver.command(3, &LOCK, Data::None).is_good());
    assert_eq!(driver.command(3, &EJECT, Data::None).why(), [5, 0x53, 2]);
    let swap = || machine.controller.change_medium(3, Some(Arc::new(iso(32))), false);
    assert_eq!(swap(), Err(LunError::Locked(3)));
    assert!(driver.command(3, &UNLOCK, Data::None).is_good());
    assert!(driver.command(3, &EJECT, Data::None).is_good());
    assert_eq!(driver.command(3, &READY, Data::None).why(), [2, 0x3A, 0]);
    assert_eq!(driver.data(3, &EVENTS, 8), [0, 6, 4, 0x10, 3, 0, 0, 0], "removed");
    assert_eq!(driver.data(3, &EVENTS, 8), [0, 6, 4, 0x10, 0, 0, 0, 0], "told once");
    swap().unwrap();
    assert_eq!(driver.data(3, &EVENTS, 8)[4..6], [2, 2], "arrived, present");
    assert_eq!(driver.command(3, &READY, Data::None).why(), [6, 0x28, 0]);
    assert!(driver.command(3, &READY, Data::None).is_good());
    assert_eq!(driver.data(3, &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8)[..4], [0, 0, 0, 31]);
}

#[test]
fn only_drives_change_media() {
    let machine = machine(None);
    machine.controller.attach(0, Lun::disk(Arc::new(iso(2)), [0; 16])).unwrap();
    let change = |lun| machine.controller.change_medium(lun, None, true);
    assert_eq!(
        (change(0), change(1), change(3)),
        (Err(LunError::NotRemovable(0)), Err(LunError::Absent(1)), Ok(()))
    );
}

#[test]
fn a_locked_tray_opens_by_force_and_with_a_new_driver() {
    let machine = machine(Some(iso(16)));
    let driver = machine.start();
    assert!(driver.command(3, &LOCK, Data::None).is_good());
    machine.controller.change_medium(3, None, true).unwrap();
    machine.controller.change_medium(3, Some(Arc::new(iso(4))), false).unwrap();
    assert_eq!(machine.controller.change_medium(3, None, false), Err(LunError::Locked(3)));
    let offer = driver.channel.offer;
    driver.channel.close();
    let driver = machine.open(&offer, 0);
    driver.set_up();
    machine.controller.change_medium(3, None, false).unwrap();
    assert_eq!(driver.command(3, &READY, Data::None).why(), [6, 0x28, 0]);
}
