//! The host's disk is full, or fails, or several threads work at once: nothing that was flushed is lost.

mod common;

use common::{Kind, open, pattern, try_open};
use disk::{Disk, MemStorage, Storage};
use std::sync::Arc;

const SPARSE: [Kind; 5] = [
    Kind::VhdDynamic,
    Kind::VhdDifferencing,
    Kind::VhdxDynamic,
    Kind::VhdxDynamic4k,
    Kind::VhdxDifferencing,
];

fn read_all(disk: &dyn Disk) -> Vec<u8> {
    let mut data = vec![0xEE; disk.size() as usize];
    disk.read_at(0, &mut data).unwrap();
    data
}

#[test]
fn a_full_host_refuses_new_blocks_and_takes_them_when_there_is_room() {
    for kind in SPARSE {
        let storage = Arc::new(MemStorage::new());
        let (mut model, disk) = kind.create(&storage);
        let data = pattern(1, 8192);
        disk.write_at(0, &data).unwrap();
        model[..8192].copy_from_slice(&data);
        storage.set_limit(Some(storage.size().unwrap()));
        let far = model.len() / 2 / 4096 * 4096 + 8192;
        let error = disk.write_at(far as u64, &data).unwrap_err();
        assert!(error.is_out_of_space(), "{kind:?}: {error}");
        // What has room can be written, flushed and read.
        disk.write_at(4096, &data[..4096]).unwrap();
        model[4096..8192].copy_from_slice(&data[..4096]);
        disk.flush().unwrap();
        assert!(read_all(&*disk) == model, "{kind:?}");
        assert!(read_all(&*open(kind, &Arc::new(storage.copy()))) == model, "{kind:?}");
        storage.set_limit(None);
        disk.write_at(far as u64, &data).unwrap();
        model[far..far + 8192].copy_from_slice(&data);
        disk.close().unwrap();
        assert!(read_all(&*disk) == model, "{kind:?}");
        drop(disk);
        assert!(read_all(&*open(kind, &storage)) == model, "{kind:?}");
    }
}

#[test]
fn a_full_file_system_below_a_sparse_file_takes_what_has_room_and_its_notes() {
    for kind in SPARSE {
        let storage = Arc::new(MemStorage::new());
        storage.set_space(Some(u64::MAX));
        let (mut model, disk) = kind.create(&storage);
        let data = pattern(1, 8192);
        disk.write_at(0, &data).unwrap();
        model[..8192].copy_from_slice(&data);
        storage.set_space(Some(storage.occupied()));
        let far = model.len() / 2 / 4096 * 4096 + 8192;
        let error = disk.write_at(far as u64, &data).unwrap_err();
        assert!(error.is_out_of_space(), "{kind:?}: {error}");
        // The block's entry, its bitmap, the log and what ends the file were never written before.
        disk.write_at(4096, &data[..4096]).unwrap();
        model[4096..8192].copy_from_slice(&data[..4096]);
        disk.flush().unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        assert!(read_all(&*open(kind, &Arc::new(storage.copy()))) == model, "{kind:?}");
        storage.set_space(None);
        disk.write_at(far as u64, &data).unwrap();
        model[far..far + 8192].copy_from_slice(&data);
        disk.close().unwrap();
        drop(disk);
        assert!(read_all(&*open(kind, &storage)) == model, "{kind:?}");
    }
}

/// Every sector has its old content or its new one; all new where the work was done.
fn check(found: &[u8], old: &[u8], new: &[u8], done: bool, place: &str) {
    for at in (0..found.len()).step_by(512) {
        let sector = at..at + 512;
        let found = &found[sector.clone()];
        let known = found == &new[sector.clone()] || (!done && found == &old[sector.clone()]);
        assert!(known, "{place}: sector at {at:#x} is {:#x}…", found[0]);
    }
}

#[test]
fn a_failure_of_the_host_at_any_moment_loses_nothing() {
    for kind in SPARSE {
        let base = Arc::new(MemStorage::new());
        let (mut old, disk) = kind.create(&base);
        let far = old.len() / 2 / 65_536 * 65_536;
        let data = pattern(1, 70_000 / 4096 * 4096);
        disk.write_at(0, &data).unwrap();
        disk.write_at(far as u64, &data).unwrap();
        old[..data.len()].copy_from_slice(&data);
        old[far..far + data.len()].copy_from_slice(&data);
        disk.close().unwrap();
        drop(disk);
        let mut new = old.clone();
        let fresh = pattern(99, 16_384);
        let (first, second) = (32_768, old.len() - 65_536 - 8192);
        let second = second / 4096 * 4096;
        for place in [first, second] {
            new[place..place + fresh.len()].copy_from_slice(&fresh);
        }
        new[far..far + 65_536].fill(0);

        let mut succeeded = false;
        for fuse in 0.. {
            let place = format!("{kind:?}, failing after {fuse}");
            let storage = Arc::new(base.copy());
            let disk = open(kind, &storage);
            storage.fail_after(Some(fuse));
            let work = || -> disk::Result<()> {
                disk.write_at(first as u64, &fresh)?;
                disk.write_at(second as u64, &fresh)?;
                disk.discard(far as u64, 65_536)?;
                disk.flush()
            };
            let result = work();
            check(&read_all(&*disk), &old, &new, result.is_ok(), &place);
            // Power fails.
            let left = Arc::new(storage.copy());
            check(&read_all(&*open(kind, &left)), &old, &new, result.is_ok(), &place);
            // Or the host's disk works again.
            storage.fail_after(None);
            work().unwrap_or_else(|error| panic!("{place}: {error}"));
            check(&read_all(&*disk), &new, &new, true, &place);
            let left = Arc::new(storage.copy());
            check(&read_all(&*open(kind, &left)), &new, &new, true, &place);
            disk.close().unwrap();
            drop(disk);
            check(&read_all(&*open(kind, &storage)), &new, &new, true, &place);
            if result.is_ok() {
                succeeded = fuse > 5;
                break;
            }
        }
        assert!(succeeded, "{kind:?}");
    }
}

#[test]
fn threads_that_work_at_once_do_not_disturb_each_other() {
    for kind in SPARSE {
        let storage = Arc::new(MemStorage::new());
        let (model, disk) = kind.create(&storage);
        let disk: &dyn Disk = &*disk;
        const UNIT: usize = 4096;
        let units = model.len() / UNIT;
        std::thread::scope(|scope| {
            for thread in 0..4usize {
                let model = &model;
                scope.spawn(move || work(disk, model, (thread, units), UNIT));
            }
            scope.spawn(move || (0..30).for_each(|_| disk.flush().unwrap()));
        });
        disk.close().unwrap();
        let left: Arc<dyn Storage> = Arc::new(storage.copy());
        assert!(read_all(&*try_open(kind, left).unwrap()) == read_all(disk), "{kind:?}");
    }
}

/// Every fourth unit is this thread's: it writes, discards and reads them, and knows what must be there.
fn work(disk: &dyn Disk, model: &[u8], (thread, units): (usize, usize), unit: usize) {
    let mut mine: Vec<Vec<u8>> = model.chunks_exact(unit).map(<[u8]>::to_vec).collect();
    let mut dice = 0x9E37_79B9_7F4A_7C15u64.wrapping_mul(thread as u64 + 1);
    for _ in 0..400 {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        let number = (dice >> 8) as usize % (units / 4) * 4 + thread;
        let (at, content) = ((number * unit) as u64, &mut mine[number]);
        match dice % 5 {
            0 | 1 => {
                *content = pattern(dice as u8, unit);
                disk.write_at(at, content).unwrap();
            }
            2 => {
                content.fill(0);
                disk.discard(at, unit as u64).unwrap();
            }
            _ => {
                let mut found = vec![0xEE; unit];
                disk.read_at(at, &mut found).unwrap();
                assert!(found == *content, "thread {thread}, unit {number}");
            }
        }
    }
}
