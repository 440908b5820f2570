//! Whatever happens in whatever order, a VP is in one place.

use super::sim::{Load, MS, S, Sim, US};
use super::std::vec::Vec;
use crate::{Fraction, Role, State, VpRef};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Action {
    Pass(u64),
    Wake(u32),
    Remove(u32),
    Decide(usize),
    Weight(usize, u32),
    Limit(usize, u32),
    Reserve(usize, u32),
}

const LPS: u32 = 3;
const CHILDREN: u32 = 10;
const VPS: u32 = LPS + CHILDREN;
const SHARES: usize = 6;

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        4 => (0..30 * MS).prop_map(Action::Pass),
        3 => (0..VPS).prop_map(Action::Wake),
        2 => (0..VPS).prop_map(Action::Remove),
        1 => (0..LPS as usize).prop_map(Action::Decide),
        1 => (0..SHARES, 1..=10_000u32).prop_map(|(share, weight)| Action::Weight(share, weight)),
        1 => (0..SHARES, 1..=0x1_0000u32).prop_map(|(share, limit)| Action::Limit(share, limit)),
        1 => (0..SHARES, 0..=0x1_0000u32).prop_map(|(share, reserve)| Action::Reserve(share, reserve)),
    ];
    proptest::collection::vec(action, 1..120)
}

fn machine() -> Sim {
    let mut sim = Sim::new(LPS);
    sim.parent(1_000, Load::Duty { run: 100 * US, sleep: 3 * MS });
    for i in 0..5 {
        let share = sim.partition(Role::Child, 100);
        sim.vp(share, i % LPS, i == 0, Load::Spin);
        sim.vp(share, i % LPS, false, Load::Duty { run: 2 * MS, sleep: u64::from(i) * MS });
    }
    sim
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_vp_is_in_one_place_and_never_lost(actions in actions()) {
        let mut sim = machine();
        for action in actions {
            match action {
                Action::Pass(ns) => sim.advance(ns),
                Action::Wake(vp) => sim.wake(VpRef(vp)),
                Action::Remove(vp) => sim.remove(VpRef(vp)),
                Action::Decide(lp) => sim.decide(lp),
                Action::Weight(share, weight) => prop_assert!(sim.table.shares[share].set_weight(weight)),
                Action::Limit(share, limit) => prop_assert!(sim.table.shares[share].set_limit(Fraction(limit))),
                Action::Reserve(share, reserve) => prop_assert!(sim.table.shares[share].set_reserve(Fraction(reserve))),
            }
            sim.check();
        }
        // Whoever is runnable now, runs within bounded time once parameters are sane again.
        for share in &sim.table.shares {
            share.set_weight(100);
            share.set_limit(Fraction::ONE);
            share.set_reserve(Fraction::ZERO);
        }
        let runnable: Vec<u32> =
            (0..VPS).filter(|&vp| sim.table.vps[vp as usize].state() != State::Blocked).collect();
        let ran = sim.measure(2 * S);
        for vp in runnable {
            prop_assert!(ran[vp as usize] != 0, "VP {} did not run", vp);
        }
    }
}

#[test]
fn a_wake_up_while_running_is_not_lost() {
    let mut sim = Sim::new(1);
    let vp = sim.child(100, &[Load::Duty { run: MS, sleep: 1_000 * S }])[0];
    sim.advance(500 * US);
    assert_eq!(sim.table.vps[0].state(), State::Running);
    sim.wake(vp);
    sim.advance(10 * MS);
    assert_eq!(sim.ran(vp), 2 * MS, "it had to look again before it slept");
    assert_eq!(sim.table.vps[0].state(), State::Blocked);
}

#[test]
fn removing_a_vp_takes_it_out_of_whatever_it_is_in() {
    let mut sim = Sim::new(1);
    let running = sim.child(100, &[Load::Spin])[0];
    let waiting = sim.child(100, &[Load::Spin])[0];
    let parked = sim.child(100, &[Load::Spin])[0];
    sim.set_limit(parked, 1);
    sim.advance(21 * MS);
    assert_eq!(sim.table.vps[parked.0 as usize].state(), State::Parked);
    for vp in [parked, waiting, running] {
        sim.remove(vp);
        assert_eq!(sim.table.vps[vp.0 as usize].state(), State::Blocked);
        sim.check();
    }
    assert_eq!(sim.measure(S), [0, 0, 0]);
}
