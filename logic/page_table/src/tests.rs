extern crate std;

use crate::{Frames, Leaf, NESTED, PageSize, Table, Truncated, flags};
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

/// The pages of a small window, so that operations meet each other.
const WINDOW: u64 = 3 * M2 / K4;

fn operations() -> impl Strategy<Value = Vec<(bool, u64, u64, u64, bool)>> {
    proptest::collection::vec(
        (any::<bool>(), 0..WINDOW, 0..WINDOW, 0..4 * WINDOW, any::<bool>()),
        1..24,
    )
}

proptest! {
    #[test]
    fn agrees_with_a_flat_model(ops in operations()) {
        let (mut heap, table) = fixture();
        let mut model: HashMap<u64, u64> = HashMap::new();
        for (map, page, count, target, large) in ops {
            let count = count.min(WINDOW - page);
            // Aligning most of them makes 2 MiB leaves likely.
            let (page, target) = if large { (page / 512 * 512, target / 512 * 512) } else { (page, target) };
            if map {
                table.map(&mut heap, page * K4, target * K4, count * K4, RW, PageSize::Huge).unwrap();
                model.extend((0..count).map(|i| (page + i, target + i)));
            } else {
                table.unmap(&mut heap, page * K4, count * K4).unwrap();
                (0..count).for_each(|i| { model.remove(&(page + i)); });
            }
        }
        for page in 0..WINDOW {
            let found = table.translate(&heap, page * K4).map(|leaf| leaf.address / K4);
            prop_assert_eq!(found, model.get(&page).copied());
        }
        table.destroy(&mut heap);
        prop_assert!(heap.pages.is_empty());
    }
}
