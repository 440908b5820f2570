//! Multiple APIC Description Table (ACPI 5.2.12): processors, I/O APICs and how ISA interrupts are wired.

use crate::sdt::SdtHeader;
use core::mem::size_of;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `Madt::flags`: there are two 8259 interrupt controllers.
pub const PCAT_COMPAT: u32 = 1;

/// Types of an entry. Entries of other types are skipped by their length.
pub mod entry {
    /// [`super::LocalApic`].
    pub const LOCAL_APIC: u8 = 0;
    /// [`super::IoApic`].
    pub const IO_APIC: u8 = 1;
    /// [`super::SourceOverride`].
    pub const SOURCE_OVERRIDE: u8 = 2;
    /// [`super::NmiSource`].
    pub const NMI_SOURCE: u8 = 3;
    /// [`super::LocalApicNmi`].
    pub const LOCAL_APIC_NMI: u8 = 4;
    /// [`super::LocalApicOverride`].
    pub const LOCAL_APIC_OVERRIDE: u8 = 5;
    /// [`super::LocalX2Apic`].
    pub const LOCAL_X2APIC: u8 = 9;
    /// NMI of an x2APIC.
    pub const LOCAL_X2APIC_NMI: u8 = 10;
}

/// Flags of [`LocalApic`] and [`LocalX2Apic`].
pub mod lapic {
    /// Usable.
    pub const ENABLED: u32 = 1 << 0;
    /// Not there yet, may be plugged in later.
    pub const ONLINE_CAPABLE: u32 = 1 << 1;
}

/// Start of the table; entries follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Madt {
    /// Signature "APIC".
    pub header: SdtHeader,
    /// Address of every processor's local APIC.
    pub local_apic: U32,
    /// [`PCAT_COMPAT`].
    pub flags: U32,
}
const _: () = assert!(size_of::<Madt>() == 44);

/// Start of every entry.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct EntryHeader {
    /// [`entry`].
    pub kind: u8,
    /// Bytes with this header.
    pub length: u8,
}
const _: () = assert!(size_of::<EntryHeader>() == 2);

/// A processor with an 8-bit APIC id.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct LocalApic {
    /// Type 0, 8 bytes.
    pub header: EntryHeader,
    /// Names the processor's object in AML.
    pub acpi_id: u8,
    /// APIC id; 255 marks an empty entry.
    pub apic_id: u8,
    /// [`lapic`].
    pub flags: U32,
}
const _: () = assert!(size_of::<LocalApic>() == 8);

/// A processor with a 32-bit APIC id.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct LocalX2Apic {
    /// Type 9, 16 bytes.
    pub header: EntryHeader,
    /// 0.
    pub reserved: U16,
    /// x2APIC id.
    pub apic_id: U32,
    /// [`lapic`].
    pub flags: U32,
    /// Names the processor's object in AML.
    pub acpi_id: U32,
}
const _: () = assert!(size_of::<LocalX2Apic>() == 16);

/// An I/O APIC.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct IoApic {
    /// Type 1, 12 bytes.
    pub header: EntryHeader,
    /// Its APIC id.
    pub id: u8,
    /// 0.
    pub reserved: u8,
    /// Address of its registers.
    pub address: U32,
    /// Global system interrupt of its pin 0.
    pub gsi_base: U32,
}
const _: () = assert!(size_of::<IoApic>() == 12);

/// An ISA interrupt that is not wired one to one.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct SourceOverride {
    /// Type 2, 10 bytes.
    pub header: EntryHeader,
    /// 0: ISA.
    pub bus: u8,
    /// ISA interrupt.
    pub source: u8,
    /// Global system interrupt that it arrives at.
    pub gsi: U32,
    /// Polarity in bits 1:0, trigger mode in bits 3:2; 0 conforms to the bus, 1 high or edge, 3 low or level.
    pub flags: U16,
}
const _: () = assert!(size_of::<SourceOverride>() == 10);

/// A global system interrupt that is an NMI.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct NmiSource {
    /// Type 3, 8 bytes.
    pub header: EntryHeader,
    /// As in [`SourceOverride`].
    pub flags: U16,
    /// Global system interrupt.
    pub gsi: U32,
}
const _: () = assert!(size_of::<NmiSource>() == 8);

/// A local interrupt pin that is an NMI.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct LocalApicNmi {
    /// Type 4, 6 bytes.
    pub header: EntryHeader,
    /// Which processor; 255 means all.
    pub acpi_id: u8,
    /// As in [`SourceOverride`].
    pub flags: U16,
    /// Pin: LINT0 or LINT1.
    pub lint: u8,
}
const _: () = assert!(size_of::<LocalApicNmi>() == 6);

/// A 64-bit address that replaces `Madt::local_apic`.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct LocalApicOverride {
    /// Type 5, 12 bytes.
    pub header: EntryHeader,
    /// 0.
    pub reserved: U16,
    /// Address of every processor's local APIC.
    pub address: U64,
}
const _: () = assert!(size_of::<LocalApicOverride>() == 12);
