//! Logs as other programs write them: several entries, wrapped, with zeros; and damaged ones.

use super::*;
use crate::mem_storage::MemStorage;
use crate::vhdx::log::Entry;
use crate::vhdx::wire::{HEADER_SECTION, MIB};

const GUID: Guid = Guid::new(0x1234);
/// Where the entries' changes go.
const TARGET: u64 = 3 * MIB;

/// A file with a log of 1 MiB, whose header names it.
fn file() -> (MemStorage, Headers) {
    let storage = MemStorage::new();
    storage.set_len(4 * MIB).unwrap();
    storage.write_at(0, b"vhdxfile").unwrap();
    let log = Used { start: HEADER_SECTION, len: MIB, name: "log" };
    let mut headers = Headers::create(&storage, Guid::random(), &log).unwrap();
    headers.update_both(&storage, |header| header.log = GUID).unwrap();
    (storage, headers)
}

/// Writes an entry of one page full of `byte`; returns where the next one starts.
fn put(storage: &MemStorage, position: u64, tail: u64, sequence: u64, byte: u8) -> u64 {
    let entry = Entry { tail, sequence, log: GUID, end: 4 * MIB };
    let place = TARGET + u64::from(byte) * LOG_SECTOR;
    let bytes = entry.encode(&[(place, vec![byte; SECTOR])]);
    for (offset, sector) in (position..).step_by(SECTOR).zip(bytes.chunks(SECTOR)) {
        storage.write_at(HEADER_SECTION + offset % MIB, sector).unwrap();
    }
    (position + bytes.len() as u64) % MIB
}

fn changed(storage: &MemStorage) -> Vec<u8> {
    let is_done = |byte: &u8| {
        let mut page = vec![0; SECTOR];
        storage.read_at(TARGET + u64::from(*byte) * LOG_SECTOR, &mut page).unwrap();
        page == vec![*byte; SECTOR]
    };
    (1..10).filter(is_done).collect()
}

#[test]
fn entries_from_the_newest_ones_tail_on_are_done_across_the_logs_end() {
    let (storage, headers) = file();
    let first = MIB - 5 * LOG_SECTOR;
    let second = put(&storage, first, first, 7, 1);
    let third = put(&storage, second, second, 8, 2);
    let fourth = put(&storage, third, second, 9, 3);
    put(&storage, fourth, second, 11, 4);
    assert!(third > second && fourth < third, "the third wraps");
    replay(&storage, &headers).unwrap();
    assert_eq!(changed(&storage), [2, 3], "the first is done with, the last does not follow");
}

#[test]
fn the_newest_run_counts() {
    let (storage, headers) = file();
    put(&storage, 0, 0, 3, 1);
    put(&storage, 64 * LOG_SECTOR, 64 * LOG_SECTOR, 5, 2);
    put(&storage, 128 * LOG_SECTOR, 128 * LOG_SECTOR, 4, 3);
    replay(&storage, &headers).unwrap();
    assert_eq!(changed(&storage), [2]);
}

#[test]
fn a_torn_entry_is_as_if_it_had_not_been_written() {
    let (storage, headers) = file();
    let second = put(&storage, 0, 0, 3, 1);
    put(&storage, second, second, 4, 2);
    storage.write_at(HEADER_SECTION + second + LOG_SECTOR + 100, b"torn").unwrap();
    replay(&storage, &headers).unwrap();
    assert_eq!(changed(&storage), [1]);
}

#[test]
fn a_log_without_a_whole_entry_is_an_error() {
    let (storage, headers) = file();
    let error = replay(&storage, &headers).unwrap_err().to_string();
    assert!(error.starts_with("VHDX log at byte 0x100000: ") && error.contains("no whole entry"));
}

/// An entry with its bytes changed and its checksum right.
fn with(change: impl FnOnce(&mut [u8])) -> Result<()> {
    let (storage, headers) = file();
    let entry = Entry { tail: 0, sequence: 5, log: GUID, end: 4 * MIB };
    let mut bytes = entry.encode(&[(TARGET, vec![1; SECTOR])]);
    change(&mut bytes);
    let sum = checksum(&bytes).to_le_bytes();
    bytes[4..8].copy_from_slice(&sum);
    storage.write_at(HEADER_SECTION, &bytes).unwrap();
    let result = replay(&storage, &headers);
    assert!(result.is_ok() || changed(&storage).is_empty());
    result
}

#[test]
fn entries_that_make_no_sense_change_nothing() {
    // Offsets: the header's file sizes at 48 and 56, the descriptor from 64 on.
    let says = |change: &dyn Fn(&mut [u8]), expected: &str| {
        let error = with(|bytes| change(bytes)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    with(|_| ()).unwrap();
    let put = |at: usize, value: u64| {
        move |bytes: &mut [u8]| bytes[at..at + 8].copy_from_slice(&value.to_le_bytes())
    };
    says(&put(48, 5 * MIB), "it was cut off");
    says(&put(56, 1 << 60), "asks for a file of");
    says(&put(80, 64 * 1024), "in the headers or the log");
    says(&put(80, MIB + 4096), "in the headers or the log");
    says(&put(80, TARGET + 1), "not whole log sectors");
    says(&put(80, 4 * MIB), "beyond the end of the file");
    says(&put(88, 6), "belongs to another entry");
    says(&|bytes| bytes[64..68].copy_from_slice(b"what"), "unknown kind");
    says(&|bytes| bytes[4096..4100].copy_from_slice(b"what"), "a data sector belongs");
}

#[test]
fn a_zero_descriptor_makes_zeros_and_the_file_grows_to_what_the_log_says() {
    let (storage, headers) = file();
    storage.write_at(TARGET, &[9; 3 * SECTOR]).unwrap();
    let entry = Entry { tail: 0, sequence: 5, log: GUID, end: 4 * MIB };
    let mut bytes = entry.encode(&[(TARGET, vec![1; SECTOR])]);
    bytes[56..64].copy_from_slice(&(6 * MIB).to_le_bytes());
    bytes[64..68].copy_from_slice(b"zero");
    bytes[72..80].copy_from_slice(&8192u64.to_le_bytes());
    let sum = checksum(&bytes).to_le_bytes();
    bytes[4..8].copy_from_slice(&sum);
    storage.write_at(HEADER_SECTION, &bytes).unwrap();
    replay(&storage, &headers).unwrap();
    let mut found = vec![1; 3 * SECTOR];
    storage.read_at(TARGET, &mut found).unwrap();
    assert!(found[..8192].iter().all(|byte| *byte == 0) && found[8192..].iter().all(|b| *b == 9));
    assert_eq!(storage.size().unwrap(), 6 * MIB);
}
