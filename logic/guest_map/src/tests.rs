extern crate std;

use crate::{
    AMD_NESTED, Access, AccessRequest, Fault, GuestMap, INTEL_EXTENDED, MapRequest, Step,
    UnmapRequest,
};
use hvdef::hypercall::memory::{
    AccessStateFlags, GetGpaPagesAccessStates, MapGpaFlags, MapGpaPages, UnmapGpaFlags,
    UnmapGpaPages,
};
use hvdef::message::MessageType;
use hvdef::{Gpa, Gpn, HvStatus, PartitionId, Spa};
use page_table::Frames;
use proptest::prelude::*;
use std::collections::HashMap;
use std::vec::Vec;

const K4: u64 = 4 << 10;
const M2: u64 = 2 << 20;
const G1: u64 = 1 << 30;

/// Deposited pages: `left` is what the pool still has.
struct Pool {
    tables: HashMap<u64, [u64; 512]>,
    next: u64,
    left: usize,
}

impl Frames for Pool {
    fn alloc(&mut self) -> Option<u64> {
        self.left = self.left.checked_sub(1)?;
        self.next += K4;
        self.tables.insert(self.next, [0; 512]);
        Some(self.next)
    }
    fn free(&mut self, table: u64) {
        assert!(self.tables.remove(&table).is_some());
        self.left += 1;
    }
    fn read(&self, table: u64, index: usize) -> u64 {
        self.tables[&table][index]
    }
    fn write(&mut self, table: u64, index: usize, entry: u64) {
        self.tables.get_mut(&table).unwrap()[index] = entry;
    }
}

struct Fixture {
    pool: Pool,
    map: GuestMap,
}

fn ram() -> MapGpaFlags {
    MapGpaFlags::new()
        .with_readable(true)
        .with_writable(true)
        .with_kernel_executable(true)
        .with_user_executable(true)
        .with_adjustable(true)
}

fn no_access() -> MapGpaFlags {
    MapGpaFlags::new().with_no_access(true)
}

fn input(gpa: u64, flags: MapGpaFlags) -> MapGpaPages {
    let padding = 0xDEAD_BEEF;
    MapGpaPages { target_partition_id: PartitionId(2), target_base: Gpn(gpa / K4), flags, padding }
}

impl Fixture {
    fn new(pages: usize) -> Self {
        let mut pool = Pool { tables: HashMap::new(), next: 1 << 40, left: pages };
        let map = GuestMap::new(&mut pool, AMD_NESTED, 40).unwrap();
        Self { pool, map }
    }

    /// A call with all its continuations, as the hypercall layer would make it.
    fn run(&mut self, count: u32, mut step: impl FnMut(&GuestMap, &mut Pool, u32) -> Step) -> Step {
        let mut total = Step { reps: 0, status: HvStatus::SUCCESS, flush: false };
        while total.reps < count && total.status == HvStatus::SUCCESS {
            let done = step(&self.map, &mut self.pool, total.reps);
            assert!(done.reps != 0 || done.status != HvStatus::SUCCESS, "no progress");
            total = Step { reps: total.reps + done.reps, flush: total.flush | done.flush, ..done };
        }
        total
    }

    fn map(&mut self, gpa: u64, spa: u64, count: u32, flags: MapGpaFlags) -> Step {
        let request = MapRequest::parse(&input(gpa, flags), count, self.map.limit()).unwrap();
        let unit = request.unit();
        self.run(count, |map, pool, from| {
            map.map(pool, &request, from, |rep| Some(Spa(spa + u64::from(rep) * unit)))
        })
    }

    fn unmap(&mut self, gpa: u64, count: u32, large: bool) -> Step {
        let flags = UnmapGpaFlags::new().with_large_page(large);
        let input = UnmapGpaPages {
            target_partition_id: PartitionId(2),
            target_base: Gpn(gpa / K4),
            flags,
            padding: 7,
        };
        let request = UnmapRequest::parse(&input, count, self.map.limit()).unwrap();
        self.run(count, |map, pool, from| map.unmap(pool, &request, from))
    }

    fn read(&self, gpa: u64) -> Result<Spa, Fault> {
        self.map.translate(&self.pool, Gpa(gpa), Access::Read)
    }

    fn write(&self, gpa: u64) -> Result<Spa, Fault> {
        self.map.translate(&self.pool, Gpa(gpa), Access::Write)
    }
}

#[test]
fn three_states_give_three_answers() {
    let mut f = Fixture::new(100);
    f.map(0, 0, 4, no_access());
    f.map(K4, 5 * K4, 1, ram());
    assert_eq!(f.read(0), Err(Fault::Denied));
    assert_eq!(f.read(K4 + 9), Ok(Spa(5 * K4 + 9)));
    assert_eq!(f.read(4 * K4), Err(Fault::Unmapped));
    assert_eq!(Fault::Denied.message(), MessageType::GPA_INTERCEPT);
    assert_eq!(Fault::Unmapped.message(), MessageType::UNMAPPED_GPA);
}

#[test]
fn rights_are_what_was_asked_for_in_both_formats() {
    for slat in [AMD_NESTED, INTEL_EXTENDED] {
        let mut f = Fixture::new(100);
        f.map = GuestMap::new(&mut f.pool, slat, 40).unwrap();
        let read = MapGpaFlags::new().with_readable(true);
        let cases = [
            read,
            read.with_writable(true),
            read.with_kernel_executable(true).with_user_executable(true),
        ];
        for (i, flags) in cases.into_iter().enumerate() {
            f.map(i as u64 * K4, 0, 1, flags);
        }
        let allowed = |page: u64, access| f.map.translate(&f.pool, Gpa(page * K4), access).is_ok();
        let table: Vec<[bool; 3]> = (0..3)
            .map(|page| {
                [Access::Read, Access::Write, Access::Execute].map(|access| allowed(page, access))
            })
            .collect();
        assert_eq!(table, [[true, false, false], [true, true, false], [true, false, true]]);
    }
}

#[test]
fn announcing_a_gib_costs_hardly_any_memory_and_no_flush() {
    let mut f = Fixture::new(4);
    for first in (0..G1 / K4).step_by(509) {
        let count = 509.min(G1 / K4 - first) as u32;
        let step = f.map(first * K4, 0, count, no_access());
        assert_eq!((step.reps, step.status), (count, HvStatus::SUCCESS));
    }
    assert_eq!(f.pool.tables.len(), 2);
    assert_eq!(f.read(G1 - 1), Err(Fault::Denied));
    assert_eq!(f.read(G1), Err(Fault::Unmapped));
}

#[test]
fn missing_memory_stops_at_a_repetition_and_a_deposit_continues() {
    let mut f = Fixture::new(4);
    let request = MapRequest::parse(&input(M2 - 2 * K4, ram()), 6, f.map.limit()).unwrap();
    let source = |rep: u32| Some(Spa(u64::from(rep) * K4));
    let step = f.map.map(&mut f.pool, &request, 0, source);
    assert_eq!(step, Step { reps: 2, status: HvStatus::INSUFFICIENT_MEMORY, flush: false });
    f.pool.left += 1;
    let step = f.map.map(&mut f.pool, &request, 2, source);
    assert_eq!(step, Step { reps: 4, status: HvStatus::SUCCESS, flush: false });
    assert_eq!(f.read(M2 + 3 * K4), Ok(Spa(5 * K4)));
}

#[test]
fn a_source_that_is_not_the_callers_stops_there() {
    let mut f = Fixture::new(100);
    let request = MapRequest::parse(&input(0, ram()), 4, f.map.limit()).unwrap();
    let step =
        f.map.map(&mut f.pool, &request, 0, |rep| (rep < 3).then_some(Spa(u64::from(rep) * K4)));
    assert_eq!((step.reps, step.status), (3, HvStatus::INVALID_PARAMETER));
    assert_eq!(f.read(3 * K4), Err(Fault::Unmapped));
    // A large page whose source is not aligned is the caller's mistake as well.
    let large =
        MapRequest::parse(&input(0, ram().with_large_page(true)), 1, f.map.limit()).unwrap();
    let step = f.map.map(&mut f.pool, &large, 0, |_| Some(Spa(K4)));
    assert_eq!((step.reps, step.status), (0, HvStatus::INVALID_PARAMETER));
}

#[test]
fn only_taking_something_away_asks_for_a_flush() {
    let mut f = Fixture::new(100);
    assert!(!f.map(0, 0, 8, no_access()).flush);
    assert!(!f.map(0, 0, 8, ram()).flush);
    assert!(!f.map(0, 0, 8, ram()).flush, "the same once more");
    assert!(f.map(0, M2, 1, ram()).flush, "another page");
    assert!(f.map(K4, K4, 1, MapGpaFlags::new().with_readable(true)).flush, "less rights");
    assert!(f.map(2 * K4, 0, 1, no_access()).flush, "taken away");
    assert!(f.unmap(3 * K4, 1, false).flush);
    assert!(!f.unmap(3 * K4, 1, false).flush, "it was gone already");
    assert!(f.map(0, 0, 1, ram().with_large_page(true)).flush, "replaces a table");
}

#[test]
fn large_and_small_pages_replace_each_other() {
    let mut f = Fixture::new(100);
    let large = ram().with_large_page(true);
    f.map(0, 4 * M2, 2, large);
    assert_eq!(f.pool.tables.len(), 3, "no table for small pages");
    f.map(M2 + K4, 0, 1, no_access());
    assert_eq!(f.read(M2), Ok(Spa(5 * M2)));
    assert_eq!(f.read(M2 + K4), Err(Fault::Denied));
    assert_eq!(f.read(M2 + 2 * K4), Ok(Spa(5 * M2 + 2 * K4)));
    f.map(M2, 0, 1, no_access().with_large_page(true));
    assert_eq!(f.pool.tables.len(), 3);
    assert_eq!(f.read(2 * M2 - 1), Err(Fault::Denied));
    f.unmap(0, 2, true);
    assert_eq!(f.read(0), Err(Fault::Unmapped));
}

#[test]
fn long_calls_come_in_steps() {
    let mut f = Fixture::new(10_000);
    let request =
        MapRequest::parse(&input(0, ram().with_large_page(true)), 509, f.map.limit()).unwrap();
    let step = f.map.map(&mut f.pool, &request, 0, |rep| Some(Spa(u64::from(rep) * M2)));
    assert_eq!(step.reps, 64);
    assert_eq!(f.map.map(&mut f.pool, &request, 500, |_| Some(Spa(0))).reps, 9);
    assert_eq!(f.map.map(&mut f.pool, &request, 600, |_| Some(Spa(0))).reps, 0);
}

#[test]
fn bad_input_is_refused_and_garbage_in_padding_is_not() {
    let limit = Gpn(1 << 28);
    let parse =
        |gpa: u64, reps, flags| MapRequest::parse(&input(gpa, flags), reps, limit).map(|_| ());
    let bad = Err(HvStatus::INVALID_PARAMETER);
    assert_eq!(parse(0, 509, ram()), Ok(()));
    assert_eq!(parse((1 << 40) - K4, 1, ram()), Ok(()));
    assert_eq!(parse((1 << 40) - K4, 2, ram()), bad);
    assert_eq!(parse(u64::MAX, 509, ram()), bad);
    assert_eq!(parse(K4, 1, ram().with_large_page(true)), bad);
    assert_eq!(parse(0, 1, ram().with_user_executable(false)), bad);
    assert_eq!(parse(0, 1, ram().with_readable(false)), bad);
    assert_eq!(parse(0, 1, MapGpaFlags::from_bits(1 << 20 | 1)), bad);
    let huge = MapGpaPages { target_base: Gpn(u64::MAX), ..input(0, ram()) };
    assert_eq!(MapRequest::parse(&huge, 509, limit).map(|_| ()), bad);
    let flags = UnmapGpaFlags::from_bits(4);
    let unmap = UnmapGpaPages {
        target_partition_id: PartitionId(2),
        target_base: Gpn(0),
        flags,
        padding: 0,
    };
    assert_eq!(UnmapRequest::parse(&unmap, 1, limit).map(|_| ()), bad);
}

#[test]
fn addresses_beyond_the_limit_are_unmapped_and_do_not_wrap() {
    let mut f = Fixture::new(100);
    f.map(0, 0, 1, ram());
    for gpa in [1 << 40, 1 << 48, 1 << 52, 1 << 63, u64::MAX - K4] {
        assert_eq!(f.read(gpa), Err(Fault::Unmapped), "{gpa:#x}");
    }
    f.map.set_tracking(true);
    f.map.mark_dirty(&mut f.pool, Gpa(1 << 48));
}

fn states(
    f: &mut Fixture,
    base: u64,
    reps: u32,
    flags: AccessStateFlags,
) -> Result<Vec<u8>, HvStatus> {
    let input =
        GetGpaPagesAccessStates { partition_id: PartitionId(2), flags, base: Gpn(base / K4) };
    let request = AccessRequest::parse(&input, reps, &f.map)?;
    let mut all = Vec::new();
    for from in (0..reps).step_by(700) {
        f.map.access_states(&mut f.pool, &request, from, 700, |state| all.push(state.into_bits()));
    }
    Ok(all)
}

#[test]
fn dirty_pages_are_reported_once_and_only_while_tracking() {
    let mut f = Fixture::new(1000);
    let clear = AccessStateFlags::new().with_clear_dirty(true);
    let look = AccessStateFlags::new();
    f.map(0, 0, 16, ram().with_large_page(true));
    assert_eq!(states(&mut f, 0, 1, look), Err(HvStatus::INVALID_PARTITION_STATE));
    f.map.set_tracking(true);
    assert!(states(&mut f, 0, 8192, clear).unwrap().iter().all(|&state| state & 2 != 0));
    let (first, second) = (states(&mut f, 0, 8192, look), states(&mut f, 0, 8192, look));
    assert_eq!(first, second, "looking changes nothing");
    assert!(first.unwrap().iter().all(|&state| state & 2 == 0));
    f.map.mark_dirty(&mut f.pool, Gpa(5 * M2 + 7));
    let dirty =
        states(&mut f, 0, 8192, clear).unwrap().iter().filter(|&&state| state & 2 != 0).count();
    assert_eq!(dirty, 512, "one large page");
    let both = clear.with_set_dirty(true);
    assert_eq!(states(&mut f, 0, 1, both), Err(HvStatus::INVALID_PARAMETER));
    assert_eq!(states(&mut f, (1 << 40) - K4, 2, look), Err(HvStatus::INVALID_PARAMETER));
}

#[test]
fn memory_that_the_parent_takes_back_while_tracking_stays_dirty() {
    let mut f = Fixture::new(1000);
    f.map.set_tracking(true);
    f.map(0, 0, 512, ram());
    let clear = AccessStateFlags::new().with_clear_dirty(true);
    states(&mut f, 0, 512, clear).unwrap();
    f.map.mark_dirty(&mut f.pool, Gpa(9 * K4));
    f.map(0, 0, 512, no_access());
    f.map(9 * K4, 77 * K4, 1, ram());
    let all = states(&mut f, 0, 512, clear).unwrap();
    assert_eq!(all.iter().position(|&state| state & 2 != 0), Some(9));
    assert_eq!(all.iter().filter(|&&state| state & 2 != 0).count(), 1);
}

#[test]
fn teardown_returns_every_page() {
    let mut f = Fixture::new(1000);
    f.map(0, 0, 100, ram());
    f.map(M2 * 9, 0, 300, ram().with_large_page(true));
    f.map(G1 * 4, 0, 300, no_access());
    while !f.map.prune(&mut f.pool, 2) {}
    f.map.destroy(&mut f.pool);
    assert_eq!((f.pool.tables.len(), f.pool.left), (0, 1000));
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Page {
    Unmapped,
    NoAccess,
    Mapped { spa: u64, write: bool },
}

proptest! {
    #[test]
    fn every_page_is_what_the_last_call_made_it(
        ops in proptest::collection::vec((0u8..4, 0..1024u64, 1..600u32, 0..4096u64, any::<bool>()), 1..16),
    ) {
        let mut f = Fixture::new(100);
        let mut model = std::vec![Page::Unmapped; 2048];
        for (kind, page, count, target, large) in ops {
            let unit = if large { 512 } else { 1 };
            let (page, target) = (page / unit * unit, target / unit * unit);
            let count = count.min(((2048 - page) / unit) as u32);
            let flags = match kind {
                0 => no_access(),
                1 => MapGpaFlags::new().with_readable(true),
                _ => ram(),
            };
            let step = if kind == 3 {
                f.unmap(page * K4, count, large)
            } else {
                f.map(page * K4, target * K4, count, flags.with_large_page(large))
            };
            prop_assert_eq!((step.reps, step.status), (count, HvStatus::SUCCESS));
            for i in 0..u64::from(count) * unit {
                model[(page + i) as usize] = match kind {
                    0 => Page::NoAccess,
                    3 => Page::Unmapped,
                    _ => Page::Mapped { spa: target + i, write: kind == 2 },
                };
            }
        }
        for (page, expected) in model.into_iter().enumerate() {
            let gpa = page as u64 * K4;
            let found = match f.read(gpa) {
                Ok(Spa(spa)) => Page::Mapped { spa: spa / K4, write: f.write(gpa).is_ok() },
                Err(Fault::Denied) => Page::NoAccess,
                Err(Fault::Unmapped) => Page::Unmapped,
            };
            prop_assert_eq!(found, expected, "page {}", page);
        }
    }
}
