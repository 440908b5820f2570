use super::{enabled, enabled_x2apic};
use crate::{Apic, Lvt, STATE_WORDS};
use proptest::prelude::*;

#[test]
fn saved_words_stand_in_the_documented_order() {
    let mut apic = enabled(2);
    apic.accept(0x21, true);
    apic.ack(0x21);
    apic.accept(0xff, false);
    let _ = apic.write_mmio(0x320, 0x2_00ec, 0);
    let _ = apic.write_mmio(0x3e0, 0xb, 0);
    let _ = apic.write_mmio(0x380, 1000, 0);
    let _ = apic.write_mmio(0x310, 1 << 24, 0);
    let _ = apic.write_mmio(0x300, 0xfd, 0);
    let state = apic.save(100);
    assert_eq!(state[0..5], [2 << 24, 0x0005_0014, 0, u32::MAX, 0x1ff]);
    assert_eq!((state[5 + 1], state[13 + 1], state[21 + 7]), (2, 2, 1 << 31));
    assert_eq!(state[29..32], [0, 1 << 24, 0xfd]);
    assert_eq!(
        state[32..39],
        [0x2_00ec, 0x1_0000, 0x1_0000, 0x1_0000, 0x1_0000, 0x1_0000, 0x1_0000]
    );
    assert_eq!(state[39..44], [0, 1000, 900, 0xb, 0]);
}

#[test]
fn lint_entries_of_a_fresh_vp_can_be_rewired() {
    let mut apic = Apic::new(0, true, true);
    let mut state = apic.save(0);
    (state[35], state[36]) = (0x700, 0x400);
    apic.restore(&state, 0);
    assert_eq!((apic.lvt(Lvt::Lint0), apic.lvt(Lvt::Lint1)), (0x700, 0x400));
    assert!(apic.accepts_pic());
}

#[test]
fn a_restored_timer_goes_on_from_its_count() {
    let mut apic = enabled(0);
    let _ = apic.write_mmio(0x3e0, 0xb, 0);
    let _ = apic.write_mmio(0x320, 0x2_0040, 0);
    let _ = apic.write_mmio(0x380, 1000, 0);
    let state = apic.save(400);
    let mut copy = enabled(0);
    copy.restore(&state, 5_000);
    assert_eq!(copy.timer_deadline(), Some(5_600));
    assert!(copy.expire_timer(5_600));
    assert_eq!(copy.timer_deadline(), Some(6_600));
}

proptest! {
    #[test]
    fn any_state_can_be_loaded_and_what_is_kept_is_stable(
        words in proptest::collection::vec(any::<u32>(), STATE_WORDS),
        now in 0..u64::MAX,
        x2apic in any::<bool>(),
    ) {
        let state: [u32; STATE_WORDS] = words.try_into().unwrap();
        let mut apic = if x2apic { enabled_x2apic(1) } else { enabled(1) };
        apic.restore(&state, now);
        let saved = apic.save(now);
        apic.restore(&saved, now);
        prop_assert_eq!(apic.save(now), saved);
        prop_assert_eq!(apic.highest_isr().unwrap_or(0), apic.isr().highest());
        prop_assert_eq!(saved[5] & 0xffff, 0);
        apic.expire_timer(u64::MAX);
    }
}
