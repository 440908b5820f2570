//! Power fails at every moment: the disk opens, and has everything that was flushed.
//!
//! What reaches the storage is recorded. For every place in that record a file is made as a power loss there would
//! leave it: everything up to the last flush, and of what came after it nothing, all, all but a torn last write, or any
//! sectors of any writes.
#![expect(missing_docs, reason = "tests")]

mod common;

use common::{Kind, clamp, open, pattern, try_open};
use disk::{Disk, Event, Extent, MemStorage, Place, Shrink, Storage};
use proptest::prelude::*;
use std::ops::Range;
use std::sync::Arc;

const SECTOR: usize = 512;

/// What is done to a disk.
#[derive(Debug, Clone)]
pub enum Op {
    Write {
        at: usize,
        len: usize,
        seed: u8,
    },
    /// A write with a flush between the mapping and the data.
    Late {
        at: usize,
        len: usize,
        seed: u8,
    },
    Discard {
        at: usize,
        len: usize,
    },
    Flush,
    Reopen,
}

/// What an operation changed, and which part of the record is its.
struct Step {
    events: Range<usize>,
    change: Option<(usize, Vec<u8>)>,
    /// Whether everything before it is stable at its end.
    flush: bool,
}

struct Recorder {
    kind: Kind,
    storage: Arc<MemStorage>,
    disk: Option<Box<dyn Disk>>,
    steps: Vec<Step>,
}

impl Recorder {
    fn disk(&self) -> &dyn Disk {
        self.disk.as_deref().unwrap()
    }

    fn step(
        &mut self,
        change: Option<(usize, Vec<u8>)>,
        flush: bool,
        work: impl FnOnce(&dyn Disk),
    ) {
        let start = self.storage.event_count();
        work(self.disk());
        let events = start..self.storage.event_count();
        self.steps.push(Step { events, change, flush });
    }

    fn run(&mut self, op: Op) {
        let size = self.disk().size() as usize;
        let sector = self.disk().sectors().logical as usize;
        match op {
            Op::Write { at, len, seed } => {
                let (at, len) = clamp(at, len, sector, size);
                let data = pattern(seed, len);
                self.step(Some((at, data.clone())), false, |disk| {
                    disk.write_at(at as u64, &data).unwrap();
                });
            }
            Op::Late { at, len, seed } => {
                let (at, len) = clamp(at, len, sector, size);
                let data = pattern(seed, len);
                let mut extents = Vec::new();
                let ticket = self.disk().map_write(at as u64, len as u64, &mut extents).unwrap();
                self.step(None, true, |disk| disk.flush().unwrap());
                let storage = Arc::clone(&self.storage);
                self.step(Some((at, data.clone())), false, |disk| {
                    write_extents(&storage, &extents, &data);
                    disk.complete(ticket).unwrap();
                });
            }
            Op::Discard { at, len } => {
                let (at, len) = clamp(at, len, sector, size);
                self.step(Some((at, vec![0; len])), false, |disk| {
                    disk.discard(at as u64, len as u64).unwrap();
                });
            }
            Op::Flush => self.step(None, true, |disk| disk.flush().unwrap()),
            Op::Reopen => {
                self.step(None, true, |disk| disk.close().unwrap());
                self.disk = None;
                self.disk = Some(open(self.kind, &self.storage));
            }
        }
    }
}

fn write_extents(storage: &MemStorage, extents: &[Extent], data: &[u8]) {
    let mut rest = data;
    for extent in extents {
        let (now, later) = rest.split_at(extent.len as usize);
        let Place::File { file: 0, offset } = extent.place else { panic!("{extent:?}") };
        storage.write_at(offset, now).unwrap();
        rest = later;
    }
}

/// A small generator: what a power loss takes need not be unpredictable, only varied.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 & 0x100 != 0
    }
}

/// How much of what was not flushed a power loss leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    Nothing,
    TornLast,
    Everything,
    Any,
}

fn apply_some(storage: &MemStorage, event: &Event, dice: &mut Dice) {
    match event {
        Event::Write { offset, data } => {
            let mut at = 0;
            while at < data.len() {
                let to_sector = SECTOR - (*offset as usize + at) % SECTOR;
                let end = (at + to_sector).min(data.len());
                if dice.roll() {
                    let data = data[at..end].to_vec();
                    storage.apply(&Event::Write { offset: offset + at as u64, data });
                }
                at = end;
            }
        }
        Event::Zero { offset, len } => {
            let sector = SECTOR as u64;
            for at in (*offset..offset + len).step_by(SECTOR * 16) {
                if dice.roll() {
                    let len = (sector * 16).min(offset + len - at);
                    storage.apply(&Event::Zero { offset: at, len });
                }
            }
        }
        event if dice.roll() => storage.apply(event),
        _ => {}
    }
}

fn after_loss(stable: &MemStorage, pending: &[Event], loss: Loss, dice: &mut Dice) -> MemStorage {
    let storage = stable.copy();
    match loss {
        Loss::Everything => {}
        Loss::Nothing => pending.iter().for_each(|event| storage.apply(event)),
        Loss::Any => pending.iter().for_each(|event| apply_some(&storage, event, dice)),
        Loss::TornLast => {
            if let Some((last, rest)) = pending.split_last() {
                rest.iter().for_each(|event| storage.apply(event));
                apply_some(&storage, last, dice);
            }
        }
    }
    storage
}

/// Whether what is on the disk can be there after a power loss at this place of the record.
fn check(found: &[u8], first: &[u8], steps: &[Step], cut: usize) -> Result<(), String> {
    let flushed = steps.iter().rposition(|step| step.flush && step.events.end <= cut);
    let (stable, later) = steps.split_at(flushed.map_or(0, |at| at + 1));
    let mut expected = first.to_vec();
    for (at, data) in stable.iter().filter_map(|step| step.change.as_ref()) {
        expected[*at..at + data.len()].copy_from_slice(data);
    }
    let begun = later.iter().filter(|step| step.events.start < cut);
    let maybe: Vec<_> = begun.filter_map(|step| step.change.as_ref()).collect();
    for at in (0..found.len()).step_by(SECTOR) {
        let sector = &found[at..at + SECTOR];
        let is_maybe = |(start, data): &&(usize, Vec<u8>)| {
            at.checked_sub(*start).and_then(|from| data.get(from..from + SECTOR)) == Some(sector)
        };
        if sector != &expected[at..at + SECTOR] && !maybe.iter().any(is_maybe) {
            return Err(format!(
                "sector at {at:#x} is {:#x}…, flushed was {:#x}…, and {} writes were under way",
                sector[0],
                expected[at],
                maybe.len()
            ));
        }
    }
    Ok(())
}

fn read_all(disk: &dyn Disk) -> Vec<u8> {
    let mut data = vec![0xEE; disk.size() as usize];
    disk.read_at(0, &mut data).unwrap();
    data
}

fn survives(kind: Kind, ops: Vec<Op>, seed: u64) -> Result<(), TestCaseError> {
    let storage = Arc::new(MemStorage::new());
    let (first, disk) = kind.create(&storage);
    let stable = storage.copy();
    storage.record();
    let mut recorder =
        Recorder { kind, storage: Arc::clone(&storage), disk: Some(disk), steps: Vec::new() };
    ops.into_iter().for_each(|op| recorder.run(op));
    recorder.run(Op::Reopen);
    let (events, steps) = (storage.events(), recorder.steps);
    let mut dice = Dice(seed | 1);
    let mut flushed = 0;
    for cut in 0..=events.len() {
        if cut > 0 && events[cut - 1] == Event::Flush {
            events[flushed..cut].iter().for_each(|event| stable.apply(event));
            flushed = cut;
        }
        let pending = &events[flushed..cut];
        for loss in [Loss::Nothing, Loss::TornLast, Loss::Everything, Loss::Any] {
            if pending.is_empty() && loss != Loss::Nothing {
                continue;
            }
            let left = Arc::new(after_loss(&stable, pending, loss, &mut dice));
            let place = format!("{kind:?}: {loss:?} at {cut} of {}", events.len());
            let disk = try_open(kind, left.clone())
                .map_err(|error| TestCaseError::fail(format!("{place}: {error}")))?;
            let found = read_all(&*disk);
            check(&found, &first, &steps, cut)
                .map_err(|reason| TestCaseError::fail(format!("{place}: {reason}")))?;
            works_on(kind, &left, disk, found);
        }
    }
    Ok(())
}

/// The disk that was left can be used as if nothing had been.
fn works_on(kind: Kind, storage: &Arc<MemStorage>, disk: Box<dyn Disk>, mut found: Vec<u8>) {
    let data = pattern(77, 8192);
    let at = found.len() / 2 / 4096 * 4096;
    disk.write_at(at as u64, &data).unwrap();
    disk.flush().unwrap();
    found[at..at + data.len()].copy_from_slice(&data);
    // Without closing: power fails again.
    let left = Arc::new(storage.copy());
    assert!(read_all(&*open(kind, &left)) == found);
}

fn op() -> impl Strategy<Value = Op> {
    let place = 0usize..3 << 20;
    let len = prop_oneof![512usize..8192, 0usize..150_000];
    prop_oneof![
        5 => (place.clone(), len.clone(), any::<u8>())
            .prop_map(|(at, len, seed)| Op::Write { at, len, seed }),
        1 => (place.clone(), len.clone(), any::<u8>())
            .prop_map(|(at, len, seed)| Op::Late { at, len, seed }),
        2 => (place, prop_oneof![len, Just(1usize << 20), Just(2usize << 20)])
            .prop_map(|(at, len)| Op::Discard { at: at / 65_536 * 65_536, len }),
        3 => Just(Op::Flush),
        1 => Just(Op::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_dynamic_vhd_survives(ops in prop::collection::vec(op(), 1..14), seed: u64) {
        survives(Kind::VhdDynamic, ops, seed)?;
    }

    #[test]
    fn a_differencing_vhd_survives(ops in prop::collection::vec(op(), 1..14), seed: u64) {
        survives(Kind::VhdDifferencing, ops, seed)?;
    }

    #[test]
    fn a_dynamic_vhdx_survives(ops in prop::collection::vec(op(), 1..14), seed: u64) {
        survives(Kind::VhdxDynamic, ops, seed)?;
    }

    #[test]
    fn a_differencing_vhdx_survives(ops in prop::collection::vec(op(), 1..14), seed: u64) {
        survives(Kind::VhdxDifferencing, ops, seed)?;
    }
}

#[test]
fn room_of_a_discarded_block_is_not_given_away_before_that_is_stable() {
    for kind in [Kind::VhdDynamic, Kind::VhdxDynamic, Kind::VhdxDifferencing] {
        let write = |at, seed| Op::Write { at, len: 8192, seed };
        let discard = Op::Discard { at: 0, len: 1 << 20 };
        let ops = vec![write(0, 1), Op::Flush, discard, write(1 << 20, 2), Op::Flush, write(0, 3)];
        survives(kind, ops, 5).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// After a power loss during a resize, the disk has the old size or the new, and its content.
fn resize_survives(kind: Kind, to: usize) {
    let storage = Arc::new(MemStorage::new());
    let (mut model, disk) = kind.create(&storage);
    let data = pattern(3, model.len());
    disk.write_at(0, &data).unwrap();
    disk.flush().unwrap();
    model.copy_from_slice(&data);
    let stable = storage.copy();
    storage.record();
    disk.resize(to as u64, Shrink::Allow).unwrap();
    disk.close().unwrap();
    let events = storage.events();
    let (mut dice, mut flushed) = (Dice(99), 0);
    for cut in 0..=events.len() {
        if cut > 0 && events[cut - 1] == Event::Flush {
            events[flushed..cut].iter().for_each(|event| stable.apply(event));
            flushed = cut;
        }
        for loss in [Loss::Nothing, Loss::TornLast, Loss::Everything, Loss::Any, Loss::Any] {
            let left = after_loss(&stable, &events[flushed..cut], loss, &mut dice);
            let place = format!("{kind:?} to {to}: {loss:?} at {cut} of {}", events.len());
            let disk = try_open(kind, Arc::new(left)).unwrap_or_else(|e| panic!("{place}: {e}"));
            let size = disk.size() as usize;
            assert!([model.len(), to].contains(&size), "{place}: {size}");
            let kept = model.len().min(size);
            let mut found = vec![0xEE; size.min(model.len() + (4 << 20))];
            disk.read_at(0, &mut found).unwrap();
            assert!(found[..kept] == model[..kept], "{place}");
            assert!(found[kept..].iter().all(|byte| *byte == 0), "{place}");
            let mut last = [0xEE; SECTOR];
            disk.read_at((size - SECTOR) as u64, &mut last).unwrap();
            assert!(size <= model.len() || last == [0; SECTOR], "{place}");
        }
    }
}

#[test]
fn a_resize_is_done_or_not() {
    for (kind, much) in [(Kind::VhdDynamic, 64 << 20), (Kind::VhdxDynamic, 200 << 30)] {
        let size = kind.size();
        // Little, more, so much that the table has to move, and less.
        for to in [size + 512, size + (1 << 20), much, size / 2 / 512 * 512 + 512] {
            resize_survives(kind, to);
        }
    }
}
