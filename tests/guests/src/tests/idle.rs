//! The guest idle MSR: reading it halts the processor until an interrupt is requested, interrupts open or not.

#![expect(unsafe_code, reason = "opens interrupts for exactly one instruction")]

use core::arch::asm;
use core::sync::atomic::Ordering;
use guests::apic::{self, Reg, requested, send_self, start_timer, ticks, write};
use guests::clock::{self, now};
use guests::cpu::{cpuid, interrupt_window, rdmsr, wrmsr};
use guests::report::Checks;
use guests::tables::{cpu, this};
use guests::trap::GP;
use guests::{check, equal, smp};
use hvdef::msr::GUEST_IDLE;

use super::faults;

const VECTOR: u8 = 0x67;

/// All of it.
pub fn run(t: &Checks) {
    faults(t, GP, format_args!("write to the idle MSR"), || wrmsr(GUEST_IDLE, 0));
    if cpuid(0x4000_0003, 0)[0] & 1 << 10 == 0 {
        return faults(t, GP, format_args!("the idle MSR, which is not offered"), || {
            rdmsr(GUEST_IDLE)
        });
    }
    by_timer(t, false);
    by_timer(t, true);
    requested_before(t);
    held_back(t);
    smp::others().for_each(|index| by_other(t, index));
}

fn taken(before: u32) -> u32 {
    this().count(VECTOR) - before
}

/// Waits for its timer, with interrupts closed and open.
fn by_timer(t: &Checks, open: bool) {
    for round in 0..20 {
        let before = this().count(VECTOR);
        let due = now() + clock::us(490);
        start_timer(VECTOR.into(), ticks(500));
        let value = if open { open_and_idle() } else { rdmsr(GUEST_IDLE) };
        let at = now();
        guests::cpu::cli();
        equal!(t, value, 0, "the idle MSR reads");
        check!(t, at >= due, "round {round}: idle ended {} units early", due.saturating_sub(at));
        check!(t, at < due + clock::SLACK, "round {round}: idle ended {} us late", (at - due) / 10);
        if !open {
            equal!(t, (taken(before), requested(VECTOR)), (0, true), "taken, requested, closed");
        }
        interrupt_window();
        equal!(t, taken(before), 1, "taken once open, round {round}");
    }
}

/// Opens interrupts and goes idle with nothing in between: an interrupt that came before would not end it.
fn open_and_idle() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the interrupt that ends it is handled by the kernel.
    unsafe {
        asm!("sti", "rdmsr", in("ecx") GUEST_IDLE, out("eax") low, out("edx") high, options(nostack));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Something that waits already ends it at once.
fn requested_before(t: &Checks) {
    let before = this().count(VECTOR);
    send_self(VECTOR);
    rdmsr(GUEST_IDLE);
    equal!(t, (taken(before), requested(VECTOR)), (0, true), "taken, requested after idle");
    interrupt_window();
    equal!(t, taken(before), 1, "taken once open");
}

/// Neither does the priority matter: who waits for a lock with it raised is woken all the same.
fn held_back(t: &Checks) {
    let before = this().count(VECTOR);
    write(Reg::TPR, 0xF0);
    start_timer(VECTOR.into(), ticks(500));
    rdmsr(GUEST_IDLE);
    equal!(t, requested(VECTOR), true, "requested after idle with TPR 0xF0");
    interrupt_window();
    equal!(t, taken(before), 0, "taken with TPR 0xF0");
    write(Reg::TPR, 0);
    interrupt_window();
    equal!(t, taken(before), 1, "taken with TPR 0");
}

/// As Linux waits for a lock: closed, idle, and woken by whoever releases it.
fn by_other(t: &Checks, index: usize) {
    const ROUNDS: u64 = 300;
    let job = |end| {
        guests::cpu::cli();
        while u64::from(this().count(VECTOR)) < end {
            rdmsr(GUEST_IDLE);
            interrupt_window();
        }
    };
    let before = cpu(index).count(VECTOR);
    smp::begin(index, job, u64::from(before) + ROUNDS);
    let apic_id = cpu(index).apic_id.load(Ordering::Relaxed);
    for round in 0..ROUNDS as u32 {
        apic::send(apic_id, VECTOR);
        let woke = clock::wait_until(2000, || cpu(index).count(VECTOR) - before > round);
        if !check!(t, woke, "processor {index} did not wake in round {round}") {
            break;
        }
    }
    equal!(t, smp::finish(index, 1000), Ok(()), "processor {index} after its wake-ups");
}
