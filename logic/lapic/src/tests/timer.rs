use super::enabled;
use crate::{Apic, Effect, msr};
use proptest::prelude::*;

const BY_1: u32 = 0xb;

fn started(mode: u32, divide: u32, count: u32, now: u64) -> Apic {
    let mut apic = enabled(0);
    let _ = apic.write_mmio(0x3e0, divide, now);
    let _ = apic.write_mmio(0x320, mode << 17 | 0x40, now);
    assert_eq!(apic.write_mmio(0x380, count, now), Effect::TimerChanged);
    apic
}

#[test]
fn one_shot_counts_down_and_fires_once() {
    let mut apic = started(0, BY_1, 1000, 50);
    assert_eq!(apic.read_mmio(0x390, 50), 1000);
    assert_eq!(apic.read_mmio(0x390, 51), 999);
    assert_eq!(apic.timer_deadline(), Some(1050));
    assert!(!apic.expire_timer(1049));
    assert!(apic.expire_timer(1050));
    assert_eq!((apic.pending(), apic.timer_deadline()), (Some(0x40), None));
    assert_eq!((apic.read_mmio(0x390, 1050), apic.read_mmio(0x380, 0)), (0, 1000));
    assert!(!apic.expire_timer(9999));
}

#[test]
fn the_divider_decodes_all_eight_codes() {
    for (code, by) in [(0, 2), (1, 4), (2, 8), (3, 16), (8, 32), (9, 64), (10, 128), (11, 1)] {
        assert_eq!(started(0, code, 10, 0).timer_deadline(), Some(10 * by), "{code}");
    }
}

#[test]
fn the_clock_shift_slows_counts_but_not_deadlines() {
    let mut apic = enabled(0).with_clock_shift(4);
    let _ = apic.write_mmio(0x3e0, BY_1, 0);
    let _ = apic.write_mmio(0x320, 0x40, 0);
    let _ = apic.write_mmio(0x380, 10, 0);
    assert_eq!(apic.timer_deadline(), Some(160));
    let _ = apic.write_mmio(0x320, 2 << 17 | 0x40, 0);
    assert_eq!(apic.write_msr(msr::TSC_DEADLINE, 77, 0), Ok(Effect::TimerChanged));
    assert_eq!(apic.timer_deadline(), Some(77));
}

#[test]
fn periods_stay_on_the_grid_and_missed_ones_coalesce() {
    let mut apic = started(1, BY_1, 100, 7);
    assert!(apic.expire_timer(110));
    assert_eq!(apic.timer_deadline(), Some(207));
    apic.ack_auto_eoi(0x40);
    assert!(apic.expire_timer(1000));
    assert_eq!(apic.timer_deadline(), Some(1007));
    assert_eq!(apic.read_mmio(0x390, 1000), 7);
    assert_eq!(apic.read_mmio(0x390, 1010), 97, "as if already reloaded");
}

#[test]
fn writing_zero_stops() {
    let mut apic = started(1, BY_1, 100, 0);
    let _ = apic.write_mmio(0x380, 0, 50);
    assert_eq!((apic.timer_deadline(), apic.read_mmio(0x390, 60)), (None, 0));
}

#[test]
fn a_masked_timer_counts_without_interrupting() {
    let mut apic = started(0, BY_1, 100, 0);
    let _ = apic.write_mmio(0x320, 0x1_0040, 10);
    assert_eq!((apic.timer_deadline(), apic.read_mmio(0x390, 20)), (None, 80));
    let _ = apic.write_mmio(0x320, 0x40, 30);
    assert_eq!(apic.timer_deadline(), Some(100));
    let _ = apic.write_mmio(0x320, 0x1_0040, 40);
    let _ = apic.write_mmio(0x320, 0x40, 200);
    assert_eq!(
        (apic.timer_deadline(), apic.pending()),
        (None, None),
        "it passed zero while masked"
    );
}

#[test]
fn masking_late_does_not_lose_an_expiry_that_was_due() {
    let mut apic = started(0, BY_1, 100, 0);
    let _ = apic.write_mmio(0x320, 0x1_0040, 150);
    assert_eq!(apic.pending(), Some(0x40));
}

#[test]
fn changing_the_divider_keeps_the_count() {
    let mut apic = started(0, BY_1, 100, 0);
    let _ = apic.write_mmio(0x3e0, 0, 40);
    assert_eq!((apic.read_mmio(0x390, 40), apic.timer_deadline()), (60, Some(160)));
}

#[test]
fn switching_between_one_shot_and_periodic_keeps_counting() {
    let mut apic = started(0, BY_1, 100, 0);
    let _ = apic.write_mmio(0x320, 1 << 17 | 0x40, 40);
    assert!(apic.expire_timer(100));
    assert_eq!(apic.timer_deadline(), Some(200));
}

#[test]
fn deadline_mode_has_its_own_register() {
    let mut apic = started(2, BY_1, 100, 0);
    assert_eq!(
        (apic.timer_deadline(), apic.read_mmio(0x380, 0)),
        (None, 0),
        "initial count is ignored"
    );
    assert_eq!(apic.write_msr(msr::TSC_DEADLINE, 500, 10), Ok(Effect::TimerChanged));
    assert_eq!((apic.read_msr(msr::TSC_DEADLINE, 20), apic.read_mmio(0x390, 20)), (Ok(500), 0));
    assert!(apic.expire_timer(500));
    assert_eq!(apic.read_msr(msr::TSC_DEADLINE, 500), Ok(0));
    apic.ack_auto_eoi(0x40);
    let _ = apic.write_msr(msr::TSC_DEADLINE, 100, 600);
    assert!(apic.expire_timer(600), "a deadline in the past is due at once");
    let _ = apic.write_msr(msr::TSC_DEADLINE, 900, 600);
    let _ = apic.write_msr(msr::TSC_DEADLINE, 0, 610);
    assert_eq!(apic.timer_deadline(), None);
    let _ = apic.write_msr(msr::TSC_DEADLINE, 900, 620);
    let _ = apic.write_mmio(0x320, 0x40, 630);
    assert_eq!(
        (apic.timer_deadline(), apic.read_msr(msr::TSC_DEADLINE, 640)),
        (None, Ok(0)),
        "mode change disarms"
    );
    let _ = apic.write_msr(msr::TSC_DEADLINE, 900, 650);
    assert_eq!(apic.timer_deadline(), None, "ignored in one-shot mode");
}

#[test]
fn an_illegal_timer_vector_is_an_error() {
    let mut apic = started(0, BY_1, 100, 0);
    let _ = apic.write_mmio(0x320, 5, 0);
    assert!(!apic.expire_timer(100));
    let _ = apic.write_mmio(0x280, 0, 0);
    assert_eq!(apic.read_mmio(0x280, 0), 0x40);
}

#[test]
fn times_at_the_end_of_the_clock_do_not_overflow() {
    let mut apic = enabled(0).with_clock_shift(200);
    let near = u64::MAX - 5;
    let _ = apic.write_mmio(0x3e0, 10, near);
    let _ = apic.write_mmio(0x320, 1 << 17 | 0x40, near);
    let _ = apic.write_mmio(0x380, u32::MAX, near);
    assert_eq!(apic.timer_deadline(), Some(u64::MAX));
    assert!(apic.expire_timer(u64::MAX));
}

proptest! {
    #[test]
    fn a_periodic_timer_never_drifts(count in 1u32..5000, divide in 0u32..16, start in 0u64..1 << 40,
                                     waits in proptest::collection::vec(0u64..1 << 20, 1..50)) {
        let mut apic = started(1, divide, count, start);
        let period = apic.timer_deadline().unwrap() - start;
        let mut now = start;
        for wait in waits {
            now += wait;
            let due = apic.timer_deadline().unwrap() <= now;
            prop_assert_eq!(apic.expire_timer(now), due);
            apic.ack_auto_eoi(0x40);
            let next = apic.timer_deadline().unwrap();
            prop_assert!(next > now && next - now <= period);
            prop_assert_eq!((next - start) % period, 0);
            let current = apic.read_mmio(0x390, now);
            prop_assert!(current >= 1 && current <= count);
        }
    }
}

#[test]
fn a_timer_that_is_put_off_keeps_its_count() {
    let mut apic = started(1, BY_1, 1000, 50);
    assert_eq!(apic.read_mmio(0x390, 250), 800);
    apic.postpone_timer(5000);
    assert_eq!((apic.read_mmio(0x390, 5250), apic.timer_deadline()), (800, Some(6050)));
    assert!(apic.expire_timer(6050));
    assert_eq!(apic.timer_deadline(), Some(7050));
    let mut idle = enabled(0);
    idle.postpone_timer(5000);
    assert_eq!(idle.timer_deadline(), None);
}
