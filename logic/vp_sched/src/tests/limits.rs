use super::sim::{Load, MS, S, Sim};
use crate::{Fraction, Role, Share, VpRef};

/// Percent of `ns`, as a float.
fn percent(ran: u64, ns: u64) -> f64 {
    ran as f64 * 100.0 / ns as f64
}

#[test]
fn a_limit_is_kept_on_an_idle_machine() {
    for limit in [1, 5, 10, 33, 50, 75, 99] {
        let mut sim = Sim::new(1);
        let vp = sim.child(100, &[Load::Spin])[0];
        sim.set_limit(vp, limit);
        sim.advance(S);
        let got = percent(sim.measure(20 * S)[0], 20 * S);
        let off = (got - f64::from(limit)) / f64::from(limit) * 100.0;
        assert!(off.abs() < 1.0, "limit {limit} %: got {got:.3} %");
    }
}

#[test]
fn a_limit_is_kept_under_load_and_the_rest_goes_to_the_others() {
    let mut sim = Sim::new(2);
    let limited = sim.child(10_000, &[Load::Spin])[0];
    (0..4).for_each(|_| _ = sim.child(100, &[Load::Spin]));
    sim.set_limit(limited, 25);
    sim.advance(S);
    let ran = sim.measure(20 * S);
    let got = percent(ran[0], 20 * S);
    assert!((got - 25.0).abs() < 0.5, "{got:.3} %");
    for &other in &ran[1..] {
        let got = percent(other, 20 * S);
        assert!((got - 175.0 / 4.0).abs() < 1.0, "{got:.3} %");
    }
}

#[test]
fn a_limit_applies_to_each_vp_of_a_partition() {
    let mut sim = Sim::new(4);
    let vps = sim.child(100, &[Load::Spin; 3]);
    sim.set_limit(vps[0], 20);
    sim.advance(S);
    for ran in sim.measure(10 * S) {
        let got = percent(ran, 10 * S);
        assert!((got - 20.0).abs() < 0.4, "{got:.3} %");
    }
}

#[test]
fn sleeping_does_not_get_around_a_limit() {
    let mut sim = Sim::new(1);
    let vp = sim.child(100, &[Load::Duty { run: 3 * MS, sleep: MS }])[0];
    sim.set_limit(vp, 30);
    sim.advance(S);
    let got = percent(sim.measure(20 * S)[0], 20 * S);
    assert!(got <= 30.0 * 1.01, "{got:.3} %");
}

#[test]
fn a_reserve_is_met_whatever_the_weights() {
    let mut sim = Sim::new(1);
    let light = sim.child(1, &[Load::Spin])[0];
    (0..5).for_each(|_| _ = sim.child(10_000, &[Load::Spin]));
    sim.set_reserve(light, 30);
    sim.advance(S);
    let got = percent(sim.measure(20 * S)[light.0 as usize], 20 * S);
    assert!((29.9..31.0).contains(&got), "{got:.3} %");
}

#[test]
fn reserves_that_need_several_lps_spread_over_them() {
    let mut sim = Sim::new(2);
    let vps = [(); 4].map(|()| sim.child(1, &[Load::Spin])[0]);
    (0..4).for_each(|_| _ = sim.child(10_000, &[Load::Spin]));
    vps.iter().for_each(|&vp| sim.set_reserve(vp, 40));
    sim.advance(S);
    let ran = sim.measure(20 * S);
    for vp in vps {
        let got = percent(ran[vp.0 as usize], 20 * S);
        assert!(got > 39.0, "{vp:?}: {got:.3} %");
    }
}

#[test]
fn many_limited_vps_all_come_back() {
    let mut sim = Sim::new(2);
    for _ in 0..300 {
        let vp = sim.child(100, &[Load::Spin])[0];
        sim.set_limit(vp, 1);
    }
    sim.advance(S);
    let ran = sim.measure(3 * S);
    // 300 of 1 % want 3 LPs: everybody gets two thirds of it.
    let (least, most) = (ran.iter().min().unwrap(), ran.iter().max().unwrap());
    assert!(percent(*least, 3 * S) > 0.55, "{least}");
    assert!(percent(*most, 3 * S) < 1.01, "{most}");
}

#[test]
fn parameters_out_of_range_are_refused() {
    let share = Share::new(Role::Child);
    assert!(!share.set_weight(0) && !share.set_weight(10_001));
    assert!(!share.set_limit(Fraction::ZERO) && !share.set_limit(Fraction(65_537)));
    assert!(!share.set_reserve(Fraction(65_537)));
    assert_eq!(share.weight(), 100);
    assert_eq!((share.reserve(), share.limit()), (Fraction::ZERO, Fraction::ONE));
}

#[test]
fn a_limit_lifted_while_the_vp_is_parked_takes_effect() {
    let mut sim = Sim::new(1);
    let vp = sim.child(100, &[Load::Spin])[0];
    sim.set_limit(vp, 1);
    sim.advance(S);
    assert!(sim.share_of(vp).set_limit(Fraction::ONE));
    sim.advance(20 * MS);
    let ran = sim.measure(S);
    assert!(ran[0] > S / 100 * 99, "{}", ran[0]);
    assert_eq!(vp, VpRef(0));
}
