//! `rage-…`: a guest that never stops doing what costs others most. Those who suffer look from outside.

use guests::cpu::{self, cpuid, outb, peek, rdmsr, wrmsr};
use guests::report::Checks;
use guests::trap::catch;
use guests::{hypercall, line, memory, smp};
use hvdef::msr as hv;

/// An address that is none of a small child's memory.
const OUTSIDE: u64 = 1 << 30;

fn forever(t: &Checks, job: fn(u64)) {
    line!("raging: {}", t.name());
    smp::others().for_each(|index| smp::begin(index, job, 0));
    job(0);
}

/// Computes with interrupts closed.
pub fn spin(t: &Checks) {
    forever(t, |_| {
        cpu::cli();
        loop {
            core::hint::black_box(0);
        }
    });
}

/// Exceptions of its own: #PF, #GP, #UD and #BP in turn.
pub fn exceptions(t: &Checks) {
    forever(t, |_| {
        loop {
            for action in [page_fault, protection, undefined, breakpoint] {
                let _ = catch(action);
            }
        }
    });
}

fn page_fault() {
    let _ = peek(1 << 46);
}

fn protection() {
    let _ = peek(1 << 63);
}

#[expect(unsafe_code, reason = "executes what faults")]
fn undefined() {
    // SAFETY: faults.
    unsafe { core::arch::asm!("ud2", options(nostack)) };
}

#[expect(unsafe_code, reason = "executes what traps")]
fn breakpoint() {
    // SAFETY: traps.
    unsafe { core::arch::asm!("int3", options(nostack)) };
}

/// What the hypervisor answers by itself.
pub fn exits(t: &Checks) {
    forever(t, |_| {
        loop {
            let _ = (cpuid(0x4000_0001, 0), rdmsr(cpu::msr::APIC_BASE));
            let _ = (hypercall::call(0x7FFF, 0, 0), hypercall::call(0x48, 0, 0));
            let _ = catch(|| rdmsr(0x4000_0200));
        }
    });
}

/// What the parent's worker has to answer: ports, and memory that is not there.
pub fn intercepts(t: &Checks) {
    forever(t, |_| {
        loop {
            outb(0x80, 0);
            let _ = catch(|| peek(OUTSIDE));
        }
    });
}

/// Interrupts to itself and to each other.
pub fn interrupts(t: &Checks) {
    forever(t, |_| {
        cpu::sti();
        loop {
            guests::apic::send_self(0x5B);
            guests::apic::command(0, guests::apic::mode::NMI | guests::apic::mode::OTHERS);
        }
    });
}

/// Reports of its own crash, each with a text of many lines.
pub fn crashes(t: &Checks) {
    let text = memory::pages(1);
    let lines: [u8; 192] = core::array::from_fn(|at| if at % 2 == 0 { b'x' } else { b'\n' });
    memory::put(text, &lines);
    wrmsr(hv::CRASH_P0 + 3, text);
    wrmsr(hv::CRASH_P0 + 4, lines.len() as u64);
    forever(t, |_| {
        loop {
            wrmsr(hv::CRASH_CTL, 3 << 62);
        }
    });
}
