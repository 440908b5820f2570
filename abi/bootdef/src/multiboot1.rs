//! Multiboot 1: header constants, the information structure, its memory map and module entries.

use core::mem::{offset_of, size_of};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First word of the header in the image's first 8 KiB (section 3.1.1).
pub const HEADER_MAGIC: u32 = 0x1BAD_B002;
/// What EAX holds on entry (section 3.2).
pub const LOADER_MAGIC: u32 = 0x2BAD_B002;

/// Header flags: what the image asks of the loader (section 3.1.2).
pub mod header {
    /// Modules on page boundaries.
    pub const PAGE_ALIGN: u32 = 1 << 0;
    /// A memory map is wanted.
    pub const MEMORY_INFO: u32 = 1 << 1;
    /// A video mode is wanted.
    pub const VIDEO_MODE: u32 = 1 << 2;
    /// The header's address fields are valid and replace the ELF headers.
    pub const ADDRESSES: u32 = 1 << 16;
}

/// Flags of the information structure: which of its fields are valid (section 3.3).
pub mod info {
    /// `mem_lower`, `mem_upper`.
    pub const MEMORY: u32 = 1 << 0;
    /// `command_line`.
    pub const COMMAND_LINE: u32 = 1 << 2;
    /// `module_count`, `modules`.
    pub const MODULES: u32 = 1 << 3;
    /// `mmap_length`, `mmap`.
    pub const MMAP: u32 = 1 << 6;
    /// `loader_name`.
    pub const LOADER_NAME: u32 = 1 << 9;
    /// The frame buffer fields.
    pub const FRAMEBUFFER: u32 = 1 << 12;
}

/// The information structure that EBX points to. Every field but `flags` counts only if its flag is set.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Info {
    /// Which fields are valid: [`info`].
    pub flags: U32,
    /// KiB of memory from address 0.
    pub mem_lower: U32,
    /// KiB of memory from 1 MiB to the first hole.
    pub mem_upper: U32,
    /// BIOS drive and partitions.
    pub boot_device: U32,
    /// Address of the NUL-terminated command line.
    pub command_line: U32,
    /// Number of modules.
    pub module_count: U32,
    /// Address of the first [`Module`].
    pub modules: U32,
    /// Symbol table of the image.
    pub symbols: [U32; 4],
    /// Bytes of the memory map.
    pub mmap_length: U32,
    /// Address of the first [`MmapEntry`].
    pub mmap: U32,
    /// Bytes of the drive list.
    pub drives_length: U32,
    /// Address of the drive list.
    pub drives: U32,
    /// BIOS configuration table.
    pub config_table: U32,
    /// Address of the loader's NUL-terminated name.
    pub loader_name: U32,
    /// APM table.
    pub apm_table: U32,
    /// VBE control information, mode information.
    pub vbe_info: [U32; 2],
    /// VBE mode, and the protected-mode interface.
    pub vbe_mode: [U16; 4],
    /// Physical address of the frame buffer.
    pub framebuffer_address: U64,
    /// Bytes per line.
    pub framebuffer_pitch: U32,
    /// Pixels, or characters in text mode.
    pub framebuffer_width: U32,
    /// Pixels, or characters in text mode.
    pub framebuffer_height: U32,
    /// Bits per pixel.
    pub framebuffer_bpp: u8,
    /// 0 indexed colour, 1 RGB, 2 EGA text: as in [`crate::multiboot2::framebuffer`].
    pub framebuffer_type: u8,
    /// For RGB: position and size of red, green, blue.
    pub framebuffer_colors: [u8; 6],
}
const _: () = assert!(size_of::<Info>() == 116);
const _: () = assert!(offset_of!(Info, modules) == 24);
const _: () = assert!(offset_of!(Info, mmap_length) == 44);
const _: () = assert!(offset_of!(Info, loader_name) == 64);
const _: () = assert!(offset_of!(Info, framebuffer_address) == 88);

/// One entry of the memory map. The next entry starts `size + 4` bytes after this one.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct MmapEntry {
    /// Bytes that follow this field: at least 20.
    pub size: U32,
    /// First byte.
    pub base: U64,
    /// Bytes.
    pub length: U64,
    /// An e820 type: [`crate::linux::e820`].
    pub kind: U32,
}
const _: () = assert!(size_of::<MmapEntry>() == 24);
const _: () = assert!(offset_of!(MmapEntry, base) == 4);

/// One loaded file.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Module {
    /// First byte.
    pub start: U32,
    /// First byte after it.
    pub end: U32,
    /// Address of its NUL-terminated string, or 0.
    pub string: U32,
    /// 0.
    pub reserved: U32,
}
const _: () = assert!(size_of::<Module>() == 16);
