//! Generic Address Structure (ACPI 5.2.3.2): a register's address in some address space.

use core::mem::size_of;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Address spaces.
pub mod space {
    /// System memory.
    pub const MEMORY: u8 = 0;
    /// I/O ports.
    pub const IO: u8 = 1;
    /// PCI configuration space of bus 0.
    pub const PCI_CONFIG: u8 = 2;
}

/// Where a register is.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
pub struct GenericAddress {
    /// [`space`].
    pub space: u8,
    /// Bits of the register.
    pub bit_width: u8,
    /// First bit at `address`.
    pub bit_offset: u8,
    /// 0 undefined, 1 byte, 2 word, 3 dword, 4 qword.
    pub access_size: u8,
    /// Address in its space; 0 often means that there is no such register.
    pub address: U64,
}
const _: () = assert!(size_of::<GenericAddress>() == 12);
