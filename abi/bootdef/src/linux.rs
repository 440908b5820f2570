//! Linux' x86 boot protocol: the setup header inside a bzImage, and the zero page (`struct boot_params`).
//!
//! Sources: `Documentation/arch/x86/boot.rst`, `Documentation/arch/x86/zero-page.rst`, and the uapi headers
//! `asm/bootparam.h`, `asm/setup_data.h`, `linux/screen_info.h`.

use core::mem::{offset_of, size_of};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `SetupHeader::magic`: "HdrS".
pub const HEADER_MAGIC: u32 = 0x5372_6448;
/// `SetupHeader::boot_flag`.
pub const BOOT_FLAG: u16 = 0xAA55;
/// Where the setup header starts, in the bzImage file and in the zero page.
pub const HEADER_OFFSET: usize = 0x1F1;
/// First protocol version with `xloadflags` and the 64-bit `ext_` fields (Linux 3.8).
pub const VERSION_2_12: u16 = 0x020C;
/// Bytes of a setup sector.
pub const SECTOR: u64 = 512;
/// What `setup_sects` = 0 means.
pub const DEFAULT_SETUP_SECTS: u8 = 4;
/// Unit of `syssize`.
pub const PARAGRAPH: u64 = 16;
/// The 64-bit entry point lies this far into the loaded kernel.
pub const ENTRY64_OFFSET: u64 = 0x200;
/// `type_of_loader` of a loader without a number of its own.
pub const LOADER_UNDEFINED: u8 = 0xFF;
/// Code segment selector at the 64-bit entry (`__BOOT_CS`).
pub const BOOT_CS: u16 = 0x10;
/// Data segment selector at the 64-bit entry (`__BOOT_DS`).
pub const BOOT_DS: u16 = 0x18;
/// `vid_mode`: leave the video mode as it is.
pub const VIDEO_NORMAL: u16 = 0xFFFF;

/// `SetupHeader::loadflags`.
pub mod loadflags {
    /// The protected-mode code loads at or above 1 MiB: a bzImage.
    pub const LOADED_HIGH: u8 = 1 << 0;
    /// Written between the decompressor and the kernel; loaders leave it clear.
    pub const KASLR: u8 = 1 << 1;
    /// No early messages.
    pub const QUIET: u8 = 1 << 5;
    /// `heap_end_ptr` is valid: of the 16-bit entry only.
    pub const CAN_USE_HEAP: u8 = 1 << 7;
}

/// `SetupHeader::xloadflags`.
pub mod xloadflags {
    /// There is a 64-bit entry point at 0x200.
    pub const KERNEL_64: u16 = 1 << 0;
    /// Kernel, zero page, command line and initrd may lie above 4 GiB.
    pub const CAN_BE_LOADED_ABOVE_4G: u16 = 1 << 1;
}

/// Types of a `struct setup_data` in the list at `SetupHeader::setup_data`.
pub mod setup_data {
    /// More e820 entries than the zero page holds.
    pub const E820_EXT: u32 = 1;
    /// Device tree.
    pub const DTB: u32 = 2;
    /// PCI option ROM.
    pub const PCI: u32 = 3;
    /// EFI tables after a kexec.
    pub const EFI: u32 = 4;
    /// Entropy for the kernel's random number generator.
    pub const RNG_SEED: u32 = 9;
}

/// Types of an [`E820Entry`]; Multiboot uses the same numbers.
pub mod e820 {
    /// Usable RAM.
    pub const RAM: u32 = 1;
    /// Not to be used.
    pub const RESERVED: u32 = 2;
    /// ACPI tables; RAM once they were read.
    pub const ACPI: u32 = 3;
    /// Firmware's, to be preserved over sleep.
    pub const NVS: u32 = 4;
    /// Defective.
    pub const UNUSABLE: u32 = 5;
    /// Persistent memory.
    pub const PMEM: u32 = 7;
    /// Entries that fit into the zero page.
    pub const MAX_ENTRIES: usize = 128;
}

/// `ScreenInfo::is_vga`.
pub mod video {
    /// VGA text.
    pub const VGA_TEXT: u8 = 1;
    /// Linear frame buffer set up through VESA.
    pub const VESA_LFB: u8 = 0x23;
    /// Linear frame buffer set up through EFI.
    pub const EFI: u8 = 0x70;
    /// `ScreenInfo::capabilities`: `ext_lfb_base` holds the upper half of the address.
    pub const CAPABILITY_64BIT_BASE: u32 = 1 << 1;
}

/// `struct boot_e820_entry`.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
pub struct E820Entry {
    /// First byte.
    pub base: U64,
    /// Bytes.
    pub length: U64,
    /// [`e820`].
    pub kind: U32,
}
const _: () = assert!(size_of::<E820Entry>() == 20);

/// `struct setup_header`, at [`HEADER_OFFSET`] of the file.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct SetupHeader {
    /// Sectors of 16-bit setup after the boot sector; 0 means 4.
    pub setup_sects: u8,
    /// Root file system is mounted read-only.
    pub root_flags: U16,
    /// Protected-mode code in units of 16 bytes.
    pub syssize: U32,
    /// Obsolete.
    pub ram_size: U16,
    /// Video mode.
    pub vid_mode: U16,
    /// Default root device.
    pub root_dev: U16,
    /// [`BOOT_FLAG`].
    pub boot_flag: U16,
    /// A jump; its second byte is the header's length counted from `magic`.
    pub jump: [u8; 2],
    /// [`HEADER_MAGIC`].
    pub magic: U32,
    /// Protocol version, major in the upper byte.
    pub version: U16,
    /// 16-bit hook.
    pub realmode_swtch: U32,
    /// Obsolete.
    pub start_sys_seg: U16,
    /// Offset of the version string, less 0x200.
    pub kernel_version: U16,
    /// Written by the loader: who it is.
    pub type_of_loader: u8,
    /// [`loadflags`].
    pub loadflags: u8,
    /// 16-bit hook.
    pub setup_move_size: U16,
    /// Written by the loader: where the protected-mode code is.
    pub code32_start: U32,
    /// Written by the loader: initrd, lower half of its address.
    pub ramdisk_image: U32,
    /// Written by the loader: lower half of its size.
    pub ramdisk_size: U32,
    /// Obsolete.
    pub bootsect_kludge: U32,
    /// 16-bit heap.
    pub heap_end_ptr: U16,
    /// Extended loader version.
    pub ext_loader_ver: u8,
    /// Extended loader type.
    pub ext_loader_type: u8,
    /// Written by the loader: command line, lower half of its address.
    pub cmd_line_ptr: U32,
    /// Highest byte that an initrd may occupy, unless [`xloadflags::CAN_BE_LOADED_ABOVE_4G`].
    pub initrd_addr_max: U32,
    /// Alignment of the load address: a power of two.
    pub kernel_alignment: U32,
    /// Not 0: the load address may be chosen.
    pub relocatable_kernel: u8,
    /// Least alignment, as a power of two.
    pub min_alignment: u8,
    /// [`xloadflags`].
    pub xloadflags: U16,
    /// Longest command line, without its NUL.
    pub cmdline_size: U32,
    /// 0: a PC.
    pub hardware_subarch: U32,
    /// Of the subarchitecture.
    pub hardware_subarch_data: U64,
    /// Compressed payload, from the start of the protected-mode code.
    pub payload_offset: U32,
    /// Bytes of it.
    pub payload_length: U32,
    /// Written by the loader: first `struct setup_data`, or 0.
    pub setup_data: U64,
    /// Preferred load address.
    pub pref_address: U64,
    /// Memory that the kernel needs from its load address on.
    pub init_size: U32,
    /// EFI hand-over entry.
    pub handover_offset: U32,
    /// Offset of `kernel_info`.
    pub kernel_info_offset: U32,
}
const _: () = assert!(size_of::<SetupHeader>() == 123);
const _: () = assert!(HEADER_OFFSET + offset_of!(SetupHeader, magic) == 0x202);
const _: () = assert!(HEADER_OFFSET + offset_of!(SetupHeader, loadflags) == 0x211);
const _: () = assert!(HEADER_OFFSET + offset_of!(SetupHeader, ramdisk_image) == 0x218);
const _: () = assert!(HEADER_OFFSET + offset_of!(SetupHeader, cmd_line_ptr) == 0x228);
const _: () = assert!(HEADER_OFFSET + offset_of!(SetupHeader, kernel_alignment) == 0x230);
const _: () = assert!(HEADER_OFFSET + offset_of!(SetupHeader, xloadflags) == 0x236);
const _: () = assert!(HEADER_OFFSET + offset_of!(SetupHeader, setup_data) == 0x250);
const _: () = assert!(HEADER_OFFSET + offset_of!(SetupHeader, pref_address) == 0x258);
const _: () = assert!(HEADER_OFFSET + offset_of!(SetupHeader, kernel_info_offset) == 0x268);

/// `struct screen_info`: the console that the loader leaves behind.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct ScreenInfo {
    /// Cursor column.
    pub orig_x: u8,
    /// Cursor row.
    pub orig_y: u8,
    /// Obsolete.
    pub ext_mem_k: U16,
    /// Text page.
    pub orig_video_page: U16,
    /// BIOS video mode.
    pub orig_video_mode: u8,
    /// Characters per line.
    pub orig_video_cols: u8,
    /// Bit 0: no cursor.
    pub flags: u8,
    /// 0.
    pub unused2: u8,
    /// EGA information.
    pub orig_video_ega_bx: U16,
    /// 0.
    pub unused3: U16,
    /// Lines of text.
    pub orig_video_lines: u8,
    /// What kind of display: [`video`].
    pub is_vga: u8,
    /// Height of a character in pixels.
    pub orig_video_points: U16,
    /// Pixels.
    pub lfb_width: U16,
    /// Pixels.
    pub lfb_height: U16,
    /// Bits per pixel.
    pub lfb_depth: U16,
    /// Lower half of the frame buffer's address.
    pub lfb_base: U32,
    /// Size: bytes, or units of 64 KiB for VESA.
    pub lfb_size: U32,
    /// Obsolete.
    pub cl: [U16; 2],
    /// Bytes per line.
    pub lfb_linelength: U16,
    /// Size and position of red, green, blue and reserved bits.
    pub colors: [u8; 8],
    /// VESA protected-mode interface.
    pub vesapm: [U16; 2],
    /// Pages.
    pub pages: U16,
    /// VESA mode attributes.
    pub vesa_attributes: U16,
    /// [`video`] capability bits.
    pub capabilities: U32,
    /// Upper half of the frame buffer's address.
    pub ext_lfb_base: U32,
    /// 0.
    pub reserved: [u8; 2],
}
const _: () = assert!(size_of::<ScreenInfo>() == 64);
const _: () = assert!(offset_of!(ScreenInfo, is_vga) == 0x0F);
const _: () = assert!(offset_of!(ScreenInfo, lfb_base) == 0x18);
const _: () = assert!(offset_of!(ScreenInfo, colors) == 0x26);
const _: () = assert!(offset_of!(ScreenInfo, capabilities) == 0x36);

/// `struct boot_params`, the zero page that RSI points to at the kernel's entry. Fields that no loader of ours writes
/// are padding here.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct BootParams {
    /// The console.
    pub screen_info: ScreenInfo,
    /// APM, tboot, SpeedStep: 0.
    pub pad_040: [u8; 0x30],
    /// Physical address of the RSDP, or 0: the kernel searches.
    pub acpi_rsdp_addr: U64,
    /// Disks and other history: 0.
    pub pad_078: [u8; 0x48],
    /// Upper half of the initrd's address.
    pub ext_ramdisk_image: U32,
    /// Upper half of its size.
    pub ext_ramdisk_size: U32,
    /// Upper half of the command line's address.
    pub ext_cmd_line_ptr: U32,
    /// 0.
    pub pad_0cc: [u8; 0xF4],
    /// `struct efi_info`: all 0 says that this is no EFI boot.
    pub efi_info: [u8; 0x20],
    /// 0.
    pub pad_1e0: [u8; 8],
    /// Valid entries of `e820_table`.
    pub e820_entries: u8,
    /// 0.
    pub pad_1e9: [u8; 6],
    /// 0: all of this page was initialised.
    pub sentinel: u8,
    /// 0.
    pub pad_1f0: u8,
    /// The kernel's header with the loader's answers.
    pub hdr: SetupHeader,
    /// 0.
    pub pad_26c: [u8; 0x64],
    /// The memory map.
    pub e820_table: [E820Entry; e820::MAX_ENTRIES],
    /// 0.
    pub pad_cd0: [u8; 0x330],
}
const _: () = assert!(size_of::<BootParams>() == 4096);
const _: () = assert!(offset_of!(BootParams, acpi_rsdp_addr) == 0x70);
const _: () = assert!(offset_of!(BootParams, ext_ramdisk_image) == 0xC0);
const _: () = assert!(offset_of!(BootParams, efi_info) == 0x1C0);
const _: () = assert!(offset_of!(BootParams, e820_entries) == 0x1E8);
const _: () = assert!(offset_of!(BootParams, sentinel) == 0x1EF);
const _: () = assert!(offset_of!(BootParams, hdr) == HEADER_OFFSET);
const _: () = assert!(offset_of!(BootParams, e820_table) == 0x2D0);
