use super::*;
use proptest::prelude::*;
use std::vec::Vec;

const KINDS: [Kind; 6] =
    [Kind::Ram, Kind::AcpiReclaim, Kind::AcpiNvs, Kind::Persistent, Kind::Unusable, Kind::Reserved];

fn range(start: u64, end: u64) -> PhysRange {
    PhysRange::new(start, end)
}

fn map(claims: &[(u64, u64, Kind)]) -> MemoryMap {
    let mut map = MemoryMap::empty();
    for (start, end, kind) in claims {
        map.add(range(*start, *end), *kind).unwrap();
    }
    map
}

fn listed(map: &MemoryMap) -> Vec<(u64, u64, Kind)> {
    map.regions().iter().map(|region| (region.range.start, region.range.end, region.kind)).collect()
}

#[test]
fn the_stronger_claim_wins_whatever_the_order() {
    let expected = [(0, 4, Kind::Ram), (4, 6, Kind::Reserved), (6, 10, Kind::Ram)];
    assert_eq!(listed(&map(&[(0, 10, Kind::Ram), (4, 6, Kind::Reserved)])), expected);
    assert_eq!(listed(&map(&[(4, 6, Kind::Reserved), (0, 10, Kind::Ram)])), expected);
}

#[test]
fn neighbours_of_one_kind_are_merged_and_others_kept_apart() {
    let map =
        map(&[(8, 12, Kind::Ram), (0, 4, Kind::Ram), (4, 8, Kind::Ram), (12, 14, Kind::AcpiNvs)]);
    assert_eq!(listed(&map), [(0, 12, Kind::Ram), (12, 14, Kind::AcpiNvs)]);
}

#[test]
fn carving_takes_ram_and_only_ram() {
    let mut map = map(&[(0, 100, Kind::Ram), (100, 110, Kind::Reserved), (120, 130, Kind::Ram)]);
    map.carve(range(40, 60), Kind::Hypervisor).unwrap();
    map.carve(range(50, 55), Kind::Shared).unwrap();
    assert_eq!(
        map.carve(range(90, 101), Kind::Hypervisor),
        Err(CarveError::NotRam(range(90, 101)))
    );
    assert_eq!(
        map.carve(range(119, 121), Kind::Hypervisor),
        Err(CarveError::NotRam(range(119, 121)))
    );
    assert_eq!(map.total(Kind::Hypervisor), 15);
    assert_eq!(map.kind_at(52), Some(Kind::Shared));
    assert!(map.is_ram(range(0, 40)) && !map.is_ram(range(39, 41)) && !map.is_ram(range(110, 121)));
}

#[test]
fn a_map_of_too_many_regions_says_so() {
    let mut map = MemoryMap::empty();
    for index in 0..MemoryMap::MAX as u64 {
        map.add(range(index * 4, index * 4 + 2), Kind::Ram).unwrap();
    }
    assert_eq!(map.add(range(1 << 20, 2 << 20), Kind::Ram), Err(Full));
    assert_eq!(map.regions().len(), MemoryMap::MAX + 1);
}

#[test]
fn the_parents_cap_counts_ram_and_leaves_whole_pages() {
    let mut map = map(&[
        (0, 0x9000, Kind::Ram),
        (0x9000, 0x10000, Kind::Reserved),
        (0x10000, 0x90000, Kind::Ram),
    ]);
    map.withhold_above(0x9000 + 0x2800).unwrap();
    assert_eq!(map.total(Kind::Ram), 0x9000 + 0x2000);
    assert_eq!(map.total(Kind::Withheld), 0x80000 - 0x2000);
    assert_eq!(map.kind_at(0x11FFF), Some(Kind::Ram));
    assert_eq!(map.kind_at(0x12000), Some(Kind::Withheld));
    map.withhold_above(u64::MAX).unwrap();
    assert_eq!(map.total(Kind::Ram), 0x9000 + 0x2000);
}

#[test]
fn a_search_finds_the_end_it_wants() {
    let map = map(&[(0x1000, 0x9000, Kind::Ram), (0xA000, 0xF800, Kind::Ram)]);
    let search = |from, avoid: &[PhysRange], len, align| {
        map.find_free(&Search { len, align, within: range(0, u64::MAX), avoid, from })
    };
    assert_eq!(search(End::Bottom, &[], 0x1000, 0x1000), Some(range(0x1000, 0x2000)));
    assert_eq!(search(End::Top, &[], 0x1000, 0x1000), Some(range(0xE000, 0xF000)));
    assert_eq!(search(End::Bottom, &[], 0x4000, 0x4000), Some(range(0x4000, 0x8000)));
    let avoid = [range(0xE800, 0xE801), range(0xA000, 0xD001)];
    assert_eq!(search(End::Top, &avoid, 0x1000, 0x1000), Some(range(0x8000, 0x9000)));
    assert_eq!(search(End::Top, &[], 0x8001, 1), None);
    assert_eq!(search(End::Top, &[], 0, 1), None);
    assert_eq!(search(End::Top, &[], 1, 0), None);
}

#[test]
fn the_largest_gap_is_counted_in_whole_pages() {
    let map = map(&[(0x1800, 0x9000, Kind::Ram), (0xA000, 0xF000, Kind::Ram)]);
    let all = range(0, u64::MAX);
    assert_eq!(map.largest_free(all, &[]), 0x7000);
    assert_eq!(map.largest_free(all, &[range(0x3000, 0x4001)]), 0x5000);
    assert_eq!(map.largest_free(all, &[range(0, 0x10000)]), 0);
}

fn claims() -> impl Strategy<Value = Vec<(u64, u64, Kind)>> {
    let claim = (0_u64..64, 0_u64..16, 0..KINDS.len())
        .prop_map(|(start, len, kind)| (start, start + len, KINDS[kind]));
    proptest::collection::vec(claim, 0..24)
}

/// The same map, one unit at a time.
fn model(claims: &[(u64, u64, Kind)]) -> [Option<Kind>; 80] {
    let mut units = [None; 80];
    for (start, end, kind) in claims {
        for unit in &mut units[*start as usize..*end as usize] {
            *unit = (*unit).max(Some(*kind));
        }
    }
    units
}

proptest! {
    #[test]
    fn every_unit_has_its_strongest_claim(claims in claims()) {
        let map = map(&claims);
        for (unit, kind) in (0..).zip(model(&claims)) {
            prop_assert_eq!(map.kind_at(unit), kind, "{}", unit);
        }
        for pair in map.regions().windows(2) {
            prop_assert!(pair[0].range.end <= pair[1].range.start);
            prop_assert!(pair[0].range.end < pair[1].range.start || pair[0].kind != pair[1].kind);
        }
    }

    #[test]
    fn what_is_found_is_free_and_nothing_better_is(
        claims in claims(), len in 1_u64..12, shift in 0..3, low in 0_u64..40, high in 20_u64..80, top: bool,
        avoid in proptest::collection::vec((0_u64..64, 0_u64..10), 0..4),
    ) {
        let map = map(&claims);
        let avoid: Vec<_> = avoid.iter().map(|(start, len)| PhysRange::at(*start, *len)).collect();
        let (within, align) = (range(low, high), 1_u64 << shift);
        let free = |start: u64| {
            let place = PhysRange::at(start, len);
            start.is_multiple_of(align) && within.contains(place) && map.is_ram(place) && !avoid.iter().any(|a| a.overlaps(place))
        };
        let mut places = (0..80).filter(|start| free(*start));
        let expected = if top { places.next_back() } else { places.next() };
        let from = if top { End::Top } else { End::Bottom };
        let found = map.find_free(&Search { len, align, within, avoid: &avoid, from });
        prop_assert_eq!(found, expected.map(|start| PhysRange::at(start, len)));
    }

    #[test]
    fn the_cap_keeps_the_lowest_ram(claims in claims(), limit in 0_u64..64) {
        let scaled: Vec<_> = claims.iter().map(|(start, end, kind)| (start * PAGE, end * PAGE, *kind)).collect();
        let mut capped = map(&scaled);
        let before = capped.total(Kind::Ram);
        capped.withhold_above(limit * PAGE).unwrap();
        prop_assert_eq!(capped.total(Kind::Ram), before.min(limit * PAGE));
        prop_assert_eq!(capped.total(Kind::Ram) + capped.total(Kind::Withheld), before);
        let highest = capped.regions().iter().rfind(|region| region.kind == Kind::Ram);
        let withheld = capped.regions().iter().find(|region| region.kind == Kind::Withheld);
        if let (Some(highest), Some(withheld)) = (highest, withheld) {
            prop_assert!(highest.range.end <= withheld.range.start);
        }
    }

    #[test]
    fn claims_anywhere_never_panic(claims in proptest::collection::vec((any::<u64>(), any::<u64>(), 0_u32..9), 0..200)) {
        let mut map = MemoryMap::empty();
        for (start, len, kind) in claims {
            if map.add(PhysRange::at(start, len), Kind::from_e820(kind)).is_err() {
                break;
            }
        }
        let _ = map.withhold_above(1 << 40);
    }
}
