//! Random work on every format, compared with a list of bytes, across reopening.

#![expect(missing_docs, reason = "tests")]

mod common;

use common::{Kind, open};
use disk::{Disk, MemStorage, Shrink};
use proptest::prelude::*;
use std::sync::Arc;

/// What is done to a disk.
#[derive(Debug, Clone)]
pub enum Op {
    Write { at: usize, len: usize, seed: u8 },
    Discard { at: usize, len: usize },
    Read { at: usize, len: usize },
    Resize { sectors: usize },
    Flush,
    Reopen,
}

/// Something to do.
fn random_op() -> impl Strategy<Value = Op> {
    let place = 0..3usize << 20;
    let len = prop_oneof![0usize..8192, 0usize..300_000, Just(2usize << 20)];
    prop_oneof![
        6 => (place.clone(), len.clone(), any::<u8>())
            .prop_map(|(at, len, seed)| Op::Write { at, len, seed }),
        3 => (place.clone(), len.clone()).prop_map(|(at, len)| Op::Discard { at, len }),
        3 => (place, len).prop_map(|(at, len)| Op::Read { at, len }),
        1 => (1usize..(8usize << 20) / 512).prop_map(|sectors| Op::Resize { sectors }),
        2 => Just(Op::Flush),
        1 => Just(Op::Reopen),
    ]
}

fn run(kind: Kind, ops: Vec<Op>) -> Result<(), TestCaseError> {
    let storage = Arc::new(MemStorage::new());
    let (mut model, mut disk) = kind.create(&storage);
    let sector = disk.sectors().logical as usize;
    for op in ops {
        match op {
            Op::Write { at, len, seed } => {
                let (at, len) = common::clamp(at, len, sector, model.len());
                let data = common::pattern(seed, len);
                disk.write_at(at as u64, &data).unwrap();
                model[at..at + len].copy_from_slice(&data);
            }
            Op::Discard { at, len } => {
                let (at, len) = common::clamp(at, len, sector, model.len());
                disk.discard(at as u64, len as u64).unwrap();
                model[at..at + len].fill(0);
            }
            Op::Read { at, len } => {
                let (at, len) = common::clamp(at, len, sector, model.len());
                let mut data = vec![0xEE; len];
                disk.read_at(at as u64, &mut data).unwrap();
                prop_assert!(data == model[at..at + len]);
            }
            Op::Resize { sectors } => {
                let size = sectors.max(1) * sector;
                if kind.can_resize_to(size) {
                    disk.resize(size as u64, Shrink::Allow).unwrap();
                    model.resize(size, 0);
                }
            }
            Op::Flush => disk.flush().unwrap(),
            Op::Reopen => {
                disk.close().unwrap();
                drop(disk);
                disk = open(kind, &storage);
            }
        }
    }
    prop_assert_eq!(disk.size(), model.len() as u64);
    let check = |disk: &dyn Disk| {
        let mut data = vec![0xEE; model.len()];
        disk.read_at(0, &mut data).unwrap();
        data == model
    };
    prop_assert!(check(&*disk));
    disk.close().unwrap();
    drop(disk);
    prop_assert!(check(&*open(kind, &storage)), "after reopening");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_format_holds_what_is_written(
        kind in prop::sample::select(Kind::ALL.to_vec()),
        ops in prop::collection::vec(random_op(), 1..40),
    ) {
        run(kind, ops)?;
    }
}
