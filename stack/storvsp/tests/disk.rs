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

#[test]
fn vital_product_data_is_as_the_disk() {
    let (machine, _) = machine();
    let driver = machine.start();
    let page = |page| driver.data(0, &[0x12, 1, page, 0, 200, 0], 200);
    assert_eq!(page(0), [0, 0, 0, 6, 0, 0x80, 0x83, 0xB0, 0xB1, 0xB2]);
    assert_eq!(page(0x80)[..4], [0, 0x80, 0, 32]);
    assert_eq!(page(0x80)[4..], *b"07070707070707070707070707070707");
    let ids = page(0x83);
    assert_eq!((ids.len(), ids[3]), (52, 48));
    assert_eq!(ids[4..16], *b"\x02\x01\0\x18Msft    ");
    assert_eq!(ids[32..40], [1, 3, 0, 16, 0x60, 0x02, 0x24, 0x80]);
    assert_eq!(ids[40..], [7; 12]);
    let limits = page(0xB0);
    assert_eq!((limits.len(), limits[1], limits[3]), (64, 0xB0, 60));
    assert_eq!(limits[20..36], [0, 0x20, 0, 0, 0, 0, 0, 64, 0, 0, 0, 1, 0x80, 0, 0, 0]);
    assert_eq!(limits[36..44], [0, 0, 0, 0, 0, 0x20, 0, 0]);
    assert_eq!(page(0xB1)[..6], [0, 0xB1, 0, 60, 0, 1]);
    assert_eq!(page(0xB2), [0, 0xB2, 0, 4, 0, 0b1110_0100, 2, 0]);
    let unknown = driver.command(0, &[0x12, 1, 0x89, 0, 200, 0], Data::In(200));
    assert_eq!((unknown.why(), unknown.length), ([5, 0x24, 0], 0));
    let short = driver.data(0, &[0x12, 1, 0x83, 0, 4, 0], 4);
    assert_eq!(short, [0, 0x83, 0, 48]);
}

#[test]
fn the_rest_of_what_a_driver_asks_a_disk_is_answered() {
    let (machine, _) = machine();
    machine
        .controller
        .attach(5, Lun::disk(Arc::new(MemoryDisk::new(vec![0; 8192], 512)), ID))
        .unwrap();
    let driver = machine.start();
    assert!(driver.command(0, &[0; 6], Data::None).is_good());
    let luns = driver.data(0, &[0xA0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0], 256);
    assert_eq!(luns, [0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0]);
    let long = driver.data(0, &[0x9E, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0], 32);
    assert_eq!(long[..16], [0, 0, 0, 0, 0, 0, 0x1F, 0xFF, 0, 0, 2, 0, 0, 3, 0xC0, 0]);
    assert_eq!((long.len(), &long[16..]), (32, &[0; 16][..]));
    let short = driver.data(0, &[0x9E, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0], 32);
    assert_eq!(short.len(), 12);
    let caching = driver.data(0, &[0x1A, 0, 0x08, 0, 192, 0], 192);
    assert_eq!(caching[..15], [31, 0, 0x10, 8, 0, 0, 0x20, 0, 0, 0, 2, 0, 0x08, 18, 4]);
    assert_eq!(caching.len(), 32);
    let all = driver.data(0, &[0x1A, 8, 0x3F, 0, 4, 0], 4);
    assert_eq!(all, [12 + 20 + 12 + 3, 0, 0x10, 0], "the length of all, cut");
    let changeable = driver.data(0, &[0x5A, 8, 0x48, 0, 0, 0, 0, 0, 64, 0], 64);
    assert_eq!(changeable[..8], [0, 26, 0, 0x10, 0, 0, 0, 0]);
    assert_eq!(changeable[8..], [vec![8, 18], vec![0; 18]].concat());
    assert_eq!(driver.command(0, &[0x1A, 0, 0xC8, 0, 64, 0], Data::In(64)).why(), [5, 0x39, 0]);
    assert_eq!(driver.command(0, &[0x1A, 0, 0x1C, 0, 64, 0], Data::In(64)).why(), [5, 0x24, 0]);
    let sense = driver.data(0, &[0x03, 0, 0, 0, 18, 0], 18);
    assert_eq!(sense[..8], [0x70, 0, 0, 0, 0, 0, 0, 10]);
    assert_eq!(driver.data(0, &[0x03, 1, 0, 0, 18, 0], 18), [0x72, 0, 0, 0, 0, 0, 0, 0]);
    assert!(driver.command(0, &[0x1B, 0, 0, 0, 1, 0], Data::None).is_good());
    assert!(driver.command(0, &[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0], Data::None).is_good());
    let flush = [0x91, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert!(driver.command(0, &flush, Data::None).is_good());
    assert!(driver.command(0, &[0x2F, 0, 0, 0, 0, 0, 0, 0, 1, 0], Data::None).is_good());
    let list = [0, 0, 0, 0, 0x08, 2, 4, 0];
    assert!(driver.command(0, &[0x15, 0x10, 0, 0, 8, 0], Data::Out(&list)).is_good());
    let no_cache = [0, 0, 0, 0, 0x08, 2, 0, 0];
    assert_eq!(
        driver.command(0, &[0x15, 0x10, 0, 0, 8, 0], Data::Out(&no_cache)).why(),
        [5, 0x26, 0]
    );
}

/// A read or write with the CDB of a length.
fn cdb(group: u8, write: bool, lba: u8, blocks: u8) -> Vec<u8> {
    let code = if write { 0x0A } else { 0x08 };
    match group {
        6 => vec![code, 0, 0, lba, blocks, 0],
        10 => vec![code | 0x20, 0, 0, 0, 0, lba, 0, 0, blocks, 0],
        12 => vec![code | 0xA0, 0, 0, 0, 0, lba, 0, 0, 0, blocks, 0, 0],
        _ => vec![code | 0x80, 0, 0, 0, 0, 0, 0, 0, 0, lba, 0, 0, 0, blocks, 0, 0],
    }
}

#[test]
fn all_lengths_of_commands_read_and_write_the_same() {
    let (machine, disk) = machine();
    let driver = machine.start();
    for group in [6, 10, 12, 16] {
        let new = vec![group; 1536];
        let written = driver.command(0, &cdb(group, true, 4, 3), Data::Out(&new));
        assert!(written.is_good() && written.length == 1536);
        assert!(disk.bytes()[2048..3584] == new);
        assert!(driver.data(0, &cdb(group, false, 4, 3), 1536) == new);
    }
    assert_eq!(driver.data(0, &cdb(6, false, 0, 0), 131_072).len(), 131_072, "0 is 256");
    assert!(driver.command(0, &cdb(10, false, 9, 0), Data::None).is_good(), "0 is 0");
    let fua = [0x2A, 8, 0, 0, 0, 0, 0, 0, 1, 0];
    assert!(driver.command(0, &fua, Data::Out(&[1; 512])).is_good());
}

#[test]
fn unaligned_buffers_are_filled_exactly() {
    let (machine, _) = machine();
    let driver = machine.start();
    for gpa in [DATA + 4, DATA + 3000, DATA + 4095, DATA + 12_286] {
        machine.write(gpa - 8, &[0xEE; 8208]);
        driver.send([0, 0, 0], &cdb(10, false, 1, 16), 1, gpa, 8192);
        assert!(driver.answer().1.is_good());
        assert!(machine.read(gpa, 8192) == pattern(4 << 20)[512..8704]);
        assert_eq!(
            (machine.read(gpa - 8, 8), machine.read(gpa + 8192, 8)),
            (vec![0xEE; 8], vec![0xEE; 8])
        );
    }
}

#[test]
fn what_is_beyond_the_disk_or_makes_no_sense_is_told_by_sense_data() {
    let (machine, _) = machine();
    let driver = machine.start();
    let no = |cdb: &[u8], data| driver.command(0, cdb, data).why();
    let last = [0x28, 0, 0, 0, 0x1F, 0xFF, 0, 0, 1, 0];
    assert!(driver.command(0, &last, Data::In(512)).is_good());
    assert_eq!(no(&[0x28, 0, 0, 0, 0x1F, 0xFF, 0, 0, 2, 0], Data::In(1024)), [5, 0x21, 0]);
    assert_eq!(no(&[0x2A, 0, 0, 0, 0x20, 0, 0, 0, 1, 0], Data::Out(&[0; 512])), [5, 0x21, 0]);
    let far = [0x88, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 1, 0, 0];
    assert_eq!(no(&far, Data::In(512)), [5, 0x21, 0]);
    let far = [0x91, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 1, 0, 0];
    assert_eq!(no(&far, Data::None), [5, 0x21, 0]);
    assert_eq!(
        no(&[0x28, 0x20, 0, 0, 0, 0, 0, 0, 1, 0], Data::In(512)),
        [5, 0x24, 0],
        "protection"
    );
    // Persistent reservations, LOG SENSE, ATA PASS-THROUGH, REPORT SUPPORTED OPERATION CODES, nonsense.
    for opcode in [0x5E, 0x5F, 0x4D, 0x85, 0xA1, 0xA3, 0x16, 0x17, 0x04, 0x43, 0xFF, 0x7F, 0x60] {
        let mut cdb = [0; 16];
        cdb[0] = opcode;
        assert_eq!(no(&cdb, Data::In(64)), [5, 0x20, 0], "{opcode:#x}");
    }
    assert_eq!(
        no(&[0x9E, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0], Data::In(8)),
        [5, 0x20, 0]
    );
    assert_eq!(no(&[0x28, 0, 0, 0, 0, 0], Data::In(512)), [5, 0x24, 0], "a CDB too short");
    assert_eq!(no(&[], Data::None), [5, 0x24, 0], "no CDB");
}

#[test]
fn a_buffer_shorter_than_the_command_is_an_overrun_and_a_longer_one_a_residue() {
    let (machine, _) = machine();
    let driver = machine.start();
    let short = driver.command(0, &cdb(10, false, 0, 2), Data::In(512));
    assert_eq!(
        (short.srb_status, short.scsi_status, short.length),
        (SrbStatus::DATA_OVERRUN, 0, 512)
    );
    let long = driver.command(0, &cdb(10, false, 0, 2), Data::In(4096));
    assert!(long.is_good() && long.length == 1024);
}

#[test]
fn unmap_and_write_same_make_zeros_or_what_is_wanted() {
    let (machine, disk) = machine();
    let driver = machine.start();
    let mut list = vec![0, 38, 0, 32, 0, 0, 0, 0];
    list.extend([0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0]);
    list.extend([0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 3, 0, 0, 0, 0]);
    assert!(driver.command(0, &[0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0], Data::Out(&list)).is_good());
    let before = pattern(8192);
    let expected = |at: usize| {
        let block = at / 512;
        if block == 2 || (9..12).contains(&block) { 0 } else { before[at] }
    };
    assert!(disk.bytes()[..8192].iter().enumerate().all(|(at, byte)| *byte == expected(at)));
    let same = |flags: u8, lba: u8, blocks: u8| {
        [0x93, flags, 0, 0, 0, 0, 0, 0, 0, lba, 0, 0, 0, blocks, 0, 0]
    };
    let block: Vec<u8> = (0..512).map(|i| i as u8).collect();
    assert!(driver.command(0, &same(0, 20, 3), Data::Out(&block)).is_good());
    assert!(disk.bytes()[20 * 512..23 * 512] == block.repeat(3));
    assert!(driver.command(0, &same(8, 20, 1), Data::Out(&[0; 512])).is_good());
    assert!(driver.command(0, &same(1, 21, 1), Data::None).is_good(), "no data out: zeros");
    assert!(disk.bytes()[20 * 512..22 * 512] == [0; 1024]);
    assert!(driver.command(0, &[0x41, 0, 0, 0, 0, 22, 0, 0, 1, 0], Data::Out(&[0; 512])).is_good());
    assert!(disk.bytes()[22 * 512..23 * 512] == [0; 512]);
    let no = |cdb: &[u8], data: &[u8]| driver.command(0, cdb, Data::Out(data)).why();
    assert_eq!(no(&same(0, 20, 0), &block), [5, 0x24, 0], "to the end of the disk");
    assert_eq!(no(&same(0x10, 20, 1), &block), [5, 0x24, 0], "anchor");
    assert_eq!(no(&same(0, 20, 1), &block[..100]), [5, 0x1A, 0]);
    assert_eq!(no(&[0x42, 0, 0, 0, 0, 0, 0, 0, 4, 0], &list[..4]), [5, 0x1A, 0]);
    assert_eq!(no(&[0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0], &list[..8]), [5, 0x1A, 0]);
    list[14] = 0xFF;
    assert_eq!(no(&[0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0], &list), [5, 0x21, 0]);
    list[14] = 0;
    list[16] = 0xFF;
    assert_eq!(no(&[0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0], &list), [5, 0x26, 0]);
}

#[test]
fn a_read_only_disk_is_not_written() {
    let machine = Machine::new(Class::Scsi, 1);
    let disk = MemoryDisk::new(pattern(1 << 20), 4096).read_only();
    machine.controller.attach(0, Lun::disk(Arc::new(disk), ID)).unwrap();
    let driver = machine.start();
    assert_eq!(driver.data(0, &[0x1A, 0, 0x3F, 0, 4, 0], 4)[2], 0x90);
    assert_eq!(driver.data(0, &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8), [0, 0, 0, 255, 0, 0, 16, 0]);
    let block = [0; 4096];
    assert_eq!(driver.command(0, &cdb(10, true, 0, 1), Data::Out(&block)).why(), [7, 0x27, 0]);
    let same = [0x41, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    assert_eq!(driver.command(0, &same, Data::Out(&block)).why(), [7, 0x27, 0]);
    assert!(driver.data(0, &cdb(10, false, 1, 2), 8192) == pattern(1 << 20)[4096..12288]);
}
