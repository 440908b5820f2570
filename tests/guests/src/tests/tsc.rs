//! The time-stamp counter: the instructions and the MSR tell one time, which no processor sees going back. A child can set
//! it, and its other clocks do not care.

use super::ref_time::{BACKWARD, LATEST, race};
use core::sync::atomic::Ordering;
use guests::clock::{self, now, page_time, wait_until};
use guests::cpu::{self, cli, cpuid, msr, rdmsr, rdtsc, rdtscp, sti, wrmsr};
use guests::report::Checks;
use guests::tables::this;
use guests::{apic, check, equal, hypercall, line, smp, trap};
use hvdef::msr as hv;

use super::Job;
use super::stimer::{AUTO, config, count, stop};

/// The counter's MSR.
const TSC: u32 = 0x10;
const VECTOR: u8 = 0x66;

/// All of it.
pub fn run(t: &Checks) {
    if !has_msr() {
        line!("  the counter's MSR reads 0");
        check!(t, !hypercall::is_hyperv() || hypercall::is_root(), "the MSR of a child reads 0");
    }
    agreement(t);
    monotonic(t);
    auxiliary(t);
    if hypercall::is_root() {
        fixed(t);
    } else if hypercall::is_hyperv() {
        for value in [0x1000, rdtsc().wrapping_add(1 << 44), rdtsc() / 2] {
            written(t, value);
        }
        running_timers(t);
    }
}

/// Whether the counter has an MSR that can be read. That of QEMU's processor reads 0, and only a child's access is not its.
fn has_msr() -> bool {
    rdmsr(TSC) != 0
}

fn has_rdtscp() -> bool {
    cpuid(0x8000_0001, 0)[3] & 1 << 27 != 0
}

/// RDTSC, the MSR, RDTSCP: in this order.
fn agreement(t: &Checks) {
    for round in 0..500 {
        let (first, msr) = (rdtsc(), if has_msr() { rdmsr(TSC) } else { rdtsc() });
        let (last, _) = if has_rdtscp() { rdtscp() } else { (rdtsc(), 0) };
        if !check!(t, first <= msr && msr <= last, "round {round}: {first}, {msr}, {last}") {
            return;
        }
    }
}

/// All processors count together.
fn monotonic(t: &Checks) {
    let jobs: [Job; 2] = [
        ("RDTSC", |_| race(rdtsc, 100_000)),
        ("RDTSC and the MSR", |index| {
            race(if index & 1 == 0 || !has_msr() { rdtsc } else { || rdmsr(TSC) }, 2000)
        }),
    ];
    for (name, job) in jobs {
        LATEST.store(0, Ordering::SeqCst);
        BACKWARD.store(0, Ordering::SeqCst);
        smp::others().for_each(|index| smp::begin(index, job, index as u64));
        let own = trap::catch(|| job(0));
        check!(t, own.is_ok(), "{name}: {own:?}");
        for index in smp::others() {
            equal!(t, smp::finish(index, 20_000), Ok(()), "{name} on processor {index}");
        }
        equal!(t, BACKWARD.load(Ordering::SeqCst), 0, "{name}: ticks by which it went back");
    }
}

/// RDTSCP tells what TSC_AUX says, each processor its own.
fn auxiliary(t: &Checks) {
    if !has_rdtscp() {
        return;
    }
    let job = |value| {
        wrmsr(msr::TSC_AUX, value);
        let _ = cpuid(0, 0);
        assert!(u64::from(rdtscp().1) == value && rdmsr(msr::TSC_AUX) == value, "TSC_AUX");
    };
    job(0xA0);
    for index in smp::others() {
        equal!(t, smp::run(index, 1000, job, 0xA0 + index as u64), Ok(()), "on processor {index}");
    }
    equal!(t, rdtscp().1, 0xA0, "TSC_AUX after the others set theirs");
    wrmsr(msr::TSC_AUX, 0);
}

/// The root partition's counter is the machine's.
fn fixed(t: &Checks) {
    let before = rdtsc();
    wrmsr(TSC, 0);
    let after = rdtsc();
    check!(t, after > before, "the machine's counter went from {before} to {after}");
}

/// Ticks of as long as anything may take here.
fn slack() -> u64 {
    clock::tsc_hz() / 10_000_000 * clock::SLACK
}

/// Whether `value` and then some time gave `count`.
fn follows(count: u64, value: u64) -> bool {
    count.wrapping_sub(value) < slack()
}

/// The counter goes on from what was written, on all processors, and reference time as if nothing had been.
fn written(t: &Checks, value: u64) {
    let time = now();
    wrmsr(TSC, value);
    let (count, msr) = (rdtsc(), rdmsr(TSC));
    check!(t, follows(count, value) && follows(msr, count), "{value} written: {count}, then {msr}");
    let (before, middle, after) = (page_time(), rdmsr(hv::TIME_REF_COUNT), page_time());
    check!(
        t,
        time <= middle && middle - time < clock::SLACK,
        "reference time before {value} was written {time}, and then {middle}"
    );
    check!(
        t,
        before.is_some_and(|before| before <= middle) && after.is_some_and(|after| middle <= after),
        "{value} written: page {before:?}, MSR {middle}, page {after:?}"
    );
    for index in smp::others() {
        let job = |value| assert!(follows(rdtsc(), value), "the counter of another processor");
        equal!(t, smp::run(index, 2000, job, value), Ok(()), "processor {index} after {value}");
    }
}

/// Timers that were set before the counter was written come when they are due.
fn running_timers(t: &Checks) {
    const LENGTH: u64 = 20_000;
    for forward in [true, false] {
        let before = (this().count(VECTOR), this().count(VECTOR + 1));
        let due = now() + clock::us(LENGTH);
        apic::start_timer(VECTOR.into(), apic::ticks(LENGTH));
        wrmsr(config(0), u64::from(VECTOR + 1) << 4 | 1 << 12 | AUTO);
        wrmsr(count(0), due);
        let hour = clock::tsc_hz().wrapping_mul(3600);
        let count = rdtsc();
        wrmsr(TSC, if forward { count.wrapping_add(hour) } else { count.wrapping_sub(hour) });
        let taken = || (this().count(VECTOR) - before.0, this().count(VECTOR + 1) - before.1);
        sti();
        // 2 % for the clocks' calibration.
        while now() < due - clock::us(LENGTH / 50) && taken() == (0, 0) {
            cpu::pause();
        }
        let early = now() < due - clock::us(LENGTH / 50);
        wait_until(3000, || taken() == (1, 1));
        cli();
        check!(t, !early, "a timer came early after the counter was written ({forward})");
        equal!(t, taken(), (1, 1), "interrupts after the counter was written ({forward})");
        stop(0);
    }
    apic::quiet();
}
