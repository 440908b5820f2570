//! Single instructions on processor state.
#![expect(unsafe_code, reason = "each function wraps one privileged instruction")]

use core::arch::asm;
pub use core::arch::x86_64::CpuidResult;

/// CR0: write protection of read-only pages in supervisor mode.
pub const CR0_WP: u64 = 1 << 16;
/// CR0: not write-through.
pub const CR0_NW: u64 = 1 << 29;
/// CR0: cache disable.
pub const CR0_CD: u64 = 1 << 30;
/// CR0: paging.
pub const CR0_PG: u64 = 1 << 31;
/// CR4: page tables with 64-bit entries.
pub const CR4_PAE: u64 = 1 << 5;
/// CR4: SSE instructions.
pub const CR4_OSFXSR: u64 = 1 << 9;
/// CR4: XSAVE enabled, and visible in CPUID 1 ECX 27.
pub const CR4_OSXSAVE: u64 = 1 << 18;
/// CR4: protection keys, visible in CPUID 7 ECX 4.
pub const CR4_PKE: u64 = 1 << 22;
/// RFLAGS: single steps.
pub const RFLAGS_TF: u64 = 1 << 8;
/// RFLAGS: interrupts enabled.
pub const RFLAGS_IF: u64 = 1 << 9;

/// CPUID.
pub fn cpuid(leaf: u32, subleaf: u32) -> CpuidResult {
    core::arch::x86_64::__cpuid_count(leaf, subleaf)
}

/// The time-stamp counter, not ordered with other instructions.
pub fn rdtsc() -> u64 {
    // SAFETY: every 64-bit processor has a time-stamp counter, and CR4.TSD does not bind the hypervisor.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// CR0.
pub fn cr0() -> u64 {
    let value: u64;
    // SAFETY: reading a control register has no effect.
    unsafe { asm!("mov {}, cr0", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// CR2, the address of the last page fault.
pub fn cr2() -> u64 {
    let value: u64;
    // SAFETY: reading a control register has no effect.
    unsafe { asm!("mov {}, cr2", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// CR3, the root of the current page tables.
pub fn cr3() -> u64 {
    let value: u64;
    // SAFETY: reading a control register has no effect.
    unsafe { asm!("mov {}, cr3", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// CR4.
pub fn cr4() -> u64 {
    let value: u64;
    // SAFETY: reading a control register has no effect.
    unsafe { asm!("mov {}, cr4", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Sets CR0.
///
/// # Safety
/// Paging and protection stay on, and the change does not break the running code.
pub unsafe fn set_cr0(value: u64) {
    // SAFETY: as the caller vouches.
    unsafe { asm!("mov cr0, {}", in(reg) value, options(nostack, preserves_flags)) };
}

/// Sets CR4.
///
/// # Safety
/// Every bit set is supported, and the change does not break the running code.
pub unsafe fn set_cr4(value: u64) {
    // SAFETY: as the caller vouches.
    unsafe { asm!("mov cr4, {}", in(reg) value, options(nostack, preserves_flags)) };
}

/// Sets CR2 (a guest's, before it runs).
pub fn set_cr2(value: u64) {
    // SAFETY: CR2 is only data.
    unsafe { asm!("mov cr2, {}", in(reg) value, options(nomem, nostack, preserves_flags)) };
}

/// Switches page tables and drops all non-global translations.
///
/// # Safety
/// The new tables map the running code, its stack and its data as before.
pub unsafe fn set_cr3(root: u64) {
    // SAFETY: as the caller vouches.
    unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) };
}

/// Sets XCR0 (the guest's: the hypervisor uses no extended state).
///
/// # Safety
/// CR4.OSXSAVE is set and `value` is a combination that this processor accepts.
pub unsafe fn xsetbv(value: u64) {
    // SAFETY: as the caller vouches.
    unsafe {
        asm!("xsetbv", in("ecx") 0, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nomem, nostack))
    };
}

/// A hint that this is a spin loop.
pub fn pause() {
    core::hint::spin_loop();
}

/// Write-back and invalidate all caches.
pub fn wbinvd() {
    // SAFETY: writing caches back changes no memory content.
    unsafe { asm!("wbinvd", options(nostack, preserves_flags)) };
}

/// Lets interrupts in (clears the global interrupt mask of AMD-V is [`crate::svm`]'s): RFLAGS.IF = 1.
///
/// # Safety
/// The interrupt table is loaded, and no lock that an interrupt handler takes is held.
pub unsafe fn enable_interrupts() {
    // SAFETY: as the caller vouches.
    unsafe { asm!("sti", options(nostack)) };
}

/// Keeps maskable interrupts out: RFLAGS.IF = 0.
pub fn disable_interrupts() {
    // SAFETY: masking interrupts cannot break memory safety.
    unsafe { asm!("cli", options(nostack)) };
}

/// Waits for an interrupt with interrupts enabled only inside the wait: an interrupt that was already pending is taken
/// at once, so no wake-up is lost.
///
/// # Safety
/// As [`enable_interrupts`].
pub unsafe fn wait_for_interrupt() {
    // SAFETY: STI takes effect after the next instruction, so nothing can come in between it and HLT.
    unsafe { asm!("sti", "hlt", "cli", options(nostack)) };
}

/// Stops this processor for good.
pub fn halt_forever() -> ! {
    loop {
        // SAFETY: nothing runs after it but another halt.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}

/// Resets the machine by a triple fault: the last resort when no reset register works.
pub fn triple_fault() -> ! {
    let empty = [0u16; 5];
    // SAFETY: an empty interrupt table makes the next exception fatal, which is the point.
    unsafe { asm!("lidt [{}]", "int3", in(reg) &empty, options(nostack)) };
    halt_forever()
}
