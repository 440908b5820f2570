//! MCFG table (PCI Firmware Specification 3.3, 4.1.2): where PCI Express configuration space is mapped.

use crate::sdt::SdtHeader;
use core::mem::size_of;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Start of the table; [`Allocation`]s follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Mcfg {
    /// Signature "MCFG".
    pub header: SdtHeader,
    /// 0.
    pub reserved: [u8; 8],
}
const _: () = assert!(size_of::<Mcfg>() == 44);

/// One segment's range of buses, 1 MiB per bus.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Allocation {
    /// Address of bus 0, even if `start_bus` is not 0.
    pub base: U64,
    /// PCI segment.
    pub segment: U16,
    /// First bus.
    pub start_bus: u8,
    /// Last bus.
    pub end_bus: u8,
    /// 0.
    pub reserved: U32,
}
const _: () = assert!(size_of::<Allocation>() == 16);
