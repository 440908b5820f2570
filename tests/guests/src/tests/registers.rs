//! Registers keep what is in them over every kind of exit.

use guests::cpu::{self, cr2, set_cr2};
use guests::report::Checks;
use guests::rng::Rng;
use guests::{apic, boot, check, equal, smp};

/// All of it.
pub fn run(t: &Checks) {
    general(t);
    addresses(t);
    over_interrupts(t);
    for index in smp::others() {
        equal!(
            t,
            smp::run(index, 5000, |_| assert!(scan(200, 7) == 0, "registers changed"), 0),
            Ok(()),
            "processor {index}"
        );
    }
}

/// Fills RBX, RBP, RSI, RDI and R8 to R15 from `values`, executes `$exit`, and stores them back.
macro_rules! around {
    ($values:expr, $($exit:literal),+) => {
        // SAFETY: everything changed is put back or declared; `values` has 12 words.
        unsafe {
            core::arch::asm!(
                "push rbx", "push rbp", "push rax",
                "mov rbx, [rax]", "mov rbp, [rax + 8]", "mov rsi, [rax + 16]", "mov rdi, [rax + 24]",
                "mov r8, [rax + 32]", "mov r9, [rax + 40]", "mov r10, [rax + 48]", "mov r11, [rax + 56]",
                "mov r12, [rax + 64]", "mov r13, [rax + 72]", "mov r14, [rax + 80]", "mov r15, [rax + 88]",
                $($exit,)+
                "xchg rbx, [rsp]",
                "pop qword ptr [rbx]",
                "mov [rbx + 8], rbp", "mov [rbx + 16], rsi", "mov [rbx + 24], rdi",
                "mov [rbx + 32], r8", "mov [rbx + 40], r9", "mov [rbx + 48], r10", "mov [rbx + 56], r11",
                "mov [rbx + 64], r12", "mov [rbx + 72], r13", "mov [rbx + 80], r14", "mov [rbx + 88], r15",
                "pop rbp", "pop rbx",
                inout("rax") $values => _, out("rcx") _, out("rdx") _, out("rsi") _, out("rdi") _,
                out("r8") _, out("r9") _, out("r10") _, out("r11") _, out("r12") _, out("r13") _, out("r14") _, out("r15") _,
            )
        }
    };
}

#[expect(unsafe_code, reason = "fills registers")]
fn by_msr(values: &mut [u64; 12]) {
    around!(values.as_mut_ptr(), "mov ecx, 0x1B", "rdmsr");
}

#[expect(unsafe_code, reason = "fills registers")]
fn by_pages(values: &mut [u64; 12]) {
    // Port 0x61 and CR3: exits for some hypervisors, none for others.
    around!(values.as_mut_ptr(), "in al, 0x61", "mov rax, cr3", "mov cr3, rax", "wbinvd");
}

#[expect(unsafe_code, reason = "fills registers")]
fn by_interrupt(values: &mut [u64; 12]) {
    around!(values.as_mut_ptr(), "sti", "hlt", "cli");
}

/// Rounds in which a register changed.
fn scan(rounds: u32, seed: u64) -> u32 {
    let mut rng = Rng::new(seed);
    let mut bad = 0;
    for round in 0..rounds {
        let values: [u64; 12] = core::array::from_fn(|_| rng.word());
        let mut after = values;
        if round & 1 == 0 {
            by_msr(&mut after)
        } else {
            by_pages(&mut after)
        }
        bad += u32::from(after != values);
    }
    bad
}

fn general(t: &Checks) {
    equal!(
        t,
        scan(2000, boot::args().seed),
        0,
        "rounds in which registers changed over RDMSR, IN, WBINVD"
    );
}

/// CR2 is not the hypervisor's, whatever it does in between.
fn addresses(t: &Checks) {
    for value in [0, 0x1234_5678_9ABC, 0xFFFF_8000_0000_0000] {
        set_cr2(value);
        let _ = cpu::cpuid(1, 0);
        let _ = cpu::rdmsr(0x1B);
        equal!(t, cr2(), value, "CR2 over exits");
    }
    let (cr0, cr3, cr4) = (cpu::cr0(), cpu::cr3(), cpu::cr4());
    let _ = cpu::cpuid(1, 0);
    equal!(t, (cpu::cr0(), cpu::cr3(), cpu::cr4()), (cr0, cr3, cr4), "CR0, CR3, CR4 over an exit");
    for class in [0, 5, 15, 0] {
        cpu::set_cr8(class);
        let _ = cpu::cpuid(1, 0);
        equal!(t, cpu::cr8(), class, "CR8 over an exit");
        equal!(
            t,
            u64::from(apic::read(apic::Reg::TPR)),
            class << 4,
            "the APIC's TPR with CR8 {class}"
        );
        equal!(t, cpu::cr8(), class, "CR8 after the APIC's TPR was read");
    }
    for tpr in [0xF0, 0x3F, 0] {
        apic::write(apic::Reg::TPR, tpr);
        equal!(t, cpu::cr8(), u64::from(tpr >> 4), "CR8 with the APIC's TPR {tpr:#x}");
        equal!(t, apic::read(apic::Reg::TPR), tpr, "the APIC's TPR reads back");
    }
}

fn over_interrupts(t: &Checks) {
    const VECTOR: u8 = 0x51;
    let mut rng = Rng::new(boot::args().seed);
    for round in 0..50 {
        let values: [u64; 12] = core::array::from_fn(|_| rng.word());
        let mut after = values;
        apic::start_timer(u32::from(VECTOR), apic::ticks(50 + rng.below(200)));
        by_interrupt(&mut after);
        if !equal!(t, after, values, "registers over HLT and interrupt, round {round}") {
            break;
        }
    }
    let taken = guests::tables::this().count(VECTOR);
    check!(t, taken >= 50, "{taken} of 50 timer interrupts");
}
