use super::sim::{Load, MS, S, Sim, US};
use super::std::vec::Vec;
use crate::{State, VpRef};

#[test]
fn a_sleeper_on_an_idle_lp_is_woken_to_the_microsecond() {
    let mut sim = Sim::new(1);
    let vp = sim.child(100, &[Load::Timer { run: 100 * US, sleep: 900 * US }])[0];
    sim.advance(10 * MS);
    let ran = sim.measure(S)[vp.0 as usize];
    assert!(ran.abs_diff(S / 10) < S / 1000, "{ran}");
    assert!(sim.longest_wait(vp) <= US, "{} ns", sim.longest_wait(vp));
}

#[test]
fn of_many_sleepers_none_oversleeps_for_good() {
    let mut sim = Sim::new(2);
    let load = Load::Timer { run: MS, sleep: 3 * MS };
    let vps: Vec<VpRef> = (0..200).map(|_| sim.child(100, &[load])[0]).collect();
    sim.advance(2 * S);
    let ran = sim.measure(20 * S);
    for vp in &vps {
        let share = ran[vp.0 as usize] as f64 / (40 * S / 200) as f64;
        assert!((share - 1.0).abs() < 0.1, "{share}");
    }
}

#[test]
fn a_sleeper_next_to_a_spinner_gets_what_it_asks_for() {
    let mut sim = Sim::new(1);
    sim.child(100, &[Load::Spin]);
    let vp = sim.child(100, &[Load::Timer { run: 200 * US, sleep: 9_800 * US }])[0];
    sim.advance(S);
    let ran = sim.measure(10 * S)[vp.0 as usize];
    // 2 % less what it waits for the spinner's slice.
    assert!(ran > 10 * S / 100, "{ran}");
}

#[test]
fn an_earlier_wake_up_and_a_removal_end_the_sleep() {
    let mut sim = Sim::new(1);
    let load = Load::Timer { run: MS, sleep: S };
    let vps = sim.child(100, &[load, load]);
    sim.advance(10 * MS);
    assert!(vps.iter().all(|&vp| sim.table.vps[vp.0 as usize].state() == State::Blocked));
    let before = sim.ran(vps[0]);
    sim.wake(vps[0]);
    sim.remove(vps[1]);
    sim.advance(20 * MS);
    assert!(sim.ran(vps[0]) > before);
    let removed = sim.ran(vps[1]);
    sim.advance(3 * S);
    assert_eq!(sim.ran(vps[1]), removed, "a removed VP was woken");
    // One round at the wake-up, and one each second after it.
    assert!((3 * MS..=5 * MS).contains(&(sim.ran(vps[0]) - before)));
}
