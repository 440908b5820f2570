extern crate std;

use crate::{
    AccessChange, AccessState, Change, EXTENDED, Format, Found, Frames, Leaf, NESTED, PageSize,
    Table, Truncated, flags,
};
use proptest::prelude::*;
use std::collections::HashMap;
use std::vec::Vec;

const RW: u64 = flags::PRESENT | flags::WRITE | flags::USER;
const K4: u64 = 4 << 10;
const M2: u64 = 2 << 20;
const G1: u64 = 1 << 30;

/// Table pages in a map, with a limit, so that leaks and exhaustion show.
struct Heap {
    pages: HashMap<u64, [u64; 512]>,
    next: u64,
    limit: usize,
}

impl Heap {
    fn new(limit: usize) -> Self {
        Self { pages: HashMap::new(), next: 0x1000, limit }
    }
}

impl Frames for Heap {
    fn alloc(&mut self) -> Option<u64> {
        if self.pages.len() == self.limit {
            return None;
        }
        let page = self.next;
        self.next += K4;
        self.pages.insert(page, [0; 512]);
        Some(page)
    }
    fn free(&mut self, table: u64) {
        assert!(self.pages.remove(&table).is_some(), "freed twice or never allocated");
    }
    fn read(&self, table: u64, index: usize) -> u64 {
        self.pages[&table][index]
    }
    fn write(&mut self, table: u64, index: usize, entry: u64) {
        self.pages.get_mut(&table).unwrap()[index] = entry;
    }
}

const FORMATS: [Format; 2] = [NESTED, EXTENDED];
const MARK: Change = Change::Mark { keep_dirty: false };
const MARK_TRACKED: Change = Change::Mark { keep_dirty: true };
const CLEAN: AccessChange = AccessChange { accessed: None, dirty: Some(false) };

fn map_tracked(output: u64) -> Change {
    Change::Map { output, flags: RW, largest: PageSize::Large, keep_dirty: true }
}

/// A processor writes to `input`.
fn touch(heap: &mut Heap, table: &Table, input: u64) {
    let slot = table.slot(heap, input);
    assert!(table.is_present(slot.entry));
    heap.update(slot.table, slot.index, 0, table.format.dirty | table.format.accessed);
}

/// Which of `pages` pages from `input` on are dirty; they are not any more.
fn harvest(heap: &mut Heap, table: &Table, input: u64, pages: u64) -> Vec<bool> {
    let mut dirty = Vec::new();
    table.access_states(heap, input, pages, CLEAN, |state| dirty.push(state.dirty));
    assert_eq!(dirty.len() as u64, pages);
    dirty
}

fn count(dirty: &[bool]) -> usize {
    dirty.iter().filter(|&&dirty| dirty).count()
}

fn fixture() -> (Heap, Table) {
    let mut heap = Heap::new(10_000);
    let table = Table::new(&mut heap, NESTED).unwrap();
    (heap, table)
}

#[test]
fn identity_map_uses_the_largest_leaves() {
    let (mut heap, table) = fixture();
    table.map(&mut heap, 0, 0, 4 * G1, RW, PageSize::Huge).unwrap();
    assert_eq!(heap.pages.len(), 2, "a root and one directory-pointer table");
    let leaf = table.translate(&heap, 3 * G1 + 5).unwrap();
    assert_eq!(leaf, Leaf { address: 3 * G1 + 5, flags: RW, size: PageSize::Huge });
}

#[test]
fn a_hole_splits_only_what_it_must() {
    let (mut heap, table) = fixture();
    table.map(&mut heap, 0, 0, 4 * G1, RW, PageSize::Huge).unwrap();
    table.unmap(&mut heap, 0xFEE0_0000, K4).unwrap();
    assert_eq!(heap.pages.len(), 4);
    assert_eq!(table.translate(&heap, 0xFEE0_0FFF), None);
    assert_eq!(table.translate(&heap, 0xFEE0_1000).unwrap().size, PageSize::Small);
    assert_eq!(table.translate(&heap, 0xFEC0_0000).unwrap().size, PageSize::Large);
    assert_eq!(table.translate(&heap, 0).unwrap().size, PageSize::Huge);
}

#[test]
fn a_large_leaf_over_small_ones_returns_their_table() {
    let (mut heap, table) = fixture();
    table.map(&mut heap, 0, M2, M2, RW, PageSize::Small).unwrap();
    assert_eq!(heap.pages.len(), 4);
    table.map(&mut heap, 0, M2, M2, RW, PageSize::Huge).unwrap();
    assert_eq!(heap.pages.len(), 3);
    assert_eq!(table.translate(&heap, 7).unwrap().address, M2 + 7);
}

#[test]
fn addresses_of_the_upper_half_are_taken_as_they_are() {
    let (mut heap, table) = fixture();
    let high = 0xFFFF_FFFF_8020_0000;
    table.map(&mut heap, high, M2, 3 * K4, RW, PageSize::Huge).unwrap();
    assert_eq!(table.translate(&heap, high + K4 + 1).unwrap().address, M2 + K4 + 1);
    table.unmap(&mut heap, high + K4, K4).unwrap();
    assert_eq!(table.translate(&heap, high + K4), None);
    assert!(table.translate(&heap, high + 2 * K4).is_some());
}

#[test]
fn running_out_of_frames_reports_what_is_done_and_keeps_the_rest() {
    let mut heap = Heap::new(4);
    let table = Table::new(&mut heap, NESTED).unwrap();
    let end = table.map(&mut heap, M2 - K4, 0, 3 * K4, RW, PageSize::Small);
    assert_eq!(end, Err(Truncated { done: K4 }));
    assert_eq!(table.translate(&heap, M2 - K4).unwrap().address, 0);
    assert_eq!(table.translate(&heap, M2), None);
}

#[test]
fn destroy_returns_every_page() {
    let (mut heap, table) = fixture();
    table.map(&mut heap, K4, K4, 3 * G1, RW, PageSize::Huge).unwrap();
    table.map(&mut heap, 1 << 40, 0, K4, RW, PageSize::Huge).unwrap();
    table.destroy(&mut heap);
    assert!(heap.pages.is_empty());
}

#[test]
fn marks_cover_any_range_with_hardly_any_tables() {
    let (mut heap, table) = fixture();
    // As Linux announces a region: 509 pages at a time.
    let (mut at, end) = (M2 * 3, 6 * G1);
    while at < end {
        let len = (509 * K4).min(end - at);
        table.change(&mut heap, at, len, MARK).unwrap();
        at += len;
    }
    assert_eq!(
        heap.pages.len(),
        3,
        "a root, a directory-pointer table, a directory for the first GiB"
    );
    assert_eq!(table.find(&heap, M2 * 3 - 1), Found::Empty);
    assert_eq!(table.find(&heap, M2 * 3), Found::Marked);
    assert_eq!(table.find(&heap, end - 1), Found::Marked);
    assert_eq!(table.find(&heap, end), Found::Empty);
}

#[test]
fn mapping_inside_a_mark_leaves_the_rest_marked() {
    for format in FORMATS {
        let mut heap = Heap::new(100);
        let table = Table::new(&mut heap, format).unwrap();
        table.change(&mut heap, 0, 2 * G1, MARK).unwrap();
        table.map(&mut heap, G1 + K4, 0, K4, RW, PageSize::Small).unwrap();
        assert_eq!(table.find(&heap, G1), Found::Marked);
        assert!(table.translate(&heap, G1 + K4).is_some());
        assert_eq!(table.find(&heap, G1 + 2 * K4), Found::Marked);
        assert_eq!(table.find(&heap, 2 * G1 - 1), Found::Marked);
        table.unmap(&mut heap, G1 + K4, K4).unwrap();
        assert_eq!(table.find(&heap, G1 + K4), Found::Empty);
        table.change(&mut heap, 0, 2 * G1, MARK).unwrap();
        assert_eq!(heap.pages.len(), 2);
    }
}

#[test]
fn a_table_that_becomes_empty_page_by_page_goes_back() {
    let (mut heap, table) = fixture();
    table.map(&mut heap, 0, 0, M2, RW, PageSize::Small).unwrap();
    (0..512).for_each(|page| table.unmap(&mut heap, page * K4, K4).unwrap());
    assert_eq!(heap.pages.len(), 3, "the directory has more entries than that one");
}

#[test]
fn writes_are_found_page_by_page_in_small_leaves() {
    let (mut heap, table) = fixture();
    table.map(&mut heap, 0, 0, M2, RW, PageSize::Small).unwrap();
    touch(&mut heap, &table, 7 * K4);
    touch(&mut heap, &table, 300 * K4 + 5);
    let dirty = harvest(&mut heap, &table, 0, 512);
    assert!(dirty[7] && dirty[300] && count(&dirty) == 2);
    assert_eq!(count(&harvest(&mut heap, &table, 0, 512)), 0);
}

#[test]
fn a_large_leaf_harvested_in_pieces_loses_nothing_and_ends_clean() {
    for format in FORMATS {
        let mut heap = Heap::new(100);
        let table = Table::new(&mut heap, format).unwrap();
        table.map(&mut heap, 0, 0, 4 * M2, RW, PageSize::Large).unwrap();
        (0..4).for_each(|i| touch(&mut heap, &table, i * M2));
        // 4 leaves in pieces of 100 pages, which end anywhere.
        let mut dirty = Vec::new();
        for start in (0..2048).step_by(100) {
            dirty.extend(harvest(&mut heap, &table, start * K4, 100.min(2048 - start)));
        }
        assert_eq!(count(&dirty), 2048, "a large leaf is dirty as a whole");
        assert_eq!(count(&harvest(&mut heap, &table, 0, 2048)), 0);
    }
}

#[test]
fn a_write_in_the_middle_of_a_harvest_is_seen_again() {
    let (mut heap, table) = fixture();
    table.map(&mut heap, 0, 0, M2, RW, PageSize::Large).unwrap();
    touch(&mut heap, &table, 0);
    assert_eq!(count(&harvest(&mut heap, &table, 0, 100)), 100);
    touch(&mut heap, &table, 0);
    assert_eq!(count(&harvest(&mut heap, &table, 100 * K4, 412)), 412);
    assert_eq!(count(&harvest(&mut heap, &table, 0, 100)), 100, "they were written again");
}

#[test]
fn splitting_a_half_harvested_leaf_keeps_each_pages_state() {
    let (mut heap, table) = fixture();
    table.map(&mut heap, 0, 0, M2, RW, PageSize::Large).unwrap();
    touch(&mut heap, &table, 0);
    harvest(&mut heap, &table, 0, 200);
    table.unmap(&mut heap, 511 * K4, K4).unwrap();
    let dirty = harvest(&mut heap, &table, 0, 512);
    assert!(!dirty[199] && dirty[200] && dirty[510] && !dirty[511]);
    assert_eq!(count(&dirty), 311);
}

#[test]
fn dirt_survives_being_taken_away_and_given_back() {
    let (mut heap, table) = fixture();
    table.map(&mut heap, 0, 0, 2 * M2, RW, PageSize::Large).unwrap();
    touch(&mut heap, &table, M2 + 5);
    table.change(&mut heap, 0, 2 * M2, MARK_TRACKED).unwrap();
    assert_eq!(table.find(&heap, M2), Found::Marked);
    table.change(&mut heap, M2 + 3 * K4, K4, map_tracked(0)).unwrap();
    let dirty = harvest(&mut heap, &table, 0, 1024);
    assert_eq!(count(&dirty), 512);
    assert!(dirty[512 + 3], "the new page holds the old content");
    assert_eq!(count(&harvest(&mut heap, &table, 0, 1024)), 0);
    table.change(&mut heap, 0, 2 * M2, MARK_TRACKED).unwrap();
    assert_eq!(count(&harvest(&mut heap, &table, 0, 1024)), 0);
}

#[test]
fn a_page_where_nothing_was_is_dirty_when_tracked() {
    let (mut heap, table) = fixture();
    table.change(&mut heap, 0, K4, map_tracked(0)).unwrap();
    assert_eq!(harvest(&mut heap, &table, 0, 2), [true, false]);
}

#[test]
fn clearing_asks_for_a_flush_only_if_something_was_set() {
    let (mut heap, table) = fixture();
    table.map(&mut heap, 0, 0, M2, RW, PageSize::Small).unwrap();
    assert!(!table.access_states(&mut heap, 0, 512, CLEAN, |_| ()));
    touch(&mut heap, &table, 5 * K4);
    assert!(table.access_states(&mut heap, 0, 512, CLEAN, |_| ()));
    let both = AccessChange { accessed: Some(true), dirty: Some(true) };
    assert!(!table.access_states(&mut heap, 0, 512, both, |_| ()));
    let mut all = Vec::new();
    table.access_states(&mut heap, 0, 512, AccessChange::default(), |state| all.push(state));
    assert!(all.iter().all(|&state| state == AccessState { accessed: true, dirty: true }));
}

#[test]
fn a_split_leaf_becomes_one_again_when_its_parts_agree() {
    for (format, largest, tables) in
        [(NESTED, PageSize::Huge, 2), (EXTENDED, PageSize::Huge, 2), (NESTED, PageSize::Large, 3)]
    {
        let mut heap = Heap::new(100);
        let table = Table::new(&mut heap, format).unwrap();
        table.map(&mut heap, 0, 0, G1, RW, largest).unwrap();
        assert_eq!(heap.pages.len(), tables);
        let map = |heap: &mut Heap, page: u64, flags| {
            table.map(heap, page * K4, page * K4, K4, flags, PageSize::Small).unwrap();
            table.fold(heap, page * K4, largest);
        };
        // Two pages in one leaf, one in another, with rights of their own.
        for page in [7, 511, 512] {
            map(&mut heap, page, flags::PRESENT);
        }
        assert_eq!(heap.pages.len(), 5, "both leaves are split");
        for page in [511, 512] {
            map(&mut heap, page, RW);
        }
        assert_eq!(heap.pages.len(), 4, "one still has a page that differs");
        map(&mut heap, 7, RW);
        assert_eq!(heap.pages.len(), tables);
        assert_eq!(table.translate(&heap, 5 * M2 + 9).unwrap().size, largest);
    }
}

#[test]
fn leaves_that_belong_elsewhere_or_differ_in_dirt_stay_apart() {
    let (mut heap, table) = fixture();
    table.map(&mut heap, 0, K4, M2, RW, PageSize::Small).unwrap();
    table.map(&mut heap, M2, 0, M2, RW, PageSize::Small).unwrap();
    table.map(&mut heap, 2 * M2, 0, M2 - K4, RW, PageSize::Small).unwrap();
    touch(&mut heap, &table, M2 + 3 * K4);
    let pages = heap.pages.len();
    (0..4).for_each(|leaf| table.fold(&mut heap, leaf * M2, PageSize::Huge));
    assert_eq!(heap.pages.len(), pages);
    assert_eq!(table.translate(&heap, 5).unwrap().address, K4 + 5);
    (0..512).for_each(|page| touch(&mut heap, &table, M2 + page * K4));
    table.fold(&mut heap, M2, PageSize::Huge);
    assert_eq!(heap.pages.len(), pages - 1, "now all of them are dirty");
    assert_eq!(count(&harvest(&mut heap, &table, M2, 512)), 512);
}

#[test]
fn pruning_in_steps_returns_every_page_but_the_root() {
    let (mut heap, table) = fixture();
    table.map(&mut heap, K4, K4, 3 * G1, RW, PageSize::Large).unwrap();
    table.map(&mut heap, 1 << 40, 0, K4, RW, PageSize::Huge).unwrap();
    table.change(&mut heap, 1 << 41, 1 << 40, MARK).unwrap();
    let mut steps = 0;
    while !table.prune(&mut heap, 2) {
        steps += 1;
    }
    assert!(steps > 3);
    assert_eq!(heap.pages.len(), 1);
    assert_eq!(table.find(&heap, 1 << 41), Found::Empty);
    table.destroy(&mut heap);
    assert!(heap.pages.is_empty());
}

/// The pages of a small window, so that operations meet each other.
const WINDOW: u64 = 3 * M2 / K4;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Flat {
    Empty,
    Marked,
    Mapped(u64),
}

fn operations() -> impl Strategy<Value = Vec<(u8, u64, u64, u64, bool)>> {
    proptest::collection::vec((0u8..3, 0..WINDOW, 0..WINDOW, 0..4 * WINDOW, any::<bool>()), 1..24)
}

proptest! {
    #[test]
    fn agrees_with_a_flat_model(ops in operations(), extended in any::<bool>(), fold in any::<bool>()) {
        let mut heap = Heap::new(10_000);
        let table = Table::new(&mut heap, FORMATS[usize::from(extended)]).unwrap();
        let mut model = [Flat::Empty; WINDOW as usize];
        for (kind, page, count, target, large) in ops {
            // Aligning most of them makes 2 MiB leaves likely.
            let (page, target) = if large { (page / 512 * 512, target / 512 * 512) } else { (page, target) };
            let count = count.min(WINDOW - page);
            let (change, flat): (_, fn(u64) -> Flat) = match kind {
                0 => (Change::Map { output: target * K4, flags: RW, largest: PageSize::Huge, keep_dirty: false }, Flat::Mapped),
                1 => (MARK, |_| Flat::Marked),
                _ => (Change::Unmap, |_| Flat::Empty),
            };
            table.change(&mut heap, page * K4, count * K4, change).unwrap();
            (0..count).for_each(|i| model[(page + i) as usize] = flat(target + i));
            if fold {
                table.fold(&mut heap, page * K4, PageSize::Huge);
            }
        }
        for (page, flat) in model.into_iter().enumerate() {
            let found = match table.find(&heap, page as u64 * K4) {
                Found::Leaf(leaf) => Flat::Mapped(leaf.address / K4),
                Found::Marked => Flat::Marked,
                Found::Empty => Flat::Empty,
            };
            prop_assert_eq!(found, flat);
        }
        while !table.prune(&mut heap, 1) {}
        prop_assert_eq!(heap.pages.len(), 1);
    }

    #[test]
    fn no_write_is_ever_lost(ops in proptest::collection::vec((0u8..5, 0..WINDOW, 1..WINDOW), 1..60)) {
        let (mut heap, table) = fixture();
        table.change(&mut heap, 0, WINDOW * K4, map_tracked(0)).unwrap();
        harvest(&mut heap, &table, 0, WINDOW);
        let mut written = [false; WINDOW as usize];
        for (kind, page, count) in ops {
            let count = count.min(WINDOW - page);
            let (start, len) = (page * K4, count * K4);
            match kind {
                0 | 1 if table.translate(&heap, start).is_some() => {
                    touch(&mut heap, &table, start);
                    written[page as usize] = true;
                }
                2 => table.change(&mut heap, start, len, MARK_TRACKED).unwrap(),
                3 => table.change(&mut heap, start, len, map_tracked(start)).unwrap(),
                _ => {
                    let dirty = harvest(&mut heap, &table, start, count);
                    for (i, dirty) in dirty.into_iter().enumerate() {
                        let written = &mut written[page as usize + i];
                        prop_assert!(dirty || !*written, "a write to page {} is lost", page as usize + i);
                        *written = false;
                    }
                }
            }
        }
        let dirty = harvest(&mut heap, &table, 0, WINDOW);
        prop_assert!(written.iter().zip(&dirty).all(|(written, dirty)| *dirty || !written));
        prop_assert_eq!(count(&harvest(&mut heap, &table, 0, WINDOW)), 0);
    }
}
