//! Port I/O.
#![expect(unsafe_code, reason = "IN and OUT")]

use core::arch::asm;

/// Reads a byte from a port.
///
/// # Safety
/// Reading the port has no effect that the hypervisor or the parent relies on not happening.
pub unsafe fn read_u8(port: u16) -> u8 {
    let value: u8;
    // SAFETY: as the caller vouches.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack)) };
    value
}

/// Writes a byte to a port.
///
/// # Safety
/// As [`read_u8`], for the write.
pub unsafe fn write_u8(port: u16, value: u8) {
    // SAFETY: as the caller vouches.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack)) };
}

/// Reads a word from a port.
///
/// # Safety
/// As [`read_u8`].
pub unsafe fn read_u16(port: u16) -> u16 {
    let value: u16;
    // SAFETY: as the caller vouches.
    unsafe { asm!("in ax, dx", in("dx") port, out("ax") value, options(nomem, nostack)) };
    value
}

/// Writes a word to a port.
///
/// # Safety
/// As [`write_u8`].
pub unsafe fn write_u16(port: u16, value: u16) {
    // SAFETY: as the caller vouches.
    unsafe { asm!("out dx, ax", in("dx") port, in("ax") value, options(nomem, nostack)) };
}

/// Reads a double word from a port.
///
/// # Safety
/// As [`read_u8`].
pub unsafe fn read_u32(port: u16) -> u32 {
    let value: u32;
    // SAFETY: as the caller vouches.
    unsafe { asm!("in eax, dx", in("dx") port, out("eax") value, options(nomem, nostack)) };
    value
}

/// Writes a double word to a port.
///
/// # Safety
/// As [`write_u8`].
pub unsafe fn write_u32(port: u16, value: u32) {
    // SAFETY: as the caller vouches.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nomem, nostack)) };
}
