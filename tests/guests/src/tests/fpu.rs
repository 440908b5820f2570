//! Floating-point and vector state: what a processor computes with is its own over every exit.

use super::{faults, works};
use guests::cpu::{self, bits, cpuid, set_cr4, xgetbv, xsetbv};
use guests::report::Checks;
use guests::rng::Rng;
use guests::trap::{GP, NM, UD};
use guests::{apic, boot, check, equal, smp, user};

/// All of it.
pub fn run(t: &Checks) {
    let avx = has_avx();
    if cpuid(1, 0)[2] & 1 << 26 != 0 {
        xcr0_rules(t);
        xcr0_kept(t, avx);
    }
    equal!(t, work(boot::args().seed, 300), 0, "rounds in which state changed");
    together(t);
    lazy(t);
}

pub fn has_avx() -> bool {
    let ecx = cpuid(1, 0)[2];
    ecx & 1 << 26 != 0 && ecx & 1 << 28 != 0
}

fn xcr0_rules(t: &Checks) {
    let offered = u64::from(cpuid(0xD, 0)[0]) | u64::from(cpuid(0xD, 0)[3]) << 32;
    let refused = [
        (0, "0"),
        (2, "SSE without x87"),
        (5, "AVX without SSE"),
        (1 << 62 | 1, "reserved bit 62"),
    ];
    for (value, what) in refused {
        faults(t, GP, format_args!("XSETBV: {what}"), || xsetbv(0, value));
    }
    for bit in (0..64).filter(|&bit| offered & 1 << bit == 0) {
        faults(t, GP, format_args!("XSETBV: bit {bit}, which CPUID does not offer"), || {
            xsetbv(0, 1 | 1 << bit)
        });
    }
    faults(t, GP, format_args!("XSETBV: register 1"), || xsetbv(1, 1));
    faults(t, GP, format_args!("XSETBV: register 0x80000000"), || xsetbv(0x8000_0000, 1));
    equal!(t, xgetbv(0), 1, "XCR0 after refused writes");
    set_cr4(cpu::cr4() & !bits::CR4_OSXSAVE);
    faults(t, UD, format_args!("XSETBV without CR4.OSXSAVE"), || xsetbv(0, 1));
    faults(t, UD, format_args!("XGETBV without CR4.OSXSAVE"), || xgetbv(0));
    set_cr4(cpu::cr4() | bits::CR4_OSXSAVE);
    // xsetbv; int3 in ring 3
    let trap = user::run(&[0x0F, 0x01, 0xD1, 0xCC], [1, 0, 0, 0], 0);
    equal!(t, (trap.vector, trap.rip), (GP, user::code_address()), "XSETBV in ring 3");
}

fn xcr0_kept(t: &Checks, avx: bool) {
    for value in [1, 3, if avx { 7 } else { 3 }] {
        works(t, format_args!("XSETBV {value}"), || xsetbv(0, value));
        let _ = cpuid(1, 0);
        let _ = cpu::rdmsr(0x1B);
        equal!(t, xgetbv(0), value, "XCR0 over exits");
    }
}

/// XMM or YMM registers as memory.
#[repr(C, align(64))]
#[derive(Clone, PartialEq, Eq)]
pub struct Vectors(pub [u64; 64]);

#[expect(unsafe_code, reason = "moves vector registers")]
pub mod raw {
    use super::Vectors;
    use core::arch::asm;

    macro_rules! each {
        ($($op:literal),+) => {
            concat!($($op, "\n",)+)
        };
    }

    pub fn load_xmm(values: &Vectors) {
        // SAFETY: reads 256 bytes; the kernel itself uses no vector registers.
        unsafe {
            asm!(
                each!(
                    "movups xmm0, [{v}]", "movups xmm1, [{v}+16]", "movups xmm2, [{v}+32]", "movups xmm3, [{v}+48]",
                    "movups xmm4, [{v}+64]", "movups xmm5, [{v}+80]", "movups xmm6, [{v}+96]", "movups xmm7, [{v}+112]",
                    "movups xmm8, [{v}+128]", "movups xmm9, [{v}+144]", "movups xmm10, [{v}+160]", "movups xmm11, [{v}+176]",
                    "movups xmm12, [{v}+192]", "movups xmm13, [{v}+208]", "movups xmm14, [{v}+224]", "movups xmm15, [{v}+240]"
                ),
                v = in(reg) values, options(nostack)
            );
        }
    }

    pub fn store_xmm(values: &mut Vectors) {
        // SAFETY: writes 256 bytes.
        unsafe {
            asm!(
                each!(
                    "movups [{v}], xmm0", "movups [{v}+16], xmm1", "movups [{v}+32], xmm2", "movups [{v}+48], xmm3",
                    "movups [{v}+64], xmm4", "movups [{v}+80], xmm5", "movups [{v}+96], xmm6", "movups [{v}+112], xmm7",
                    "movups [{v}+128], xmm8", "movups [{v}+144], xmm9", "movups [{v}+160], xmm10", "movups [{v}+176], xmm11",
                    "movups [{v}+192], xmm12", "movups [{v}+208], xmm13", "movups [{v}+224], xmm14", "movups [{v}+240], xmm15"
                ),
                v = in(reg) values, options(nostack)
            );
        }
    }

    pub fn load_ymm(values: &Vectors) {
        // SAFETY: reads 512 bytes; XCR0 allows it.
        unsafe {
            asm!(
                each!(
                    "vmovups ymm0, [{v}]", "vmovups ymm1, [{v}+32]", "vmovups ymm2, [{v}+64]", "vmovups ymm3, [{v}+96]",
                    "vmovups ymm4, [{v}+128]", "vmovups ymm5, [{v}+160]", "vmovups ymm6, [{v}+192]", "vmovups ymm7, [{v}+224]",
                    "vmovups ymm8, [{v}+256]", "vmovups ymm9, [{v}+288]", "vmovups ymm10, [{v}+320]", "vmovups ymm11, [{v}+352]",
                    "vmovups ymm12, [{v}+384]", "vmovups ymm13, [{v}+416]", "vmovups ymm14, [{v}+448]", "vmovups ymm15, [{v}+480]"
                ),
                v = in(reg) values, options(nostack)
            );
        }
    }

    pub fn store_ymm(values: &mut Vectors) {
        // SAFETY: writes 512 bytes.
        unsafe {
            asm!(
                each!(
                    "vmovups [{v}], ymm0", "vmovups [{v}+32], ymm1", "vmovups [{v}+64], ymm2", "vmovups [{v}+96], ymm3",
                    "vmovups [{v}+128], ymm4", "vmovups [{v}+160], ymm5", "vmovups [{v}+192], ymm6", "vmovups [{v}+224], ymm7",
                    "vmovups [{v}+256], ymm8", "vmovups [{v}+288], ymm9", "vmovups [{v}+320], ymm10", "vmovups [{v}+352], ymm11",
                    "vmovups [{v}+384], ymm12", "vmovups [{v}+416], ymm13", "vmovups [{v}+448], ymm14", "vmovups [{v}+480], ymm15"
                ),
                v = in(reg) values, options(nostack)
            );
        }
    }

    pub fn load_x87(word: u64, control: u16, mxcsr: u32) {
        // SAFETY: starts the x87 afresh.
        unsafe {
            asm!("fninit", "fldcw [{c}]", "fild qword ptr [{w}]", "fild qword ptr [{w}]", "ldmxcsr [{m}]",
                c = in(reg) &control, w = in(reg) &word, m = in(reg) &mxcsr, options(nostack));
        }
    }

    pub fn store_x87() -> (u64, u16, u32) {
        let (mut word, mut control, mut mxcsr) = (0u64, 0u16, 0u32);
        // SAFETY: takes from the x87 stack what `load_x87` put there.
        unsafe {
            asm!("fstp st(0)", "fistp qword ptr [{w}]", "fnstcw [{c}]", "stmxcsr [{m}]",
                c = in(reg) &mut control, w = in(reg) &mut word, m = in(reg) &mut mxcsr, options(nostack));
        }
        (word, control, mxcsr)
    }

    pub fn touch() {
        // SAFETY: changes no value.
        unsafe { asm!("movups xmm0, xmm0", options(nostack)) };
    }
}

/// Fills everything with random values, exits in several ways, and looks. How often something had changed.
fn work(seed: u64, rounds: u32) -> u32 {
    let mut rng = Rng::new(seed);
    let avx = has_avx();
    if cpuid(1, 0)[2] & 1 << 26 != 0 {
        xsetbv(0, if avx { 7 } else { 3 });
    }
    let mut bad = 0;
    for round in 0..rounds {
        let values = Vectors(core::array::from_fn(|i| if avx || i < 32 { rng.word() } else { 0 }));
        let (word, control) = (rng.word() >> 8, 0x37F ^ (round as u16 & 3) << 10);
        let mxcsr = 0x1F80 | (round & 3) << 13;
        raw::load_x87(word, control, mxcsr);
        if avx {
            raw::load_ymm(&values)
        } else {
            raw::load_xmm(&values)
        }
        leave(round);
        let mut after = Vectors([0; 64]);
        if avx {
            raw::store_ymm(&mut after)
        } else {
            raw::store_xmm(&mut after)
        }
        bad += u32::from(after != values || raw::store_x87() != (word, control, mxcsr));
    }
    bad
}

/// Leaves the guest for the hypervisor, in one of several ways.
fn leave(round: u32) {
    match round % 5 {
        0 => {
            let _ = cpuid(1, 0);
        }
        1 => {
            let _ = cpu::rdmsr(0x1B);
        }
        2 if guests::hypercall::is_hyperv() => {
            let _ = guests::hypercall::with_input(4, &[0]);
        }
        3 => {
            let enabled = cpu::rflags() & bits::IF != 0;
            cpu::cli();
            apic::start_timer(0x52, apic::ticks(60));
            cpu::sti_hlt();
            if !enabled {
                cpu::cli();
            }
        }
        _ => apic::send_self(0x53),
    }
}

/// All processors at once, each with patterns of its own.
fn together(t: &Checks) {
    let job = |seed| assert!(work(seed, 150) == 0, "state changed");
    smp::others().for_each(|index| smp::begin(index, job, 1000 + index as u64));
    equal!(t, work(5, 150), 0, "rounds in which state changed, all processors at work");
    for index in smp::others() {
        equal!(t, smp::finish(index, 20_000), Ok(()), "state on processor {index}");
    }
}

/// CR0.TS is the guest's own: #NM comes when it is set, and only then.
fn lazy(t: &Checks) {
    cpu::set_cr0(cpu::cr0() | bits::CR0_TS);
    let _ = cpuid(1, 0);
    check!(t, cpu::cr0() & bits::CR0_TS != 0, "CR0.TS was lost over an exit");
    faults(t, NM, format_args!("SSE with CR0.TS set"), raw::touch);
    cpu::set_cr0(cpu::cr0() & !bits::CR0_TS);
    let _ = cpuid(1, 0);
    works(t, format_args!("SSE with CR0.TS clear"), raw::touch);
}
