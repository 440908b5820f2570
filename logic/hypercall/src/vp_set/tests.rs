use super::*;
use proptest::prelude::*;
extern crate std;
use std::collections::BTreeSet;
use std::vec::Vec;

fn words(banks: &[u64]) -> Vec<U64> {
    banks.iter().map(|&bank| U64::new(bank)).collect()
}

fn indices(set: &VpSet<'_>, vp_count: u32) -> Vec<u32> {
    set.iter(vp_count).map(|vp| vp.0).collect()
}

#[test]
fn a_sparse_set_names_vps_by_bank() {
    let banks = words(&[0b101, 1 << 63]);
    let set = VpSet::parse(VpSetFormat::SPARSE_4K, 0b1010, &banks).unwrap();
    assert_eq!(indices(&set, 4096), [64, 66, 255]);
    assert!(
        set.contains(VpIndex(66)) && !set.contains(VpIndex(2)) && !set.contains(VpIndex(u32::MAX))
    );
}

#[test]
fn vps_that_do_not_exist_are_left_out() {
    let banks = words(&[u64::MAX, u64::MAX]);
    let set = VpSet::parse(VpSetFormat::SPARSE_4K, 0b11, &banks).unwrap();
    assert_eq!(set.iter(66).count(), 66);
    assert_eq!(indices(&set, 2), [0, 1]);
    assert_eq!(indices(&set, 0), []);
    assert_eq!(indices(&VpSet::All, 3), [0, 1, 2]);
    assert_eq!(indices(&VpSet::Mask(0b1001), 64), [0, 3]);
    assert_eq!(indices(&VpSet::Mask(u64::MAX), 1000).len(), 64);
}

#[test]
fn the_highest_bank_is_reached() {
    let banks = words(&[1 << 63]);
    let set = VpSet::parse(VpSetFormat::SPARSE_4K, 1 << 63, &banks).unwrap();
    assert_eq!(indices(&set, 4096), [4095]);
    assert!(set.contains(VpIndex(4095)));
}

#[test]
fn banks_and_mask_must_agree() {
    let banks = words(&[1]);
    let refused = |mask| VpSet::parse(VpSetFormat::SPARSE_4K, mask, &banks).err();
    assert_eq!(refused(0), Some(HvStatus::INVALID_HYPERCALL_INPUT));
    assert_eq!(refused(0b11), Some(HvStatus::INVALID_HYPERCALL_INPUT));
    assert_eq!(refused(0b10), None);
    assert_eq!(
        VpSet::parse(VpSetFormat::ALL, 0, &banks).err(),
        Some(HvStatus::INVALID_HYPERCALL_INPUT)
    );
    assert!(VpSet::parse(VpSetFormat::ALL, 5, &[]).is_ok());
}

#[test]
fn an_unknown_format_is_an_invalid_parameter() {
    assert_eq!(VpSet::parse(VpSetFormat(2), 0, &[]).err(), Some(HvStatus::INVALID_PARAMETER));
}

#[test]
fn the_mask_may_be_part_of_the_variable_header() {
    let header = words(&[0b10, 1 << 5]);
    let set = VpSet::parse_with_mask(VpSetFormat::SPARSE_4K, &header).unwrap();
    assert_eq!(indices(&set, 4096), [69]);
    assert_eq!(
        VpSet::parse_with_mask(VpSetFormat::SPARSE_4K, &[]).err(),
        Some(HvStatus::INVALID_HYPERCALL_INPUT)
    );
}

#[test]
fn an_empty_set_is_allowed_and_known_as_such() {
    let set = VpSet::parse(VpSetFormat::SPARSE_4K, 0, &[]).unwrap();
    assert!(set.is_empty());
    assert_eq!(indices(&set, 4096), []);
    let zeros = words(&[0, 0]);
    assert!(VpSet::parse(VpSetFormat::SPARSE_4K, 3, &zeros).unwrap().is_empty());
    assert!(!VpSet::All.is_empty() && VpSet::Mask(0).is_empty());
}

proptest! {
    #[test]
    fn iteration_and_membership_agree_with_the_bits(named: BTreeSet<u16>, vp_count in 0u32..5000) {
        let named: BTreeSet<u32> = named.into_iter().map(|vp| u32::from(vp) % 4096).collect();
        let mut mask = 0u64;
        let mut banks = std::collections::BTreeMap::<u32, u64>::new();
        for vp in &named {
            mask |= 1 << (vp / 64);
            *banks.entry(vp / 64).or_default() |= 1 << (vp % 64);
        }
        let banks = words(&banks.into_values().collect::<Vec<_>>());
        let set = VpSet::parse(VpSetFormat::SPARSE_4K, mask, &banks).unwrap();
        let expected: Vec<u32> = named.iter().copied().filter(|vp| *vp < vp_count).collect();
        prop_assert_eq!(indices(&set, vp_count), expected);
        prop_assert!((0..4096).all(|vp| set.contains(VpIndex(vp)) == named.contains(&vp)));
    }

    #[test]
    fn no_set_makes_more_steps_than_there_are_vps(format in 0u64..3, mask: u64, banks: Vec<u64>, vp_count: u16) {
        let banks = words(&banks);
        if let Ok(set) = VpSet::parse(VpSetFormat(format), mask, &banks) {
            prop_assert!(set.iter(vp_count.into()).count() <= usize::from(vp_count));
        }
    }
}
