//! Model-specific registers: numbers and access.
#![expect(unsafe_code, reason = "RDMSR and WRMSR")]

use core::arch::asm;

/// Local APIC base and mode.
pub const APIC_BASE: u32 = 0x1B;
/// Time-stamp counter.
pub const TSC: u32 = 0x10;
/// First x2APIC register.
pub const X2APIC_FIRST: u32 = 0x800;
/// Last x2APIC register.
pub const X2APIC_LAST: u32 = 0x8FF;
/// Page attribute table.
pub const PAT: u32 = 0x277;
/// What MTRRs there are.
pub const MTRR_CAP: u32 = 0xFE;
/// Variable-range and fixed MTRRs lie in this range.
pub const MTRR_FIRST: u32 = 0x200;
/// Default memory type, the last MTRR.
pub const MTRR_DEF_TYPE: u32 = 0x2FF;
/// Extended features.
pub const EFER: u32 = 0xC000_0080;
/// GS base.
pub const GS_BASE: u32 = 0xC000_0101;
/// `SYSCFG`, memory encryption and MTRR extensions (AMD).
pub const SYSCFG: u32 = 0xC001_0010;
/// Virtual machine control (AMD).
pub const VM_CR: u32 = 0xC001_0114;
/// Host save area (AMD).
pub const VM_HSAVE_PA: u32 = 0xC001_0117;

/// EFER: system call extensions.
pub const EFER_SCE: u64 = 1 << 0;
/// EFER: long mode enable.
pub const EFER_LME: u64 = 1 << 8;
/// EFER: long mode active.
pub const EFER_LMA: u64 = 1 << 10;
/// EFER: no-execute enable.
pub const EFER_NXE: u64 = 1 << 11;
/// EFER: AMD-V enable.
pub const EFER_SVME: u64 = 1 << 12;
/// VM_CR: AMD-V is disabled.
pub const VM_CR_SVMDIS: u64 = 1 << 4;

/// Reads a model-specific register.
///
/// # Safety
/// The register exists on this processor; otherwise the read raises #GP, which ends the hypervisor.
pub unsafe fn read(msr: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the caller vouches for the register; reading has no effect on memory.
    unsafe {
        asm!("rdmsr", in("ecx") msr, out("eax") low, out("edx") high, options(nomem, nostack))
    };
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a model-specific register.
///
/// # Safety
/// The register exists, takes the value, and the effect keeps the hypervisor's own state intact.
pub unsafe fn write(msr: u32, value: u64) {
    // SAFETY: as the caller vouches. Memory is not assumed unchanged.
    unsafe {
        asm!("wrmsr", in("ecx") msr, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack))
    };
}
