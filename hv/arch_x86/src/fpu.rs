//! Floating-point, vector and debug state that the processor does not switch by itself.
//!
//! The hypervisor is compiled without vector instructions, so a guest's state stays in the registers across exits. It is
//! saved and restored only when an LP goes from one VP to another: eagerly then, because leaving another VP's state in
//! the registers behind CR0.TS can be read speculatively.
#![expect(unsafe_code, reason = "XSAVE, XRSTOR and debug registers")]

use core::arch::asm;

/// Bytes of the save area: one page, enough for everything up to AVX-512 and protection keys.
pub const AREA_SIZE: usize = 4096;

/// A page that XSAVE and XRSTOR use, standard (non-compacted) format.
#[repr(C, align(64))]
pub struct Area(pub [u8; AREA_SIZE]);

/// XCR0 bits this release lets a guest enable: x87, SSE, AVX, AVX-512, PKRU. Their state fits [`AREA_SIZE`].
pub const SUPPORTED_XCR0: u64 = 0x2E7;

/// Saves the components in `mask` that the guest may have used.
///
/// # Safety
/// CR4.OSXSAVE is set, and the components in `mask` (a subset of the current XCR0) fit the area.
pub unsafe fn save(area: &mut Area, mask: u64) {
    // SAFETY: the area is 64-byte aligned and exclusively borrowed; the caller vouches for its size.
    unsafe {
        asm!("xsave64 [{}]", in(reg) area.0.as_mut_ptr(), in("eax") mask as u32, in("edx") (mask >> 32) as u32, options(nostack))
    };
}

/// Restores the components in `mask`.
///
/// # Safety
/// As [`save`], and the area holds a valid image (a zeroed one is: the initial state), since a bad one raises #GP.
pub unsafe fn restore(area: &Area, mask: u64) {
    // SAFETY: the area is 64-byte aligned; the caller vouches for its content.
    unsafe {
        asm!("xrstor64 [{}]", in(reg) area.0.as_ptr(), in("eax") mask as u32, in("edx") (mask >> 32) as u32, options(nostack))
    };
}

/// XMM0 to XMM5 as the guest left them: low and high half of each.
pub fn xmm_head() -> [[u64; 2]; 6] {
    let mut values = [[0u64; 2]; 6];
    // SAFETY: six stores of 16 bytes each into the array, which is large enough; CR4.OSFXSR is on.
    unsafe {
        asm!("movups [{0}], xmm0", "movups [{0} + 16], xmm1", "movups [{0} + 32], xmm2",
             "movups [{0} + 48], xmm3", "movups [{0} + 64], xmm4", "movups [{0} + 80], xmm5",
             in(reg) values.as_mut_ptr(), options(nostack));
    }
    values
}

/// The breakpoint address registers DR0 to DR3.
pub fn breakpoints() -> [u64; 4] {
    let (a, b, c, d): (u64, u64, u64, u64);
    // SAFETY: reading debug registers has no effect (DR7.GD is clear in the hypervisor).
    unsafe {
        asm!("mov {}, dr0", "mov {}, dr1", "mov {}, dr2", "mov {}, dr3",
             out(reg) a, out(reg) b, out(reg) c, out(reg) d, options(nomem, nostack));
    }
    [a, b, c, d]
}

/// Loads DR0 to DR3 with a guest's addresses.
pub fn set_breakpoints(value: [u64; 4]) {
    let [a, b, c, d] = value;
    // SAFETY: DR7 is clear while the hypervisor runs, so the addresses arm nothing before the guest does.
    unsafe {
        asm!("mov dr0, {}", "mov dr1, {}", "mov dr2, {}", "mov dr3, {}",
             in(reg) a, in(reg) b, in(reg) c, in(reg) d, options(nomem, nostack));
    }
}
