use super::*;
use crate::STIMER_STATE_WORDS;
use proptest::prelude::*;

const CONFIG: u32 = 0x4000_00b0;
const COUNT: u32 = 0x4000_00b1;
/// Linux: enabled, auto-enable, vector 0xED, direct.
const LINUX: u64 = 0x1ed9;
/// Auto-enable, SINT 2.
const MESSAGE: u64 = 0x2_0008;
const PERIODIC: u64 = 2;
const LAZY: u64 = 4;

fn timers(config: u64, count: u64, now: u64) -> Stimers {
    let mut timers = Stimers::new(true);
    timers.write_msr(CONFIG, config, now).unwrap();
    timers.write_msr(COUNT, count, now).unwrap();
    timers
}

const DIRECT: Actions = [Some(TimerAction::Direct { vector: 0xed }), None, None, None];
const NOTHING: Actions = [None; STIMER_COUNT];

fn message(expiration: u64, delivery: u64) -> Actions {
    [Some(TimerAction::Message { sint: 2, timer: 0, expiration, delivery }), None, None, None]
}

#[test]
fn linux_arms_by_count_alone_again_and_again() {
    let mut timers = timers(LINUX, 1000, 0);
    for round in 1..5u64 {
        timers.write_msr(COUNT, round * 1000, round * 1000 - 500).unwrap();
        assert_eq!(timers.next_expiry(), Some(round * 1000));
        assert_eq!(timers.expire(round * 1000 - 1), NOTHING);
        assert_eq!(timers.expire(round * 1000), DIRECT);
        assert_eq!((timers.next_expiry(), timers.read_msr(CONFIG)), (None, Ok(LINUX & !1)));
    }
}

#[test]
fn linux_shuts_down_by_zeros() {
    let mut timers = timers(LINUX, 1000, 0);
    timers.write_msr(COUNT, 0, 1).unwrap();
    assert_eq!((timers.next_expiry(), timers.read_msr(CONFIG)), (None, Ok(LINUX & !1)));
    timers.write_msr(CONFIG, 0, 2).unwrap();
    assert_eq!(timers.next_expiry(), None);
}

#[test]
fn a_time_in_the_past_expires_at_once() {
    let mut timers = timers(LINUX, 10, 5000);
    assert_eq!((timers.next_expiry(), timers.expire(5000)), (Some(10), DIRECT));
}

#[test]
fn without_auto_enable_the_enable_bit_starts() {
    let mut timers = timers(0x2_0000, 1000, 0);
    assert_eq!(timers.next_expiry(), None);
    timers.write_msr(CONFIG, 0x2_0001, 0).unwrap();
    assert_eq!(timers.next_expiry(), Some(1000));
    assert_eq!(timers.expire(1500), message(1000, 1500));
}

#[test]
fn an_enabled_timer_waits_for_a_count() {
    let mut timers = Stimers::new(true);
    timers.write_msr(CONFIG, 0x2_0001, 0).unwrap();
    assert_eq!((timers.read_msr(CONFIG), timers.next_expiry()), (Ok(0x2_0001), None));
    timers.write_msr(COUNT, 7, 0).unwrap();
    assert_eq!(timers.next_expiry(), Some(7));
}

#[test]
fn a_timer_without_a_target_is_disabled() {
    for config in [0x9, 0x1009, 0x10f9] {
        let timers = timers(config, 1000, 0);
        assert_eq!(
            (timers.read_msr(CONFIG), timers.next_expiry()),
            (Ok(config & !1), None),
            "{config:#x}"
        );
    }
}

#[test]
fn reserved_bits_and_unoffered_direct_mode_are_gp() {
    let mut timers = Stimers::new(false);
    for config in [0x2000, 0x8000, 1 << 20, 1 << 63, LINUX] {
        assert_eq!(timers.write_msr(CONFIG, config, 0), Err(Gp), "{config:#x}");
        assert_eq!(timers.read_msr(CONFIG), Ok(0));
    }
    for msr in [CONFIG - 1, CONFIG + 8, 0, u32::MAX] {
        assert_eq!(
            (timers.read_msr(msr), timers.write_msr(msr, 0, 0)),
            (Err(Gp), Err(Gp)),
            "{msr:#x}"
        );
    }
}

#[test]
fn each_timer_has_its_own_registers() {
    let mut timers = Stimers::new(true);
    for index in 0..4 {
        timers.write_msr(CONFIG + 2 * index, MESSAGE, 0).unwrap();
        timers.write_msr(COUNT + 2 * index, 100 - u64::from(index), 0).unwrap();
    }
    assert_eq!(timers.next_expiry(), Some(97));
    let expired = timers.expire(98).map(|action| action.is_some());
    assert_eq!((expired, timers.next_expiry()), ([false, false, true, true], Some(99)));
}

#[test]
fn an_undelivered_message_is_offered_until_it_is_delivered() {
    let mut timers = timers(MESSAGE, 1000, 0);
    assert_eq!(timers.expire(1100), message(1000, 1100));
    assert_eq!(timers.expire(1200), NOTHING);
    assert_eq!(timers.undelivered(1300), message(1000, 1300));
    timers.message_delivered(0);
    assert_eq!(timers.undelivered(1400), NOTHING);
}

#[test]
fn a_write_drops_the_undelivered_message() {
    let mut timers = timers(MESSAGE, 1000, 0);
    timers.expire(1100);
    timers.write_msr(COUNT, 9000, 1200).unwrap();
    assert_eq!((timers.undelivered(1300), timers.next_expiry()), (NOTHING, Some(9000)));
}

#[test]
fn periods_merge_into_an_undelivered_message() {
    let mut timers = timers(MESSAGE | PERIODIC, 10_000, 0);
    assert_eq!(timers.expire(10_000), message(10_000, 10_000));
    assert_eq!(
        timers.expire(20_000),
        message(10_000, 20_000),
        "the first expiry is the one reported"
    );
    timers.message_delivered(0);
    assert_eq!(timers.expire(30_000), message(30_000, 30_000));
}

#[test]
fn a_few_missed_periods_are_made_up_for_at_double_speed() {
    let mut timers = timers(LINUX | PERIODIC, 10_000, 0);
    assert_eq!((timers.expire(35_000), timers.next_expiry()), (DIRECT, Some(40_000)));
    assert_eq!((timers.expire(40_000), timers.next_expiry()), (DIRECT, Some(45_000)));
    assert_eq!((timers.expire(45_000), timers.next_expiry()), (DIRECT, Some(50_000)));
    assert_eq!((timers.expire(50_000), timers.next_expiry()), (DIRECT, Some(55_000)));
    assert_eq!(
        (timers.expire(55_000), timers.next_expiry()),
        (DIRECT, Some(60_000)),
        "on the grid again"
    );
    assert_eq!((timers.expire(60_000), timers.next_expiry()), (DIRECT, Some(70_000)));
}

#[test]
fn many_missed_periods_and_those_of_lazy_timers_are_skipped() {
    let mut busy = timers(LINUX | PERIODIC, 10_000, 0);
    assert_eq!((busy.expire(1_005_000), busy.next_expiry()), (DIRECT, Some(1_010_000)));
    let mut lazy = timers(LINUX | PERIODIC | LAZY, 10_000, 0);
    assert_eq!((lazy.expire(25_000), lazy.next_expiry()), (DIRECT, Some(30_000)));
}

#[test]
fn short_periods_are_stretched_to_a_multiple() {
    assert_eq!(timers(LINUX | PERIODIC, 1, 0).next_expiry(), Some(1000));
    assert_eq!(timers(LINUX | PERIODIC, 300, 0).next_expiry(), Some(1200));
    assert_eq!(timers(LINUX | PERIODIC, 1001, 0).next_expiry(), Some(1001));
    assert_eq!(timers(LINUX, 1, 0).next_expiry(), Some(1), "one-shots are exact");
}

#[test]
fn saved_words_stand_in_the_documented_order() {
    let mut timers = timers(MESSAGE | PERIODIC, 10_000, 500);
    timers.expire(11_000);
    let state = timers.save();
    assert_eq!(state[0..5], [1, MESSAGE | PERIODIC | 1, 10_000, 20_500, 10_500]);
    assert_eq!(state[5..], [0; STIMER_STATE_WORDS - 5]);
}

#[test]
fn a_restored_timer_keeps_its_grid_and_its_message() {
    let mut old = timers(MESSAGE | PERIODIC, 10_000, 500);
    old.expire(11_000);
    let mut new = Stimers::new(true);
    new.restore(&old.save(), 12_000);
    assert_eq!(
        (new.next_expiry(), new.undelivered(12_000)),
        (Some(20_500), message(10_500, 12_000))
    );
}

#[test]
fn an_impossible_expiry_is_replaced_on_restore() {
    let mut state = timers(LINUX | PERIODIC, 10_000, 0).save();
    for bad in [0, u64::MAX, 50_000] {
        state[3] = bad;
        let mut timers = Stimers::new(true);
        timers.restore(&state, 30_000);
        assert_eq!(timers.next_expiry(), Some(40_000));
    }
}

fn config() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(LINUX),
        Just(MESSAGE),
        Just(MESSAGE | PERIODIC),
        Just(LINUX | PERIODIC | LAZY),
        any::<u64>(),
        0u64..1 << 20
    ]
}

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0u64..100_000, any::<u64>(), Just(u64::MAX)]
}

proptest! {
    #[test]
    fn no_sequence_breaks_the_timers(steps in proptest::collection::vec((0u32..8, config(), count(), 0u64..1 << 40), 1..60)) {
        let (mut timers, mut now) = (Stimers::new(true), 0u64);
        for (msr, config, count, wait) in steps {
            now = now.saturating_add(wait >> (wait % 40));
            let value = if msr & 1 == 0 { config } else { count };
            let written = timers.write_msr(CONFIG + msr, value, now);
            if let (Ok(()), false) = (written, msr & 1 == 0) {
                prop_assert_eq!(timers.read_msr(CONFIG + msr), Ok(value));
            }
            for action in timers.expire(now).into_iter().flatten() {
                match action {
                    TimerAction::Direct { vector } => prop_assert!(vector >= 16),
                    TimerAction::Message { sint, expiration, delivery, .. } => {
                        prop_assert!((1..16).contains(&sint) && expiration <= delivery && delivery == now);
                    }
                }
            }
            prop_assert!(timers.next_expiry().is_none_or(|at| at > now || now == u64::MAX));
            let mut copy = Stimers::new(true);
            copy.restore(&timers.save(), now);
            prop_assert_eq!(copy.save(), timers.save());
        }
    }

    #[test]
    fn any_state_can_be_loaded(words in proptest::collection::vec(any::<u64>(), STIMER_STATE_WORDS), now in any::<u64>()) {
        let state: [u64; STIMER_STATE_WORDS] = words.try_into().unwrap();
        let mut timers = Stimers::new(true);
        timers.restore(&state, now);
        let saved = timers.save();
        timers.restore(&saved, now);
        prop_assert_eq!(timers.save(), saved);
        timers.expire(now);
        timers.expire(u64::MAX);
    }

    #[test]
    fn a_periodic_timer_that_is_served_never_drifts(period in 1u64..100_000, start in 0u64..1 << 40, late in 0u64..1000) {
        let mut timers = timers(LINUX | PERIODIC, period, start);
        let step = timers.next_expiry().unwrap() - start;
        prop_assert!(step >= MIN_PERIOD && step.is_multiple_of(period));
        for n in 1..50 {
            let due = timers.next_expiry().unwrap();
            prop_assert_eq!(due, start + n * step);
            timers.expire(due + late.min(step - 1));
        }
    }

    #[test]
    fn a_lagging_timer_gets_back_onto_its_grid(period in 1000u64..100_000, start in 0u64..1 << 40, away in 0u64..1 << 24) {
        let mut timers = timers(LINUX | PERIODIC, period, start);
        let mut now = start + away;
        for _ in 0..3 * MAX_CATCH_UP {
            timers.expire(now);
            now = now.max(timers.next_expiry().unwrap());
        }
        let next = timers.next_expiry().unwrap();
        prop_assert_eq!((next - start) % period, 0);
        prop_assert!(next >= start + away);
    }
}
