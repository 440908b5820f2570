//! Reference time: the page, the MSR, and that neither ever goes back.

use super::Job;
use core::sync::atomic::{AtomicU64, Ordering};
use guests::clock::{self, now, page_time};
use guests::cpu::{self, rdmsr, wrmsr};
use guests::memory::PAGE;
use guests::report::Checks;
use guests::{check, equal, hypercall, smp, trap};
use hvdef::msr as hv;

/// All of it.
pub fn run(t: &Checks) {
    page(t);
    agreement(t);
    // A child has no interval timer.
    if hypercall::is_root() {
        frequency(t);
    }
    monotonic(t);
}

fn page(t: &Checks) {
    let value = rdmsr(hv::REFERENCE_TSC);
    check!(t, value & 1 == 1, "reference TSC MSR is {value:#x}");
    equal!(t, value & !(PAGE - 1), clock::reference_page(), "the page stays");
    check!(t, cpu::peek32(clock::reference_page()) != 0, "the page's sequence is 0");
    check!(t, page_time().is_some(), "the page tells no time");
    wrmsr(hv::REFERENCE_TSC, value & !1);
    equal!(t, rdmsr(hv::REFERENCE_TSC), value & !1, "disabled");
    wrmsr(hv::REFERENCE_TSC, value);
}

/// Page, MSR, page: in order, and close together.
fn agreement(t: &Checks) {
    let mut worst = 0;
    for _ in 0..2000 {
        let (before, msr, after) = (now(), rdmsr(hv::TIME_REF_COUNT), now());
        // One unit of rounding either way.
        if !check!(
            t,
            before <= msr + 1 && msr <= after + 1,
            "page {before}, MSR {msr}, page {after}"
        ) {
            return;
        }
        worst = worst.max(after - before);
    }
    check!(t, worst < clock::ms(500), "one read took {worst} units");
}

/// The rate against the interval timer's, to 1 %: as this may run on an emulator whose host is busy, in one of many tries.
fn frequency(t: &Checks) {
    let claimed = clock::tsc_hz();
    let precise = (0..100).any(|_| {
        let [least, most] = clock::pit_tsc_hz();
        check!(
            t,
            least <= claimed + claimed / 100 && most >= claimed - claimed / 100,
            "time-stamp counter {claimed} Hz, by the interval timer {least} to {most} Hz"
        );
        most - least < claimed / 100
    });
    check!(t, precise, "the interval timer's end was never seen in time");
    let start = reading();
    clock::delay_us(20_000);
    let end = reading();
    let units = end.time - start.time;
    let of = |ticks: u64| (u128::from(ticks) * 10_000_000 / u128::from(claimed)) as u64;
    let (least, most) = (of(end.before - start.after), of(end.after - start.before));
    check!(
        t,
        units * 1000 >= least * 999 && units * 1000 <= most * 1001,
        "{units} units went by, not {least} to {most}"
    );
}

/// Reference time, and the time-stamp counter before and after it was read: whatever came between, a host that had other
/// things to do among it, is between the two.
struct Reading {
    before: u64,
    time: u64,
    after: u64,
}

fn reading() -> Reading {
    Reading { before: cpu::rdtsc(), time: now(), after: cpu::rdtsc() }
}

/// What [`race`] has seen: the latest, and the farthest that anybody was behind it.
pub static LATEST: AtomicU64 = AtomicU64::new(0);
/// See [`LATEST`].
pub static BACKWARD: AtomicU64 = AtomicU64::new(0);

/// Looks at the latest time that anybody has seen, then at the clock: it must not be behind.
pub fn race(clock: fn() -> u64, rounds: u64) {
    for _ in 0..rounds {
        let seen = LATEST.load(Ordering::SeqCst);
        let time = clock();
        if time < seen {
            BACKWARD.fetch_max(seen - time, Ordering::SeqCst);
        }
        LATEST.fetch_max(time, Ordering::SeqCst);
    }
}

fn monotonic(t: &Checks) {
    let clocks: [Job; 3] = [
        ("page", |_| race(now, 200_000)),
        ("MSR", |_| race(|| rdmsr(hv::TIME_REF_COUNT), 3000)),
        ("page and MSR", |index| {
            race(if index & 1 == 0 { now } else { || rdmsr(hv::TIME_REF_COUNT) }, 3000)
        }),
    ];
    for (name, job) in clocks {
        LATEST.store(0, Ordering::SeqCst);
        BACKWARD.store(0, Ordering::SeqCst);
        smp::others().for_each(|index| smp::begin(index, job, index as u64));
        let own = trap::catch(|| job(0));
        check!(t, own.is_ok(), "{name}: {own:?}");
        for index in smp::others() {
            equal!(t, smp::finish(index, 20_000), Ok(()), "{name} on processor {index}");
        }
        // Conversions round down to a unit: two sources may differ by one.
        let back = BACKWARD.load(Ordering::SeqCst);
        check!(t, back <= u64::from(name.contains("and")), "{name}: went back by {back} units");
    }
}
