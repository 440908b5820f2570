//! The XSAVE area of a VP (SDM vol. 1, chapter 13; APM vol. 2, 11.5).
//!
//! The hypervisor keeps a VP's state in the *standard* form, where every component has a fixed place. VMMs move it in the
//! *compacted* form ([`Layout::compact`], [`Layout::expand`]) and read and write single registers by name ([`Area`]).
//!
//! What must always hold: an area that this crate has changed can be loaded with XRSTOR without a fault, whatever the VMM
//! sent. So component bits stay within those of the layout, reserved bytes of the header are 0, and reserved bits of MXCSR
//! are refused.
#![no_std]
#![forbid(unsafe_code)]

mod area;
mod layout;

pub use area::{Area, Invalid};
pub use layout::{Component, Layout};

/// Bytes of the legacy region: x87 and SSE.
pub const LEGACY: usize = 512;
/// Bytes of legacy region and header: where the first component begins in the compacted form.
pub const HEADER_END: usize = LEGACY + 64;
/// x87 state.
pub const X87: u64 = 1 << 0;
/// SSE state.
pub const SSE: u64 = 1 << 1;
/// Where MXCSR is.
const MXCSR: usize = 24;
/// What MXCSR begins with: all exceptions masked.
pub const MXCSR_INITIAL: u32 = 0x1F80;
/// What the x87 control word begins with.
const CONTROL_INITIAL: u16 = 0x37F;
/// Bits of MXCSR that exist on all processors with 64-bit mode.
const MXCSR_MASK: u32 = 0xFFFF;
/// Where the header's words are: components that are not in their initial state; form and components of a compacted area.
const STATE_BV: usize = LEGACY;
const COMPACT_BV: usize = LEGACY + 8;
/// The area is compacted.
const COMPACTED: u64 = 1 << 63;

fn word(area: &[u8], at: usize) -> u64 {
    let bytes = at.checked_add(8).and_then(|end| area.get(at..end));
    bytes.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}

fn put(area: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(to) = area.get_mut(at..at.saturating_add(bytes.len())) {
        to.copy_from_slice(bytes);
    }
}

fn mxcsr(area: &[u8]) -> u32 {
    word(area, MXCSR) as u32
}
