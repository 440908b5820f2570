//! Costs of the hypervisor, for `cargo xtask bench`: under QEMU's `-icount` the time-stamp counter counts instructions.
//!
//! Runs as a child, as the parent and on a bare machine. Nothing is printed before everything is measured, because the
//! serial port costs exits. One result a line: `bench NAME TICKS OPERATIONS`.

use super::stimer::{AUTO, config, count, stop};
use super::{measure_children, measure_vmbus};
use guests::clock;
use guests::cpu::{self, cli, cpuid, peek, rdmsr, rdtsc, sti, sti_hlt, wrmsr};
use guests::hypercall;
use guests::report::Checks;
use guests::tables::this;
use guests::{check, line};

/// Of a loop.
const ROUNDS: u64 = 10_000;
/// Of what is waited for.
pub const WAITS: u64 = 200;
/// Vector of timers, messages and events.
pub const VECTOR: u8 = 0x6C;
/// A call that the hypervisor does not have (HvCallSwitchVirtualAddressSpace) is the cheapest one.
const NO_CALL: u64 = 0x0001;

/// What was measured.
#[derive(Default)]
pub struct Results {
    /// Name, ticks, and the operations that took them.
    figures: [Option<(&'static str, u64, u64)>; 16],
}

impl Results {
    /// Keeps a figure for the end.
    pub fn add(&mut self, name: &'static str, ticks: u64, operations: u64) {
        if let Some(free) = self.figures.iter_mut().find(|figure| figure.is_none()) {
            *free = Some((name, ticks, operations));
        }
    }

    fn print(&self) {
        for (name, ticks, operations) in self.figures.iter().flatten() {
            line!("bench {name} {ticks} {operations}");
        }
        line!("bench-end");
    }
}

/// All of it.
pub fn run(t: &Checks) {
    let mut results = Results::default();
    cli();
    each(&mut results, "kernel_cpuid", || _ = cpuid(0, 0));
    each(&mut results, "kernel_rdmsr", || _ = rdmsr(cpu::msr::APIC_BASE));
    if hypercall::is_hyperv() {
        each(&mut results, "hypercall", || _ = hypercall::call(NO_CALL, 0, 0));
        timers(t, &mut results);
    }
    if hypercall::is_root() {
        measure_children::run(t, &mut results);
    } else if hypercall::is_hyperv() {
        measure_vmbus::run(t, &mut results);
    }
    results.print();
}

/// A loop of something.
fn each(results: &mut Results, name: &'static str, action: impl Fn()) {
    action();
    let start = rdtsc();
    (0..ROUNDS).for_each(|_| action());
    results.add(name, rdtsc() - start, ROUNDS);
}

/// From the moment when a synthetic timer is due to the instruction after its handler: out of HLT, and while computing.
fn timers(t: &Checks, results: &mut Results) {
    for (name, busy) in [("timer_idle", false), ("timer_busy", true)] {
        let late = (0..WAITS).map(|_| timer(t, busy)).sum();
        results.add(name, late, WAITS);
    }
    stop(0);
}

fn timer(t: &Checks, busy: bool) -> u64 {
    let before = this().count(VECTOR);
    wrmsr(config(0), u64::from(VECTOR) << 4 | 1 << 12 | AUTO);
    let due = clock::now() + clock::us(100);
    wrmsr(count(0), due);
    let at = tsc_of(due);
    let end = at + 10 * clock::tsc_hz();
    while this().count(VECTOR) == before && rdtsc() < end {
        if busy {
            sti();
        } else {
            sti_hlt();
            cli();
        }
    }
    let now = rdtsc();
    cli();
    check!(t, now >= at && now < end, "the timer is {} ticks late", now.wrapping_sub(at));
    now.saturating_sub(at)
}

/// The time-stamp counter's value at a reference time.
fn tsc_of(time: u64) -> u64 {
    let page = clock::reference_page();
    let (scale, offset) = (peek(page + 8), peek(page + 16));
    ((u128::from(time.wrapping_sub(offset)) << 64) / u128::from(scale.max(1))) as u64
}
