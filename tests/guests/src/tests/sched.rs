//! The scheduler, seen from the parent: children get what their weights, reserves and limits say, an idle one costs nothing,
//! and the parent is served in time while they burn all processors.
//!
//! Shares are of run time as the hypervisor accounts it. What a child gets done in its time, and how late the parent is,
//! depends on the emulator's host as well. With `count=1`, meant for QEMU's `-icount`, these are checked too: exactly on
//! one processor, while several take turns there and are late by that.

use super::sched_child::{Child, Progress, Work};
use super::stimer::{AUTO, config, count, stop};
use guests::clock::{self, ms, now, us};
use guests::cpu::{cli, sti_hlt, wrmsr};
use guests::hypercall::{SELF, output, with_input};
use guests::report::Checks;
use guests::rng::Rng;
use guests::tables::this;
use guests::{boot, check, equal, line, smp};
use hvdef::HvStatus;
use hvdef::property::PartitionProperty as P;

/// Vector of the parent's timer.
const VECTOR: u8 = 0x6B;
/// A whole LP in the properties' units.
const ONE: u64 = 0x1_0000;
/// Zemin's counters of an LP, and the place of two of them (`zemindef`).
const LP_COUNTERS: u64 = 0x5A_0002;
const STEALS: u64 = 50;
const IDLE_US: u64 = 52;
/// Most children at once.
const MAX: usize = 16;

/// Children and what they had done when the measurement began.
type Crowd = [Option<(Child, Progress)>; MAX];

/// All of it.
pub fn run(t: &Checks) {
    properties(t);
    proportions(t);
    limit(t);
    reserve(t);
    idle(t);
    latency(t);
    busy_parent(t);
    stop(0);
}

/// Time passes by instructions.
fn is_counted() -> bool {
    boot::args().count != 0
}

/// And all of them are this processor's.
fn is_exact() -> bool {
    is_counted() && smp::count() == 1
}

/// Latest that the parent may be, in 100 ns.
fn latest_allowed() -> u64 {
    match (is_counted(), is_exact()) {
        (_, true) => us(150),
        (true, false) => us(2_000),
        // On a host that has much else to do.
        (false, _) => 4 * clock::SLACK,
    }
}

/// Sleeps in HLT until a timer says that the time is over. How late it said so, in 100 ns.
fn sleep(length: u64) -> u64 {
    let before = this().count(VECTOR);
    let due = now() + length;
    wrmsr(config(0), u64::from(VECTOR) << 4 | 1 << 12 | AUTO);
    wrmsr(count(0), due);
    while this().count(VECTOR) == before && now() < due + ms(5000) {
        sti_hlt();
        cli();
    }
    now().saturating_sub(due)
}

fn crowd(t: &Checks, each: &[(P, u64)], copies: usize) -> Crowd {
    let mut crowd: Crowd = Default::default();
    let settings = each.iter().cycle().take(each.len() * copies);
    for (place, &(property, value)) in crowd.iter_mut().zip(settings) {
        let Some(child) = Child::new(t, Work::Burn) else { continue };
        equal!(t, child.set(property, value), HvStatus::SUCCESS, "{property:?} = {value}");
        *place = Some((child, Progress::default()));
    }
    crowd.iter().flatten().for_each(|(child, _)| child.start(t));
    crowd
}

/// Lets a crowd run for `length`. What each has done in that time, and how long it was.
fn measure(crowd: &mut Crowd, length: u64) -> ([Progress; MAX], u64) {
    // The beginning is not typical: who was there first has had some of its time already.
    sleep(ms(1500));
    let start = now();
    crowd.iter_mut().flatten().for_each(|(child, begin)| *begin = child.progress());
    sleep(length);
    let mut done = [Progress::default(); MAX];
    for (done, member) in done.iter_mut().zip(crowd.iter()) {
        let Some((child, begin)) = member else { continue };
        let end = child.progress();
        done.rounds = end.rounds - begin.rounds;
        done.ran = end.ran - begin.ran;
    }
    (done, now() - start)
}

fn end(t: &Checks, crowd: Crowd) {
    for (child, _) in crowd.into_iter().flatten() {
        child.stop(t);
        child.end(t);
    }
}

fn counter(lp: usize, number: u64) -> u64 {
    let _ = with_input(0x101, &[SELF, LP_COUNTERS, lp as u64]);
    output(1 + number)
}

fn total(number: u64) -> u64 {
    (0..smp::count()).map(|lp| counter(lp, number)).sum()
}

/// In 1/100 of a percent.
fn fraction(part: u64, whole: u64) -> u64 {
    part * 10_000 / whole.max(1)
}

/// Whether `part` is `expected` but for `percent`.
fn is_near(part: u64, expected: u64, percent: u64) -> bool {
    part.abs_diff(expected) * 100 <= expected * percent
}

fn properties(t: &Checks) {
    let Some(child) = Child::new(t, Work::Burn) else { return };
    for (property, default, other, bad) in [
        (P::CPU_WEIGHT, 100, 10_000, 10_001),
        (P::CPU_RESERVE, 0, ONE / 2, ONE * 64),
        (P::CPU_CAP, ONE, ONE / 3, ONE + 1),
    ] {
        equal!(t, child.get(property), Some(default), "{property:?} at first");
        equal!(t, child.set(property, other), HvStatus::SUCCESS, "{property:?}");
        check!(t, child.set(property, bad) != HvStatus::SUCCESS, "{property:?} = {bad:#x}");
        equal!(t, child.get(property), Some(other), "{property:?} afterwards");
    }
    equal!(t, child.set(P::CPU_WEIGHT, 0), HvStatus::PROPERTY_VALUE_OUT_OF_RANGE, "weight 0");
    equal!(t, child.set(P::CPU_CAP, 0), HvStatus::SUCCESS, "no limit");
    equal!(t, child.get(P::CPU_CAP), Some(ONE), "no limit");
    child.end(t);
}

/// Sixteen children, four of each of these weights.
fn proportions(t: &Checks) {
    const WEIGHTS: [u64; 4] = [100, 200, 400, 100];
    const TOTAL: u64 = 4 * 800;
    let steals = total(STEALS);
    let mut crowd = crowd(t, &WEIGHTS.map(|weight| (P::CPU_WEIGHT, weight)), 4);
    let (done, passed) = measure(&mut crowd, ms(4000));
    line!("  {} LPs, {} moves to another LP", smp::count(), total(STEALS) - steals);
    let ran: u64 = done.iter().map(|done| done.ran).sum();
    let rounds: u64 = done.iter().map(|done| done.rounds).sum();
    let percent = if is_counted() { 5 } else { 20 };
    for (done, weight) in done.iter().zip(WEIGHTS.into_iter().cycle()) {
        let (expected, expected_rounds) = (ran * weight / TOTAL, rounds * weight / TOTAL);
        let share = fraction(done.ran, passed);
        line!("  weight {weight}: {share} of 10000, {} rounds of {expected_rounds}", done.rounds);
        let near = is_near(done.ran, expected, percent);
        check!(t, near, "weight {weight} ran {} of {expected}", done.ran);
        let done_right = !is_exact() || is_near(done.rounds, expected_rounds, 5);
        check!(t, done_right, "weight {weight}: {} of {expected_rounds} rounds", done.rounds);
    }
    let used = fraction(ran, passed * smp::count() as u64);
    let least = if is_counted() { 9_700 } else { 9_000 };
    check!(t, used > least, "all children together: {used} of 10000");
    end(t, crowd);
}

/// A quarter of an LP, though nobody else wants it.
fn limit(t: &Checks) {
    let mut crowd = crowd(t, &[(P::CPU_CAP, ONE / 4)], 1);
    let (done, passed) = measure(&mut crowd, ms(2000));
    let share = fraction(done[0].ran, passed);
    line!("  limit 2500: {share} of 10000");
    check!(t, share <= 2_550, "limit of a quarter: {share} of 10000");
    check!(t, !is_counted() || share >= 2_450, "limit of a quarter: {share} of 10000");
    end(t, crowd);
}

/// A third of an LP for one of little weight.
fn reserve(t: &Checks) {
    let lps = smp::count().min(MAX / 3);
    let settings = [(P::CPU_RESERVE, ONE / 3), (P::CPU_WEIGHT, 10_000), (P::CPU_WEIGHT, 10_000)];
    let mut crowd = crowd(t, &settings, lps);
    let small = |crowd: &Crowd| crowd[0].as_ref().map(|(child, _)| child.set(P::CPU_WEIGHT, 1));
    equal!(t, small(&crowd), Some(HvStatus::SUCCESS), "weight 1");
    let (done, passed) = measure(&mut crowd, ms(1500));
    let share = fraction(done[0].ran, passed);
    line!("  reserve 3333: {share} of 10000");
    check!(t, share > 3_200, "reserve of a third: {share} of 10000");
    end(t, crowd);
}

fn idle(t: &Checks) {
    let Some(child) = Child::new(t, Work::Sleep) else { return };
    child.start(t);
    sleep(ms(50));
    let (before, start) = (total(IDLE_US), now());
    sleep(ms(1000));
    let (waited, passed) = (total(IDLE_US) - before, (now() - start) / 10);
    let busy = 10_000 - fraction(waited, passed * smp::count() as u64).min(10_000);
    let ran = fraction(child.progress().ran / 10, passed);
    line!("  idle child: LPs busy {busy} of 10000, its own run time {ran}");
    check!(t, ran < 50, "an idle child costs {ran} of 10000");
    check!(t, busy < if is_counted() { 50 } else { 1000 }, "LPs busy {busy} of 10000");
    child.stop(t);
    child.end(t);
}

/// Timers of the parent and interrupts between its processors, while children burn all LPs.
fn latency(t: &Checks) {
    let crowd = crowd(t, &[(P::CPU_WEIGHT, 10_000), (P::CPU_WEIGHT, 100)], smp::count().min(4));
    let mut rng = Rng::new(boot::args().seed);
    let (mut latest, mut sum) = (0, 0);
    for _ in 0..200 {
        let late = sleep(us(500 + rng.below(7_000)));
        (latest, sum) = (late.max(latest), sum + late);
    }
    line!("  timer: {} us late on average, {} at most", sum / 2_000, latest / 10);
    check!(t, latest <= latest_allowed(), "a timer was {} us late", latest / 10);
    for index in smp::others() {
        let mut longest = 0;
        for _ in 0..100 {
            sleep(us(200 + rng.below(3_000)));
            let start = now();
            equal!(t, smp::run(index, 5_000, |_| {}, 0), Ok(()), "processor {index}");
            longest = longest.max(now() - start);
        }
        line!("  processor {index}: to and fro in {} us at most", longest / 10);
        check!(t, longest <= 2 * latest_allowed(), "processor {index}: {} us", longest / 10);
    }
    end(t, crowd);
}

/// A parent that computes on all its processors and a child of the same weight for each of them.
fn busy_parent(t: &Checks) {
    let lps = smp::count().min(MAX);
    let mut crowd = crowd(t, &[(P::CPU_WEIGHT, 100)], lps);
    // A parent that slept is owed something for a while.
    let (length, settled) = (ms(1500), now() + ms(300));
    let until = settled + length;
    smp::others().for_each(|index| smp::begin(index, spin, until));
    spin(settled);
    crowd.iter_mut().flatten().for_each(|(child, begin)| *begin = child.progress());
    spin(until);
    let ran = |(child, begin): &(Child, Progress)| child.progress().ran - begin.ran;
    let ran: u64 = crowd.iter().flatten().map(ran).sum();
    for index in smp::others() {
        equal!(t, smp::finish(index, 5_000), Ok(()), "processor {index}");
    }
    let share = fraction(ran, length * lps as u64);
    line!("  beside a busy parent: {share} of 10000");
    let fair = if is_counted() { 4_750..=5_250 } else { 4_000..=6_500 };
    check!(t, fair.contains(&share), "beside a busy parent: {share} of 10000");
    end(t, crowd);
}

fn spin(until: u64) {
    while now() < until {}
}
