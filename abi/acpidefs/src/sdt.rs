//! System Description Table header (ACPI 5.2.6), and the root tables (5.2.7, 5.2.8), which are this header and an
//! array of addresses: U32 in the RSDT, U64 in the XSDT.

use core::fmt;
use core::mem::{offset_of, size_of};
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Four characters that name a table. Open: firmware brings names of its own.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Signature(pub [u8; 4]);

impl Signature {
    /// Root table with 32-bit addresses.
    pub const RSDT: Self = Self(*b"RSDT");
    /// Root table with 64-bit addresses.
    pub const XSDT: Self = Self(*b"XSDT");
    /// Processors and interrupt controllers.
    pub const MADT: Self = Self(*b"APIC");
    /// Fixed hardware.
    pub const FADT: Self = Self(*b"FACP");
    /// Event timer.
    pub const HPET: Self = Self(*b"HPET");
    /// PCI Express configuration space.
    pub const MCFG: Self = Self(*b"MCFG");
    /// Intel's DMA remapping.
    pub const DMAR: Self = Self(*b"DMAR");
    /// AMD's I/O virtualization.
    pub const IVRS: Self = Self(*b"IVRS");
    /// Affinity of processors and memory.
    pub const SRAT: Self = Self(*b"SRAT");
}

impl fmt::Display for Signature {
    /// The four characters; unprintable ones as dots.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            let printable = byte == b' ' || byte.is_ascii_graphic();
            fmt::Write::write_char(f, if printable { char::from(byte) } else { '.' })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Start of every table but the RSDP and the FACS.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
pub struct SdtHeader {
    /// Which table.
    pub signature: Signature,
    /// Bytes with this header.
    pub length: U32,
    /// Of the table's layout.
    pub revision: u8,
    /// Makes `length` bytes add up to 0.
    pub checksum: u8,
    /// Who made it.
    pub oem_id: [u8; 6],
    /// Name its maker gave it.
    pub oem_table_id: [u8; 8],
    /// Maker's revision.
    pub oem_revision: U32,
    /// Tool that built it.
    pub creator_id: [u8; 4],
    /// Tool's revision.
    pub creator_revision: U32,
}
const _: () = assert!(size_of::<SdtHeader>() == 36);
const _: () = assert!(offset_of!(SdtHeader, checksum) == 9);
