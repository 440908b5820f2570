//! Multiboot 2: header constants, and the tags of the information structure.

use core::mem::{offset_of, size_of};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First word of the header in the image's first 32 KiB (section 3.1.1).
pub const HEADER_MAGIC: u32 = 0xE852_50D6;
/// What EAX holds on entry (section 3.3).
pub const LOADER_MAGIC: u32 = 0x36D7_6289;
/// Tags of header and information start on multiples of this.
pub const TAG_ALIGN: u32 = 8;

/// Types of the header's tags (section 3.1.3 on).
pub mod header {
    /// Last tag.
    pub const END: u16 = 0;
    /// Information tags that the image needs or can use.
    pub const INFORMATION_REQUEST: u16 = 1;
    /// Load addresses, instead of the ELF headers.
    pub const ADDRESSES: u16 = 2;
    /// Entry point.
    pub const ENTRY: u16 = 3;
    /// What the console may be.
    pub const CONSOLE_FLAGS: u16 = 4;
    /// Preferred frame buffer.
    pub const FRAMEBUFFER: u16 = 5;
    /// Modules on page boundaries.
    pub const MODULE_ALIGN: u16 = 6;
    /// EFI boot services are wanted.
    pub const EFI_BOOT_SERVICES: u16 = 7;
    /// Entry point for 64-bit EFI.
    pub const ENTRY_EFI64: u16 = 9;
    /// The image can be relocated.
    pub const RELOCATABLE: u16 = 10;
}

/// Types of the information's tags (section 3.6).
pub mod tag {
    /// Last tag.
    pub const END: u32 = 0;
    /// NUL-terminated command line.
    pub const COMMAND_LINE: u32 = 1;
    /// NUL-terminated name of the loader.
    pub const LOADER_NAME: u32 = 2;
    /// [`super::ModuleTag`], then its NUL-terminated string.
    pub const MODULE: u32 = 3;
    /// Lower and upper memory in KiB.
    pub const BASIC_MEMORY: u32 = 4;
    /// [`super::MmapTag`], then entries.
    pub const MMAP: u32 = 6;
    /// [`super::FramebufferTag`].
    pub const FRAMEBUFFER: u32 = 8;
    /// U32: address of the 32-bit EFI system table.
    pub const EFI32: u32 = 11;
    /// U64: address of the 64-bit EFI system table.
    pub const EFI64: u32 = 12;
    /// Copy of an ACPI 1.0 RSDP (20 bytes).
    pub const ACPI_OLD: u32 = 14;
    /// Copy of an ACPI 2.0 or later RSDP (36 bytes).
    pub const ACPI_NEW: u32 = 15;
    /// U32 descriptor size, U32 version, then the EFI memory map.
    pub const EFI_MMAP: u32 = 17;
    /// EFI boot services were not ended.
    pub const EFI_BOOT_SERVICES: u32 = 18;
}

/// Frame buffer types, of both Multiboot versions.
pub mod framebuffer {
    /// Palette.
    pub const INDEXED: u8 = 0;
    /// Direct colour.
    pub const RGB: u8 = 1;
    /// EGA text.
    pub const TEXT: u8 = 2;
}

/// Start of the information structure, at EBX. The first tag follows.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Info {
    /// Bytes of the whole structure.
    pub total_size: U32,
    /// 0.
    pub reserved: U32,
}
const _: () = assert!(size_of::<Info>() == 8);

/// Start of every tag.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Tag {
    /// What it is: [`tag`].
    pub kind: U32,
    /// Bytes with this header and without the padding to the next tag.
    pub size: U32,
}
const _: () = assert!(size_of::<Tag>() == 8);

/// After the header of a [`tag::MODULE`].
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct ModuleTag {
    /// First byte.
    pub start: U32,
    /// First byte after it.
    pub end: U32,
}
const _: () = assert!(size_of::<ModuleTag>() == 8);

/// After the header of a [`tag::MMAP`].
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct MmapTag {
    /// Bytes from one entry to the next: a multiple of 8, at least 24.
    pub entry_size: U32,
    /// 0.
    pub entry_version: U32,
}
const _: () = assert!(size_of::<MmapTag>() == 8);

/// One entry of the memory map.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct MmapEntry {
    /// First byte.
    pub base: U64,
    /// Bytes.
    pub length: U64,
    /// An e820 type: [`crate::linux::e820`].
    pub kind: U32,
    /// 0.
    pub reserved: U32,
}
const _: () = assert!(size_of::<MmapEntry>() == 24);

/// After the header of a [`tag::FRAMEBUFFER`]. `colors` exists for [`framebuffer::RGB`] only.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct FramebufferTag {
    /// Physical address.
    pub address: U64,
    /// Bytes per line.
    pub pitch: U32,
    /// Pixels, or characters.
    pub width: U32,
    /// Pixels, or characters.
    pub height: U32,
    /// Bits per pixel.
    pub bpp: u8,
    /// [`framebuffer`].
    pub kind: u8,
    /// 0.
    pub reserved: U16,
    /// Position and size of red, green, blue.
    pub colors: [u8; 6],
}
const _: () = assert!(size_of::<FramebufferTag>() == 30);
const _: () = assert!(offset_of!(FramebufferTag, colors) == 24);
