use super::sim::{Load, MS, S, Sim, US};
use super::std::vec::Vec;
use super::std::{println, vec};
use crate::{Role, VpRef};
use proptest::prelude::*;

/// Asserts that each VP got its part of `total` by weight, within `percent`.
fn assert_shares(ran: &[u64], weights: &[u32], total: u64, percent: f64) {
    let sum: u32 = weights.iter().sum();
    for (i, (&ran, &weight)) in ran.iter().zip(weights).enumerate() {
        let fair = total as f64 * f64::from(weight) / f64::from(sum);
        let off = (ran as f64 - fair) / fair * 100.0;
        assert!(
            off.abs() < percent,
            "VP {i} of weight {weight}: {ran} ns instead of {fair}, {off:.2} %"
        );
    }
}

#[test]
fn sixteen_children_on_two_lps_share_by_weight() {
    let weights: Vec<u32> = (0..16).map(|i| [50, 100, 200, 400][i % 4]).collect();
    let mut sim = Sim::new(2);
    weights.iter().for_each(|&weight| _ = sim.child(weight, &[Load::Spin]));
    sim.advance(S);
    let ran = sim.measure(60 * S);
    assert_shares(&ran, &weights, 120 * S, 1.0);
}

#[test]
fn equal_children_share_equally_although_they_do_not_divide_evenly() {
    for (lps, children) in [(2, 3), (2, 5), (3, 4), (4, 7), (4, 9), (8, 13)] {
        let mut sim = Sim::new(lps);
        (0..children).for_each(|_| _ = sim.child(100, &[Load::Spin]));
        sim.advance(S);
        let ran = sim.measure(20 * S);
        assert_shares(&ran, &vec![100; children], 20 * S * u64::from(lps), 1.0);
    }
}

#[test]
fn high_and_low_weights_behave_alike() {
    for weight in [1, 2_000, 10_000] {
        let mut sim = Sim::new(2);
        (0..5).for_each(|_| _ = sim.child(weight, &[Load::Spin]));
        sim.advance(S);
        assert_shares(&sim.measure(20 * S), &[1; 5], 40 * S, 1.0);
    }
}

#[test]
fn a_weight_that_no_single_lp_can_serve_gets_one_lp_and_the_others_share_the_rest() {
    let mut sim = Sim::new(2);
    sim.child(10_000, &[Load::Spin]);
    let weights = [100, 100, 200];
    weights.iter().for_each(|&weight| _ = sim.child(weight, &[Load::Spin]));
    sim.advance(S);
    let ran = sim.measure(20 * S);
    assert!(ran[0] > 20 * S * 99 / 100, "{}", ran[0]);
    assert_shares(&ran[1..], &weights, 20 * S, 2.0);
}

#[test]
fn partitions_share_before_their_vps_do() {
    let mut sim = Sim::new(2);
    sim.child(100, &[Load::Spin; 6]);
    sim.child(100, &[Load::Spin; 2]);
    sim.advance(S);
    let ran = sim.measure(20 * S);
    let (six, two) = (ran[..6].iter().sum::<u64>(), ran[6..].iter().sum::<u64>());
    assert_shares(&[six, two], &[1, 1], 40 * S, 1.0);
    assert_shares(&ran[..6], &[1; 6], 20 * S, 2.0);
}

#[test]
fn the_share_of_a_sleeper_goes_to_the_others_and_it_gets_what_it_asks_for() {
    let mut sim = Sim::new(1);
    let sleeper = sim.child(100, &[Load::Duty { run: MS, sleep: 9 * MS }])[0];
    (0..3).for_each(|_| _ = sim.child(100, &[Load::Spin]));
    sim.advance(S);
    let ran = sim.measure(20 * S);
    assert!(ran[sleeper.0 as usize] > 20 * S / 100 * 9, "{}", ran[0]);
    assert_shares(&ran[1..], &[1; 3], 20 * S - ran[0], 1.0);
}

#[test]
fn short_waits_cost_no_share() {
    // As a guest that prints: 200 us for each letter, at any moment of its slice.
    for (lps, children) in [(1, 3), (2, 6), (2, 16)] {
        let mut sim = Sim::new(lps);
        let load = |i: usize| match i % 3 {
            0 => Load::Duty { run: 1_300 * US, sleep: 200 * US },
            1 => Load::Duty { run: 3_700 * US, sleep: 200 * US },
            _ => Load::Spin,
        };
        let weights: Vec<u32> = (0..children).map(|i| [200, 100][i % 2]).collect();
        weights.iter().enumerate().for_each(|(i, &weight)| _ = sim.child(weight, &[load(i)]));
        sim.advance(S);
        let ran = sim.measure(20 * S);
        assert_shares(&ran, &weights, ran.iter().sum(), 3.0);
    }
}

#[test]
fn sleeping_earns_nothing_beyond_the_share() {
    let mut sim = Sim::new(1);
    // Wants 80 %, is entitled to 50 %.
    sim.child(100, &[Load::Duty { run: 8 * MS, sleep: 2 * MS }]);
    sim.child(100, &[Load::Spin]);
    sim.advance(S);
    let ran = sim.measure(20 * S);
    assert!(ran[0] <= 20 * S / 100 * 52, "{}", ran[0]);
}

#[test]
fn a_waking_child_preempts_one_that_burns_its_lp() {
    let mut sim = Sim::new(1);
    (0..4).for_each(|_| _ = sim.child(100, &[Load::Spin]));
    sim.advance(S);
    let waker = sim.child(100, &[Load::Duty { run: 50 * US, sleep: 3 * MS }])[0];
    sim.advance(10 * S);
    assert!(sim.longest_wait(waker) < 100 * US, "{} ns", sim.longest_wait(waker));
}

#[test]
fn nobody_starves_next_to_the_heaviest() {
    let mut sim = Sim::new(1);
    sim.child(10_000, &[Load::Spin]);
    sim.child(1, &[Load::Spin]);
    sim.advance(200 * S);
    assert!(sim.ran(VpRef(1)) >= 5 * MS, "{}", sim.ran(VpRef(1)));
    assert!(sim.ran(VpRef(1)) <= 200 * S / 1_000, "{}", sim.ran(VpRef(1)));
}

#[test]
fn a_child_that_had_the_machine_to_itself_is_not_punished_for_it() {
    let mut sim = Sim::new(1);
    let old = sim.child(100, &[Load::Spin])[0];
    sim.advance(100 * S);
    sim.child(100, &[Load::Spin]);
    let before = sim.ran(old);
    sim.advance(S);
    assert!(sim.ran(old) - before > 450 * MS, "{}", sim.ran(old) - before);
}

#[test]
fn idle_lps_fetch_waiting_vps() {
    let mut sim = Sim::new(4);
    // All are created at home on LP 0.
    let vps: Vec<VpRef> = (0..4).map(|_| sim.child(100, &[Load::Spin])[0]).collect();
    sim.advance(100 * MS);
    let ran = sim.measure(S);
    assert!(ran.iter().all(|&ran| ran > S / 100 * 99), "{ran:?}");
    let mut homes: Vec<u32> = vps.iter().map(|&vp| sim.home(vp)).collect();
    homes.sort_unstable();
    assert_eq!(homes, [0, 1, 2, 3]);
}

#[test]
fn a_vp_left_behind_when_its_neighbour_lps_go_idle_is_fetched() {
    let mut sim = Sim::new(2);
    let share = sim.partition(Role::Child, 100);
    sim.vp(share, 0, true, Load::Spin);
    let free = sim.vp(share, 0, false, Load::Spin);
    let short = sim.child(100, &[Load::Duty { run: 20 * MS, sleep: 1000 * S }])[0];
    sim.advance(S);
    assert_eq!(sim.ran(short), 20 * MS);
    assert!(sim.ran(free) > 950 * MS, "{}", sim.ran(free));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]
    #[test]
    fn any_weights_that_the_lps_can_serve_are_served(
        lps in 1u32..6,
        weights in proptest::collection::vec(50u32..2_000, 8..40),
    ) {
        let sum: u32 = weights.iter().sum();
        prop_assume!(weights.iter().all(|weight| weight * lps <= sum));
        let mut sim = Sim::new(lps);
        weights.iter().for_each(|&weight| _ = sim.child(weight, &[Load::Spin]));
        sim.advance(S);
        assert_shares(&sim.measure(60 * S), &weights, 60 * S * u64::from(lps), 5.0);
    }
}

#[test]
fn sleepers_and_spinners_on_many_lps_keep_every_lp_busy() {
    let mut sim = Sim::new(8);
    (0..8).for_each(|_| _ = sim.child(100, &[Load::Spin]));
    (0..30)
        .for_each(|i| _ = sim.child(100, &[Load::Duty { run: 100 * US, sleep: MS + i * 50 * US }]));
    sim.advance(S);
    let busy: u64 = sim.measure(2 * S).iter().sum();
    assert!(busy > 16 * S / 1000 * 995, "{busy}");
}

#[test]
fn migrations_and_decisions_stay_rare() {
    let mut sim = Sim::new(2);
    (0..5).for_each(|_| _ = sim.child(100, &[Load::Spin]));
    sim.advance(10 * S);
    // A slice is 5 ms: 400 decisions per second on 2 LPs would be ideal.
    println!("{} decisions", sim.decisions);
    assert!(sim.decisions < 8_000, "{}", sim.decisions);
}

#[test]
fn an_lp_alone_with_one_vp_is_left_alone() {
    let mut sim = Sim::new(1);
    sim.child(100, &[Load::Spin]);
    sim.advance(10 * S);
    assert!(sim.decisions < 220, "{}", sim.decisions);
}
