//! Instructions.
//!
//! All wrappers are safe functions: this kernel is alone on its machine and exists to do what it must not (see the
//! crate's documentation). Those that fault are for use inside [`crate::trap::catch`].
#![expect(unsafe_code, reason = "wraps instructions")]

use core::arch::asm;

/// Answer of CPUID: EAX, EBX, ECX, EDX.
pub type Leaf = [u32; 4];

/// CPUID.
pub fn cpuid(leaf: u32, subleaf: u32) -> Leaf {
    let answer = core::arch::x86_64::__cpuid_count(leaf, subleaf);
    [answer.eax, answer.ebx, answer.ecx, answer.edx]
}

/// CPUID with all 64 bits of RAX to RDX, which are all ones in their upper halves before.
pub fn cpuid_wide(leaf: u32, subleaf: u32) -> [u64; 4] {
    const ONES: u64 = 0xFFFF_FFFF_0000_0000;
    let (mut a, mut b, mut c, mut d) =
        (ONES | u64::from(leaf), ONES, ONES | u64::from(subleaf), ONES);
    // SAFETY: RBX, which the compiler keeps for itself, is put back.
    unsafe {
        asm!(
            "xchg {b}, rbx", "cpuid", "xchg {b}, rbx",
            b = inout(reg) b, inout("rax") a, inout("rcx") c, inout("rdx") d,
            options(nostack)
        );
    }
    [a, b, c, d]
}

/// RDMSR.
#[inline(always)]
pub fn rdmsr(index: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: see the module.
    unsafe {
        asm!("rdmsr", in("ecx") index, out("eax") low, out("edx") high, options(nostack, preserves_flags))
    };
    u64::from(high) << 32 | u64::from(low)
}

/// WRMSR.
#[inline(always)]
pub fn wrmsr(index: u32, value: u64) {
    let (low, high) = (value as u32, (value >> 32) as u32);
    // SAFETY: see the module.
    unsafe {
        asm!("wrmsr", in("ecx") index, in("eax") low, in("edx") high, options(nostack, preserves_flags))
    };
}

/// RDTSC, after what comes before it.
#[inline(always)]
pub fn rdtsc() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a counter.
    unsafe {
        asm!("lfence", "rdtsc", out("eax") low, out("edx") high, options(nostack, nomem, preserves_flags))
    };
    u64::from(high) << 32 | u64::from(low)
}

/// RDTSCP: the counter, and TSC_AUX.
#[inline(always)]
pub fn rdtscp() -> (u64, u32) {
    let (low, high, auxiliary): (u32, u32, u32);
    // SAFETY: reads a counter.
    unsafe {
        asm!("rdtscp", out("eax") low, out("edx") high, out("ecx") auxiliary, options(nostack, nomem, preserves_flags))
    };
    (u64::from(high) << 32 | u64::from(low), auxiliary)
}

macro_rules! control_registers {
    ($($(#[$doc:meta])* $read:ident, $write:ident, $name:literal;)+) => {
        $(
            $(#[$doc])*
            #[inline(always)]
            pub fn $read() -> u64 {
                let value: u64;
                // SAFETY: see the module.
                unsafe { asm!(concat!("mov {}, ", $name), out(reg) value, options(nostack, preserves_flags)) };
                value
            }
            $(#[$doc])*
            #[inline(always)]
            pub fn $write(value: u64) {
                // SAFETY: see the module.
                unsafe { asm!(concat!("mov ", $name, ", {}"), in(reg) value, options(nostack, preserves_flags)) };
            }
        )+
    };
}

control_registers! {
    /// CR0.
    cr0, set_cr0, "cr0";
    /// CR2.
    cr2, set_cr2, "cr2";
    /// CR3.
    cr3, set_cr3, "cr3";
    /// CR4.
    cr4, set_cr4, "cr4";
    /// CR8: task priority class.
    cr8, set_cr8, "cr8";
    /// DR0.
    dr0, set_dr0, "dr0";
    /// DR1.
    dr1, set_dr1, "dr1";
    /// DR2.
    dr2, set_dr2, "dr2";
    /// DR3.
    dr3, set_dr3, "dr3";
    /// DR6.
    dr6, set_dr6, "dr6";
    /// DR7.
    dr7, set_dr7, "dr7";
}

/// XGETBV.
pub fn xgetbv(index: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: see the module.
    unsafe {
        asm!("xgetbv", in("ecx") index, out("eax") low, out("edx") high, options(nostack, preserves_flags))
    };
    u64::from(high) << 32 | u64::from(low)
}

/// XSETBV.
pub fn xsetbv(index: u32, value: u64) {
    let (low, high) = (value as u32, (value >> 32) as u32);
    // SAFETY: see the module.
    unsafe {
        asm!("xsetbv", in("ecx") index, in("eax") low, in("edx") high, options(nostack, preserves_flags))
    };
}

/// Opens interrupts.
#[inline(always)]
pub fn sti() {
    // SAFETY: see the module.
    unsafe { asm!("sti", options(nostack)) };
}

/// Closes interrupts.
#[inline(always)]
pub fn cli() {
    // SAFETY: see the module.
    unsafe { asm!("cli", options(nostack)) };
}

/// Opens interrupts and waits for one, with nothing in between; returns with interrupts open.
#[inline(always)]
pub fn sti_hlt() {
    // SAFETY: see the module.
    unsafe { asm!("sti", "hlt", options(nostack)) };
}

/// Opens interrupts for an instant.
#[inline(always)]
pub fn interrupt_window() {
    // SAFETY: see the module.
    unsafe { asm!("sti", "nop", "nop", "cli", options(nostack)) };
}

/// RFLAGS.
pub fn rflags() -> u64 {
    let value: u64;
    // SAFETY: reads flags through the stack.
    unsafe { asm!("pushfq", "pop {}", out(reg) value, options(preserves_flags)) };
    value
}

/// PAUSE.
#[inline(always)]
pub fn pause() {
    core::hint::spin_loop();
}

/// Drops the translation of one address on this processor.
pub fn invlpg(address: u64) {
    // SAFETY: see the module.
    unsafe { asm!("invlpg [{}]", in(reg) address, options(nostack, preserves_flags)) };
}

/// Reads a port.
pub fn inb(port: u16) -> u8 {
    let value: u8;
    // SAFETY: see the module.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nostack, preserves_flags)) };
    value
}

/// Writes a port.
pub fn outb(port: u16, value: u8) {
    // SAFETY: see the module.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nostack, preserves_flags)) };
}

/// Writes a 32-bit port.
pub fn outl(port: u16, value: u32) {
    // SAFETY: see the module.
    unsafe {
        asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack, preserves_flags))
    };
}

/// Reads 8 bytes of memory at an address that may not be there.
#[inline(always)]
pub fn peek(address: u64) -> u64 {
    let value: u64;
    // SAFETY: see the module; the assembly cannot be moved or left out.
    unsafe {
        asm!("mov {}, [{}]", out(reg) value, in(reg) address, options(nostack, preserves_flags))
    };
    value
}

/// Writes 8 bytes of memory at an address that may not be there.
#[inline(always)]
pub fn poke(address: u64, value: u64) {
    // SAFETY: see the module.
    unsafe {
        asm!("mov [{}], {}", in(reg) address, in(reg) value, options(nostack, preserves_flags))
    };
}

/// Reads 4 bytes, as registers of devices want.
#[inline(always)]
pub fn peek32(address: u64) -> u32 {
    let value: u32;
    // SAFETY: see the module.
    unsafe {
        asm!("mov {:e}, [{}]", out(reg) value, in(reg) address, options(nostack, preserves_flags))
    };
    value
}

/// Writes 4 bytes.
#[inline(always)]
pub fn poke32(address: u64, value: u32) {
    // SAFETY: see the module.
    unsafe {
        asm!("mov [{}], {:e}", in(reg) address, in(reg) value, options(nostack, preserves_flags))
    };
}

/// Reads a byte.
#[inline(always)]
pub fn peek8(address: u64) -> u8 {
    let value: u8;
    // SAFETY: see the module.
    unsafe {
        asm!("mov {}, [{}]", out(reg_byte) value, in(reg) address, options(nostack, preserves_flags))
    };
    value
}

/// Writes a byte.
#[inline(always)]
pub fn poke8(address: u64, value: u8) {
    // SAFETY: see the module.
    unsafe {
        asm!("mov [{}], {}", in(reg) address, in(reg_byte) value, options(nostack, preserves_flags))
    };
}

/// Bits that tests look at.
pub mod bits {
    /// CR4: FXSAVE and SSE.
    pub const CR4_OSFXSR: u64 = 1 << 9;
    /// CR4: SSE exceptions.
    pub const CR4_OSXMMEXCPT: u64 = 1 << 10;
    /// CR4: XSAVE.
    pub const CR4_OSXSAVE: u64 = 1 << 18;
    /// CR4: debugging extensions.
    pub const CR4_DE: u64 = 1 << 3;
    /// CR0: monitor coprocessor.
    pub const CR0_MP: u64 = 1 << 1;
    /// CR0: emulate coprocessor.
    pub const CR0_EM: u64 = 1 << 2;
    /// CR0: task switched.
    pub const CR0_TS: u64 = 1 << 3;
    /// CR0: read-only pages are so for everybody.
    pub const CR0_WP: u64 = 1 << 16;
    /// RFLAGS: trap.
    pub const TF: u64 = 1 << 8;
    /// RFLAGS: interrupts open.
    pub const IF: u64 = 1 << 9;
}

/// Numbers of MSRs that are no hypervisor's.
pub mod msr {
    /// APIC base.
    pub const APIC_BASE: u32 = 0x1B;
    /// Page attribute table.
    pub const PAT: u32 = 0x277;
    /// Extended features.
    pub const EFER: u32 = 0xC000_0080;
    /// FS base.
    pub const FS_BASE: u32 = 0xC000_0100;
    /// GS base.
    pub const GS_BASE: u32 = 0xC000_0101;
    /// The other GS base.
    pub const KERNEL_GS_BASE: u32 = 0xC000_0102;
    /// TSC_AUX.
    pub const TSC_AUX: u32 = 0xC000_0103;
    /// Those that hold any canonical address: STAR, LSTAR, CSTAR, the flags SYSCALL clears (an address only by its width),
    /// the FS base and the other GS base, SYSENTER's stack and entry.
    pub const ADDRESSES: [u32; 8] =
        [0xC000_0081, 0xC000_0082, 0xC000_0083, 0xC000_0084, FS_BASE, KERNEL_GS_BASE, 0x175, 0x176];
    /// AMD-V control.
    pub const VM_CR: u32 = 0xC001_0114;
    /// AMD-V host save area.
    pub const VM_HSAVE_PA: u32 = 0xC001_0117;
}
