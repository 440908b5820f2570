//! Images as others leave them: what the formats allow and we do not write, and what they do not allow.

mod common;

use common::{Kind, open, pattern, try_open};
use disk::{MemStorage, Storage};
use std::sync::Arc;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
/// Where a VHDX made here has its BAT, and a VHD its block table.
const BAT: u64 = 3 * MIB;
const TABLE: u64 = 1536;

/// An image with something in its first block.
fn written(kind: Kind) -> Arc<MemStorage> {
    let storage = Arc::new(MemStorage::new());
    let (_, disk) = kind.create(&storage);
    disk.write_at(0, &pattern(1, 65_536)).unwrap();
    disk.close().unwrap();
    drop(disk);
    storage
}

fn u64_at(storage: &MemStorage, offset: u64) -> u64 {
    let mut bytes = [0; 8];
    storage.read_at(offset, &mut bytes).unwrap();
    u64::from_le_bytes(bytes)
}

fn read(kind: Kind, storage: &Arc<MemStorage>, at: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0xEE; len];
    open(kind, storage).read_at(at, &mut bytes).unwrap();
    bytes
}

/// Where the first block of a VHD has its bitmap.
fn bitmap_of(storage: &MemStorage) -> u64 {
    let mut entry = [0; 4];
    storage.read_at(TABLE, &mut entry).unwrap();
    u64::from(u32::from_be_bytes(entry)) * 512
}

#[test]
fn sectors_of_a_vhd_without_their_bit_are_zero_until_written() {
    let storage = written(Kind::VhdDynamic);
    let bitmap = bitmap_of(&storage);
    storage.write_at(bitmap, &[0b1011_1111, 0xFF, 0x00]).unwrap();
    let mut expected = pattern(1, 65_536);
    expected[512..1024].fill(0);
    expected[8192..12_288].fill(0);
    assert!(read(Kind::VhdDynamic, &storage, 0, 65_536) == expected);
    let disk = open(Kind::VhdDynamic, &storage);
    disk.write_at(512, &[5; 512]).unwrap();
    disk.close().unwrap();
    drop(disk);
    expected[512..1024].fill(5);
    assert!(read(Kind::VhdDynamic, &storage, 0, 65_536) == expected);
    let mut bits = [0; 3];
    storage.read_at(bitmap, &mut bits).unwrap();
    assert_eq!(bits, [0xFF, 0xFF, 0]);
}

#[test]
fn undefined_and_unmapped_blocks_of_a_vhdx_are_zero() {
    for (kind, state) in [
        (Kind::VhdxDynamic, 1u64),
        (Kind::VhdxDynamic, 3),
        (Kind::VhdxDifferencing, 1),
        (Kind::VhdxDifferencing, 3),
    ] {
        let storage = written(kind);
        let entry = (u64_at(&storage, BAT) & !7) | state;
        storage.write_at(BAT, &entry.to_le_bytes()).unwrap();
        assert!(read(kind, &storage, 0, 65_536) == vec![0; 65_536], "{kind:?}, state {state}");
        let disk = open(kind, &storage);
        disk.write_at(4096, &[9; 4096]).unwrap();
        disk.close().unwrap();
        drop(disk);
        let found = read(kind, &storage, 0, 65_536);
        assert!(found[..4096].iter().chain(&found[8192..]).all(|byte| *byte == 0), "{kind:?}");
        assert_eq!(found[4096], 9);
    }
}

#[test]
fn a_vhd_lives_with_one_footer_and_gets_its_other_back() {
    for kind in [Kind::VhdDynamic, Kind::VhdDifferencing] {
        for at_end in [false, true] {
            let storage = written(kind);
            let expected = read(kind, &storage, 0, 65_536);
            let place = if at_end { storage.size().unwrap() - 512 } else { 0 };
            storage.write_at(place, b"garbage").unwrap();
            let disk = open(kind, &storage);
            assert_eq!(disk.describe().remarks.len(), 1);
            let mut found = vec![0; 65_536];
            disk.read_at(0, &mut found).unwrap();
            assert!(found == expected);
            disk::repair(&*disk).unwrap();
            drop(disk);
            let disk = open(kind, &storage);
            assert_eq!(disk.describe().remarks, Vec::<String>::new());
        }
    }
}

#[test]
fn a_vhdx_lives_with_one_header_and_one_region_table() {
    for damage in [64 * KIB, 128 * KIB, 192 * KIB, 256 * KIB] {
        let storage = written(Kind::VhdxDynamic);
        storage.write_at(damage + 9, b"garbage").unwrap();
        let disk = open(Kind::VhdxDynamic, &storage);
        assert_eq!(disk.describe().remarks.len(), 1, "{damage:#x}");
        disk::repair(&*disk).unwrap();
        drop(disk);
        let disk = open(Kind::VhdxDynamic, &storage);
        assert_eq!(disk.describe().remarks, Vec::<String>::new(), "{damage:#x}");
        drop(disk);
        assert!(read(Kind::VhdxDynamic, &storage, 0, 65_536) == pattern(1, 65_536));
    }
}

/// Opening an image with these bytes somewhere says this.
fn says(kind: Kind, change: (u64, &[u8]), expected: &str) {
    let storage = written(kind);
    storage.write_at(change.0, change.1).unwrap();
    let error = try_open(kind, storage).expect_err(expected).to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn what_is_wrong_with_a_vhdx_is_said_and_where() {
    let says = |offset: u64, bytes: &[u8], expected: &str| {
        says(Kind::VhdxDynamic, (offset, bytes), expected);
    };
    let items = 2 * MIB + 64 * KIB;
    says(0, b"X", "VHDX file identifier at byte 0x0: is not \"vhdxfile\"");
    says(2 * MIB, b"X", "VHDX metadata table at byte 0x200000: its signature is not \"metadata\"");
    says(2 * MIB + 10, &[0xFF, 0xFF], "it claims 65535 entries, 2047 at most fit");
    says(2 * MIB + 32, &[0xAA], "is required and of an unknown kind");
    says(2 * MIB + 48, &[0xFF; 4], "is not in its region");
    says(2 * MIB + 52, &[7], "the file parameters takes 7 bytes, not 8");
    says(items, &[1, 0, 16, 0], "VHDX metadata item at byte 0x210000: the block size is 1048577");
    says(items + 4, &[3], "has no item for the parent locator");
    says(items + 8, &[1], "the disk size is");
    says(items + 32, &[0, 3], "a sector size is 768");
    says(BAT, &[4], "VHDX BAT at byte 0x300000: entry 0 has the unknown payload block state 4");
    says(BAT, &[7], "entry 0 is partially present, but the disk has no parent");
    says(BAT + 8, &((900 * MIB) | 6).to_le_bytes(), "entry 1 puts a block at 0x38400000");
    says(BAT + 8, &((4 * MIB) | 6).to_le_bytes(), "overlaps with the VHDX payload block before it");
    says(BAT, &((3 * MIB) | 6).to_le_bytes(), "overlaps with the VHDX BAT region before it");
}

#[test]
fn what_is_wrong_with_a_vhd_is_said_and_where() {
    let says = |offset: u64, bytes: &[u8], expected: &str| {
        says(Kind::VhdDynamic, (offset, bytes), expected);
    };
    says(512, b"X", "VHD dynamic header at byte 0x200: its cookie is not \"cxsparse\"");
    says(540, &[9], "VHD dynamic header at byte 0x200: its checksum is");
    says(TABLE + 4, &[0, 9, 0, 0], "VHD block table at byte 0x604: entry 1 puts a block at");
    says(TABLE + 4, &[0, 0, 0, 1], "2 blocks do not fit into the file");
    says(TABLE, &[0, 0, 0, 1], "overlaps with");
    let short: Arc<dyn Storage> = Arc::new(MemStorage::from_bytes(&[0; 100]));
    let error = try_open(Kind::VhdFixed, short).unwrap_err().to_string();
    assert_eq!(error, "VHD footer at byte 0x0: a file of 100 bytes has none");
}
