//! When interrupts come in: the shadow of STI and MOV SS, HLT, and the races between them and a timer.
#![expect(unsafe_code, reason = "opens interrupts instruction by instruction")]

use core::arch::asm;
use core::sync::atomic::Ordering;
use guests::apic::{self, mode, requested, send_self, start_timer, ticks};
use guests::clock::{self, ms, now};
use guests::cpu::{cli, sti, sti_hlt};
use guests::report::Checks;
use guests::rng::Rng;
use guests::tables::this;
use guests::trap::NMI;
use guests::{boot, check, equal, hypercall, line, smp};

const VECTOR: u8 = 0x57;
/// Comes long after what is waited for: its arrival alone means that a wake-up was lost.
const GUARD: u8 = 0x58;

/// `interrupt-window`.
pub fn run(t: &Checks) {
    shadows(t);
    by_flags(t);
    closed(t);
    races(t);
}

fn taken(before: u32) -> u32 {
    this().count(VECTOR) - before
}

/// Requests an interrupt while closed, executes `$code`, and gives the distance from its first byte at which the
/// interrupt came in.
macro_rules! came_in {
    ($($code:literal),+) => {{
        let first: u64;
        send_self(VECTOR);
        // SAFETY: the interrupt's handler only counts; interrupts are closed again at the end.
        unsafe {
            asm!(
                "push rbx", "lea r12, [rip + 2f]", "2:", $($code,)+ "nop", "nop", "cli", "pop rbx",
                out("r12") first, out("rax") _, inout("rcx") 0x1Bu64 => _, out("rdx") _, out("r8") _,
            );
        }
        this().last_rip.load(Ordering::SeqCst).wrapping_sub(first)
    }};
}

fn shadows(t: &Checks) {
    equal!(t, came_in!("sti", "nop", "nop"), 2, "interrupt after STI, NOP");
    equal!(t, came_in!("sti", "cpuid", "nop"), 3, "interrupt after STI, CPUID");
    equal!(t, came_in!("sti", "rdmsr", "nop"), 3, "interrupt after STI, RDMSR");
    equal!(t, came_in!("sti", "wbinvd", "nop"), 3, "interrupt after STI, WBINVD");
    equal!(t, came_in!("sti", "hlt", "nop"), 2, "interrupt after STI, HLT");
    if hypercall::is_hyperv() {
        equal!(
            t,
            came_in!("xor ecx, ecx", "sti", "vmmcall", "nop"),
            6,
            "interrupt after STI, VMMCALL"
        );
    }
    equal!(t, came_in!("cpuid", "sti", "nop"), 4, "interrupt after CPUID, STI, NOP");
    equal!(
        t,
        came_in!("mov edx, ss", "sti", "nop", "mov ss, edx", "nop"),
        4,
        "interrupt before MOV SS"
    );
}

/// POPF and IRET open interrupts at once.
fn by_flags(t: &Checks) {
    equal!(t, came_in!("pushfq", "or qword ptr [rsp], 0x200", "popfq"), 10, "interrupt after POPF");
    let before = this().count(VECTOR);
    send_self(VECTOR);
    // SAFETY: returns to the next instruction, with interrupts open.
    unsafe {
        asm!(
            "mov {s}, rsp", "push {ss}", "push {s}", "pushfq", "or qword ptr [rsp], 0x200", "push {cs}",
            "lea {s}, [rip + 2f]", "push {s}", "iretq", "2:", "nop", "cli",
            s = out(reg) _, ss = in(reg) 0x10u64, cs = in(reg) 0x08u64,
        );
    }
    equal!(t, taken(before), 1, "interrupts after IRET opened them");
}

/// Nothing comes while closed, whatever exits happen.
fn closed(t: &Checks) {
    let before = this().count(VECTOR);
    send_self(VECTOR);
    for _ in 0..100 {
        let _ = guests::cpu::cpuid(1, 0);
    }
    start_timer(VECTOR.into(), ticks(100));
    clock::delay_us(2000);
    equal!(t, (taken(before), requested(VECTOR)), (0, true), "taken, requested while closed");
    guests::cpu::interrupt_window();
    equal!(t, taken(before), 1, "taken once open");
}

/// Waits for the timer in HLT; `false` if only the guard came.
fn wait_in_hlt(before: u32) -> bool {
    let guard = this().count(GUARD);
    while taken(before) == 0 && this().count(GUARD) == guard {
        sti_hlt();
        cli();
    }
    taken(before) != 0
}

/// A timer that expires at any moment around HLT always ends it.
fn races(t: &Checks) {
    let mut rng = Rng::new(boot::args().seed);
    let guarded = hypercall::is_hyperv();
    let rounds = 1500;
    for round in 0..rounds {
        if guarded && round % 16 == 0 {
            guests::cpu::wrmsr(
                hvdef::msr::STIMER0_CONFIG + 6,
                u64::from(GUARD) << 4 | 1 << 12 | 1 << 3,
            );
            guests::cpu::wrmsr(hvdef::msr::STIMER0_COUNT + 6, now() + ms(2000));
        }
        let before = this().count(VECTOR);
        start_timer(VECTOR.into(), 1 + rng.below(u64::from(ticks(120))) as u32);
        for _ in 0..rng.below(200) {
            guests::cpu::pause();
        }
        if rng.one_in(4) {
            sti();
            guests::cpu::pause();
            cli();
        }
        if !check!(t, wait_in_hlt(before), "round {round}: the timer did not end HLT") {
            break;
        }
        equal!(t, taken(before), 1, "interrupts in round {round}");
    }
}

/// `hlt-wakeup`.
pub fn hlt(t: &Checks) {
    by_timer(t);
    by_nmi(t);
    if hypercall::is_hyperv() {
        by_stimer(t);
    }
    for index in smp::others() {
        by_ipi(t, index);
    }
}

fn by_timer(t: &Checks) {
    let mut worst = 0;
    for round in 0..50 {
        let before = this().count(VECTOR);
        let due = now() + clock::us(500);
        start_timer(VECTOR.into(), ticks(500));
        sti_hlt();
        let late = now().saturating_sub(due);
        cli();
        equal!(t, taken(before), 1, "interrupts that ended HLT, round {round}");
        worst = worst.max(late);
    }
    line!("  HLT ended at most {} us late", worst / 10);
    check!(t, worst < clock::SLACK, "HLT ended {} us late", worst / 10);
}

/// An NMI ends HLT even with interrupts closed, and another interrupt does not.
fn by_nmi(t: &Checks) {
    if smp::count() < 2 {
        return;
    }
    let before = (this().count(NMI), this().count(VECTOR));
    let job = |apic_id: u64| {
        clock::delay_us(3000);
        apic::send(apic_id as u32, VECTOR);
        clock::delay_us(20_000);
        apic::command(apic_id as u32, mode::NMI);
    };
    let start = now();
    smp::begin(1, job, apic::id().into());
    // SAFETY: the other processor's NMI ends it.
    unsafe { asm!("cli", "hlt", options(nostack)) };
    let passed = now() - start;
    equal!(
        t,
        (this().count(NMI) - before.0, this().count(VECTOR) - before.1),
        (1, 0),
        "NMIs, interrupts in closed HLT"
    );
    check!(t, passed >= ms(20), "closed HLT ended after {} us, before the NMI", passed / 10);
    equal!(t, smp::finish(1, 1000), Ok(()), "the sender");
    guests::cpu::interrupt_window();
    equal!(t, this().count(VECTOR) - before.1, 1, "interrupts once open");
}

fn by_stimer(t: &Checks) {
    use super::stimer::{AUTO, config, count, stop};
    for round in 0..30 {
        let before = this().count(VECTOR);
        guests::cpu::wrmsr(config(0), u64::from(VECTOR) << 4 | 1 << 12 | AUTO);
        let due = now() + clock::us(300);
        guests::cpu::wrmsr(count(0), due);
        while taken(before) == 0 {
            sti_hlt();
            cli();
        }
        check!(t, now() >= due, "a synthetic timer ended HLT early, round {round}");
    }
    stop(0);
}

fn by_ipi(t: &Checks, index: usize) {
    // Until so many interrupts have come.
    let job = |end| {
        cli();
        while u64::from(this().count(VECTOR)) < end {
            sti_hlt();
            cli();
        }
    };
    let rounds = 300;
    let before = guests::tables::cpu(index).count(VECTOR);
    smp::begin(index, job, u64::from(before) + rounds);
    let apic_id = guests::tables::cpu(index).apic_id.load(Ordering::Relaxed);
    for round in 0..rounds as u32 {
        apic::send(apic_id, VECTOR);
        let woke =
            clock::wait_until(2000, || guests::tables::cpu(index).count(VECTOR) - before > round);
        if !check!(t, woke, "processor {index} did not wake in round {round}") {
            break;
        }
    }
    equal!(t, smp::finish(index, 1000), Ok(()), "processor {index} after its wake-ups");
}
