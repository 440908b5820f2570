//! Root System Description Pointer (ACPI 5.2.5.3): where all tables start.

use core::mem::{offset_of, size_of};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `Rsdp1::signature`, with the blank.
pub const SIGNATURE: [u8; 8] = *b"RSD PTR ";
/// The BIOS puts it on a multiple of this.
pub const ALIGN: u64 = 16;
/// Where the BIOS leaves the real-mode segment of the extended BIOS data area.
pub const EBDA_SEGMENT: u64 = 0x40E;
/// Bytes of the EBDA that may hold it.
pub const EBDA_SEARCH: u64 = 1024;
/// BIOS read-only memory that may hold it, `[start, end)`.
pub const BIOS_AREA: (u64, u64) = (0xE_0000, 0x10_0000);
/// GUID of it in EFI's configuration table, ACPI 2.0 and later, as bytes in memory.
pub const EFI_GUID_2: [u8; 16] = [
    0x71, 0xE8, 0x68, 0x88, 0xF1, 0xE4, 0xD3, 0x11, 0xBC, 0x22, 0x00, 0x80, 0xC7, 0x3C, 0x88, 0x81,
];
/// GUID of it in EFI's configuration table, ACPI 1.0, as bytes in memory.
pub const EFI_GUID_1: [u8; 16] = [
    0x30, 0x2D, 0x9D, 0xEB, 0x88, 0x2D, 0xD3, 0x11, 0x9A, 0x16, 0x00, 0x90, 0x27, 0x3F, 0xC1, 0x4D,
];

/// The part that every revision has.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
pub struct Rsdp1 {
    /// [`SIGNATURE`].
    pub signature: [u8; 8],
    /// Makes these 20 bytes add up to 0.
    pub checksum: u8,
    /// Who made it.
    pub oem_id: [u8; 6],
    /// 0 for ACPI 1.0, 2 for later ones.
    pub revision: u8,
    /// Address of the RSDT.
    pub rsdt: U32,
}
const _: () = assert!(size_of::<Rsdp1>() == 20);

/// The whole of it, revision 2 on.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
pub struct Rsdp2 {
    /// The first 20 bytes.
    pub v1: Rsdp1,
    /// Bytes of the whole structure.
    pub length: U32,
    /// Address of the XSDT.
    pub xsdt: U64,
    /// Makes `length` bytes add up to 0.
    pub extended_checksum: u8,
    /// 0.
    pub reserved: [u8; 3],
}
const _: () = assert!(size_of::<Rsdp2>() == 36);
const _: () = assert!(offset_of!(Rsdp2, xsdt) == 24);
