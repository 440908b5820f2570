//! Everybody does as fast as it can what makes the hypervisor work, and time goes on all the same.

use super::Job;
use core::sync::atomic::{AtomicU64, Ordering};
use guests::apic::{self, PERIODIC, ticks};
use guests::clock::{ms, now};
use guests::cpu::{self, cpuid, rdmsr, sti};
use guests::report::Checks;
use guests::rng::Rng;
use guests::tables::this;
use guests::trap::{GP, PF, UD, catch};
use guests::{boot, check, clock, equal, hypercall, line, paging, smp};

const TICK: u8 = 0x59;
/// Length of a storm.
const LENGTH: u64 = ms(300);
/// Between two ticks.
const PERIOD_US: u64 = 5000;

static DONE: AtomicU64 = AtomicU64::new(0);
static WRONG: AtomicU64 = AtomicU64::new(0);
static LATEST: AtomicU64 = AtomicU64::new(0);

/// All of it.
pub fn run(t: &Checks) {
    let storms: [Job; 6] = [
        ("exceptions", exceptions),
        ("CPUID", |_| {
            while_time(|_| cpuid(0x4000_0001, 0)[0] == 0x3123_7648 || !hypercall::is_hyperv())
        }),
        ("MSRs", |_| while_time(|_| rdmsr(cpu::msr::APIC_BASE) & !0xFFF == apic::PAGE)),
        ("refused MSRs", |_| {
            while_time(|_| catch(|| rdmsr(0x4000_0200)).is_err() || !hypercall::is_hyperv())
        }),
        ("hypercalls", |_| {
            while_time(|_| !hypercall::is_hyperv() || hypercall::call(0x7FFF, 0, 0).0 == 2)
        }),
        ("everything", everything),
    ];
    for (name, storm) in storms {
        one(t, name, storm);
    }
}

fn one(t: &Checks, name: &str, storm: fn(u64)) {
    DONE.store(0, Ordering::SeqCst);
    WRONG.store(0, Ordering::SeqCst);
    let before = this().count(TICK);
    apic::start_timer(PERIODIC | u32::from(TICK), ticks(PERIOD_US));
    smp::others().for_each(|index| smp::begin(index, storm, index as u64));
    sti();
    let start = now();
    let own = catch(|| storm(0));
    let after = this().count(TICK);
    let goes_on = clock::wait_until(5000, || this().count(TICK) != after);
    let passed = now() - start;
    cpu::cli();
    apic::write(apic::Reg::INITIAL_COUNT, 0);
    check!(t, own.is_ok(), "{name}: {own:?}");
    for index in smp::others() {
        equal!(t, smp::finish(index, 20_000), Ok(()), "{name} on processor {index}");
    }
    equal!(t, WRONG.load(Ordering::SeqCst), 0, "{name}: wrong answers");
    let (ticked, due) = (u64::from(this().count(TICK) - before), passed / 10 / PERIOD_US);
    // A busy host may swallow most of them.
    check!(t, goes_on && ticked <= due + 2, "{name}: {ticked} of {due} timer interrupts");
    line!(
        "  {name}: {} in {} ms, {ticked} of {due} ticks",
        DONE.load(Ordering::SeqCst),
        passed / 10_000
    );
}

/// Repeats `action`, which tells whether all was well, for the length of the storm.
fn while_time(mut action: impl FnMut(u64) -> bool) {
    let end = now() + LENGTH;
    let (mut rounds, mut wrong) = (0, 0);
    while now() < end {
        wrong += u64::from(!action(rounds));
        rounds += 1;
    }
    DONE.fetch_add(rounds, Ordering::SeqCst);
    WRONG.fetch_add(wrong, Ordering::SeqCst);
    LATEST.fetch_max(now(), Ordering::SeqCst);
}

fn exceptions(_: u64) {
    let absent = paging::window(400);
    while_time(|round| match round % 3 {
        0 => catch(|| cpu::peek(absent)).is_err_and(|trap| trap.vector == PF && trap.cr2 == absent),
        1 => catch(|| cpu::peek(1 << 63)).is_err_and(|trap| trap.vector == GP),
        _ => catch(undefined).is_err_and(|trap| trap.vector == UD),
    });
}

#[expect(unsafe_code, reason = "executes what faults")]
fn undefined() {
    // SAFETY: faults.
    unsafe { core::arch::asm!("ud2", options(nostack)) };
}

fn everything(index: u64) {
    let mut rng = Rng::new(boot::args().seed + index);
    while_time(|_| match rng.below(8) {
        0 => cpuid(1, 0)[0] != 0,
        1 => rdmsr(cpu::msr::APIC_BASE) & !0xFFF == apic::PAGE,
        2 => catch(undefined).is_err_and(|trap| trap.vector == UD),
        3 => !hypercall::is_hyperv() || hypercall::harmless().is_success(),
        4 => {
            let target = rng.below(smp::count() as u64) as usize;
            apic::send(guests::tables::cpu(target).apic_id.load(Ordering::Relaxed), 0x5A);
            true
        }
        5 => {
            apic::command(0, apic::mode::NMI | apic::mode::OTHERS);
            true
        }
        6 if hypercall::is_hyperv() => hypercall::with_input(0x02, &[0, 3, 0]).is_success(),
        _ => {
            apic::send_self(0x5B);
            true
        }
    });
}
