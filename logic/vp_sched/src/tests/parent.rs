use super::sim::{Load, MS, S, Sim, US};
use crate::VpRef;

#[test]
fn the_parents_wake_up_latency_is_bounded_while_children_burn_all_lps() {
    let mut sim = Sim::new(2);
    let parent = sim.parent(1_000, Load::Duty { run: 30 * US, sleep: 400 * US });
    (0..16).for_each(|_| _ = sim.child(10_000, &[Load::Spin]));
    sim.advance(5 * S);
    for vp in parent {
        assert!(sim.longest_wait(vp) <= 5 * US, "{} ns", sim.longest_wait(vp));
        assert!(sim.ran(vp) > 5 * S / 100 * 6, "{}", sim.ran(vp));
    }
}

#[test]
fn a_spinning_parent_leaves_children_their_reserve() {
    for percent in [10, 50, 90] {
        let mut sim = Sim::new(1);
        sim.parent(10_000, Load::SpinWithTicks { every: MS });
        let child = sim.child(1, &[Load::Spin])[0];
        sim.set_reserve(child, percent);
        sim.advance(S);
        let ran = sim.measure(10 * S);
        let got = ran[child.0 as usize] as f64 * 100.0 / (10 * S) as f64;
        assert!(got >= f64::from(percent) * 0.99, "reserve {percent} %: got {got:.2} %");
    }
}

#[test]
fn a_reserve_of_everything_leaves_the_parent_alive() {
    let mut sim = Sim::new(1);
    let parent = sim.parent(100, Load::SpinWithTicks { every: 4 * MS })[0];
    let child = sim.child(10_000, &[Load::Spin])[0];
    sim.set_reserve(child, 100);
    sim.advance(S);
    let ran = sim.measure(10 * S);
    assert!(ran[parent.0 as usize] > 10 * S / 100 * 4, "{ran:?}");
    assert!(ran[child.0 as usize] > 10 * S / 100 * 94, "{ran:?}");
    assert!(sim.longest_wait(parent) <= 10 * MS);
}

#[test]
fn a_spinning_parent_does_not_stop_children_without_a_reserve() {
    let mut sim = Sim::new(2);
    sim.parent(200, Load::SpinWithTicks { every: 4 * MS });
    let children = [(); 4].map(|()| sim.child(100, &[Load::Spin])[0]);
    sim.advance(S);
    let ran = sim.measure(20 * S);
    let total: u64 = children.iter().map(|vp| ran[vp.0 as usize]).sum();
    // Half of each LP is the parent's by right of boost; of the rest it takes part by weight, and 200 µs per tick.
    assert!(total > 40 * S / 100 * 35, "{ran:?}");
    for vp in children {
        let part = ran[vp.0 as usize] as f64 / total as f64;
        assert!((part - 0.25).abs() < 0.0125, "{part}");
    }
}

#[test]
fn a_spinning_parent_still_takes_its_interrupts() {
    let mut sim = Sim::new(1);
    let parent = sim.parent(1, Load::SpinWithTicks { every: 2 * MS })[0];
    (0..4).for_each(|_| _ = sim.child(10_000, &[Load::Spin]));
    sim.advance(10 * S);
    assert!(sim.longest_wait(parent) <= 60 * US, "{}", sim.longest_wait(parent));
}

#[test]
fn children_on_the_lp_of_a_spinning_parent_lose_nothing_to_those_elsewhere() {
    let mut sim = Sim::new(2);
    let share = sim.partition(crate::Role::Parent, 1_000);
    let parent = sim.vp(share, 0, true, Load::Spin);
    (0..6).for_each(|_| _ = sim.child(100, &[Load::Spin]));
    sim.advance(S);
    let ran = sim.measure(20 * S);
    let rest: u64 = ran.iter().sum::<u64>() - ran[parent.0 as usize];
    for i in 1..7u32 {
        let part = ran[VpRef(i).0 as usize] as f64 * 6.0 / rest as f64;
        assert!((part - 1.0).abs() < 0.05, "{ran:?}");
    }
}

#[test]
fn a_parent_that_computes_gets_half_or_its_part_by_weight_whichever_is_more() {
    for (weight, expected) in [(10, 50.0), (100, 50.0), (300, 75.0)] {
        for ticks in [None, Some(MS), Some(4 * MS + 321 * US)] {
            let mut sim = Sim::new(1);
            let load = ticks.map_or(Load::Spin, |every| Load::SpinWithTicks { every });
            let parent = sim.parent(weight, load)[0];
            sim.child(100, &[Load::Spin]);
            sim.advance(S);
            let ran = sim.measure(10 * S)[parent.0 as usize];
            let got = ran as f64 * 100.0 / (10 * S) as f64;
            // Each of its interrupts may bring it to the front for 200 µs.
            let extra = ticks.map_or(0.0, |every| 200_000.0 / every as f64 * 100.0);
            assert!(
                (expected - 2.5..expected + 2.5 + extra).contains(&got),
                "weight {weight}, ticks {ticks:?}: {got} %"
            );
        }
    }
}
