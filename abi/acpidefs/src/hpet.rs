//! HPET description table (IA-PC HPET Specification 1.0a, 3.2.4), and the register bits of its timers that say
//! whether one can send MSIs.

use crate::gas::GenericAddress;
use crate::sdt::SdtHeader;
use core::mem::size_of;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Offset of timer 0's configuration register from the HPET's address.
pub const TIMER_CONFIG: u64 = 0x100;
/// Bytes from one timer's registers to the next.
pub const TIMER_STRIDE: u64 = 0x20;
/// Bit 15 of a timer's configuration: it can send its interrupt as an MSI (read-only).
pub const TIMER_MSI_CAPABLE: u64 = 1 << 15;

/// The table.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Hpet {
    /// Signature "HPET".
    pub header: SdtHeader,
    /// Hardware id; bits 12:8 hold the number of timers less one.
    pub block_id: U32,
    /// Its registers.
    pub address: GenericAddress,
    /// Which HPET.
    pub number: u8,
    /// Least ticks between periodic interrupts.
    pub minimum_tick: U16,
    /// Page protection.
    pub attributes: u8,
}
const _: () = assert!(size_of::<Hpet>() == 56);
