//! A SCSI disk as a guest's driver sees it, from the first message to the last.

mod guest;

use guest::{DATA, Data, Machine};
use std::sync::Arc;
use storvsp::backend::memory::MemoryDisk;
use storvsp::controller::Class;
use storvsp::lun::Lun;
use vmbusdef::storage::SrbStatus;

const ID: [u8; 16] = [7; 16];

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 + i / 512) as u8).collect()
}

/// A machine with a disk of 4 MiB as LUN 0.
fn machine() -> (Machine, MemoryDisk) {
    let machine = Machine::new(Class::Scsi, 1);
    let disk = MemoryDisk::new(pattern(4 << 20), 512);
    machine.controller.attach(0, Lun::disk(Arc::new(disk.clone()), ID)).unwrap();
    (machine, disk)
}

#[test]
fn a_disk_is_found_and_read_and_written() {
    let (machine, disk) = machine();
    let driver = machine.start();
    let inquiry = driver.data(0, &[0x12, 0, 0, 0, 36, 0], 36);
    assert_eq!(inquiry[..8], [0, 0, 5, 0x12, 31, 0, 0, 2]);
    assert_eq!(&inquiry[8..], b"Msft    Virtual Disk    1.0 ");
    let capacity = driver.data(0, &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8);
    assert_eq!(capacity, [0, 0, 0x1F, 0xFF, 0, 0, 2, 0]);
    let read = driver.data(0, &[0x28, 0, 0, 0, 0, 3, 0, 0, 5, 0], 2560);
    assert_eq!(read, pattern(4 << 20)[3 * 512..8 * 512]);
    let new = vec![0xAB; 1024];
    let written = driver.command(0, &[0x2A, 0, 0, 0, 0, 9, 0, 0, 2, 0], Data::Out(&new));
    assert!(written.is_good() && written.length == 1024, "{written:?}");
    assert_eq!(disk.bytes()[9 * 512..11 * 512], new);
    driver.channel.close();
}

#[test]
fn absent_luns_are_told_in_the_data_of_inquiry_and_by_status_otherwise() {
    let (machine, _) = machine();
    let driver = machine.start();
    for address in [[0, 0, 1], [0, 1, 0], [3, 0, 0]] {
        let inquiry = driver.command_to(address, &[0x12, 0, 0, 0, 36, 0], Data::In(36));
        assert!(inquiry.is_good() && inquiry.length == 36, "{inquiry:?}");
        assert_eq!(machine.read(DATA, 1), [0x7F]);
        let ready = driver.command_to(address, &[0; 6], Data::None);
        assert_eq!(ready.srb_status, SrbStatus::INVALID_LUN);
    }
}
