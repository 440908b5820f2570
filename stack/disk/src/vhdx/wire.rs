//! The structures of a VHDX file, as MS-VHDX lays them out. All numbers are little-endian.

use crate::guid::Guid;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(crate) const KIB: u64 = 1024;
pub(crate) const MIB: u64 = 1024 * KIB;
/// Unit of logging, and of atomic change.
pub(crate) const LOG_SECTOR: u64 = 4 * KIB;

/// MS-VHDX 2.2.1: at the start of the file.
pub(crate) const FILE_SIGNATURE: &[u8; 8] = b"vhdxfile";
/// Where the two headers are.
pub(crate) const HEADERS: [u64; 2] = [64 * KIB, 128 * KIB];
/// Where the two region tables are, and their length.
pub(crate) const REGION_TABLES: [u64; 2] = [192 * KIB, 256 * KIB];
pub(crate) const REGION_TABLE_LEN: usize = 64 * 1024;
/// Headers and region tables; everything else comes after.
pub(crate) const HEADER_SECTION: u64 = MIB;
/// Most entries that a region table or metadata table may have.
pub(crate) const TABLE_ENTRIES_MAX: u32 = 2047;

/// The largest disk: 64 TiB.
pub(crate) const SIZE_MAX: u64 = 64 << 40;
/// Block sizes: powers of two from 1 to 256 MiB.
pub(crate) const BLOCK_SIZES: std::ops::RangeInclusive<u64> = MIB..=256 * MIB;

/// Region of the block allocation table.
pub(crate) const BAT_REGION: Guid = Guid::new(0x2DC27766_F623_4200_9D64_115E9BFD4A08);
/// Region of the metadata.
pub(crate) const METADATA_REGION: Guid = Guid::new(0x8B7CA206_4790_4B9A_B8FE_575F050F886E);

/// Metadata items, MS-VHDX 2.6.2.
pub(crate) const FILE_PARAMETERS: Guid = Guid::new(0xCAA16737_FA36_4D43_B3B6_33F0AA44E76B);
pub(crate) const DISK_SIZE: Guid = Guid::new(0x2FA54224_CD1B_4876_B211_5DBED83BF4B8);
pub(crate) const DISK_ID: Guid = Guid::new(0xBECA12AB_B2E6_4523_93EF_C309E000C746);
pub(crate) const LOGICAL_SECTOR: Guid = Guid::new(0x8141BF1D_A96F_4709_BA47_F233A8FAAB5F);
pub(crate) const PHYSICAL_SECTOR: Guid = Guid::new(0xCDA348C7_445D_4471_9CC9_E9885251C556);
pub(crate) const PARENT_LOCATOR: Guid = Guid::new(0xA8D35F2D_B30B_454D_ABF7_D3D84834AB0C);

/// The one kind of parent locator, MS-VHDX 2.6.2.6.1.
pub(crate) const VHDX_LOCATOR: Guid = Guid::new(0xB04AEFB7_D19E_4A81_B789_25B8E9445913);

/// MS-VHDX 2.2.2.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub(crate) struct Header {
    /// "head".
    pub signature: [u8; 4],
    /// CRC-32C of the header with this field zero.
    pub checksum: U32,
    /// The valid header with the higher number counts.
    pub sequence: U64,
    /// Changes before the first write of any kind after an open.
    pub file_write: Guid,
    /// Changes before the first write of something that a guest can see; a child notes its parent's.
    pub data_write: Guid,
    /// Which entries of the log count; zero: none.
    pub log: Guid,
    /// 0.
    pub log_version: U16,
    /// 1.
    pub version: U16,
    /// Bytes, whole MiB.
    pub log_length: U32,
    /// In the file, whole MiB.
    pub log_offset: U64,
    pub reserved: [u8; 4016],
}
const _: () = assert!(size_of::<Header>() == 4096);
const _: () = assert!(core::mem::offset_of!(Header, log_offset) == 72);

/// MS-VHDX 2.2.3.1.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub(crate) struct RegionTableHeader {
    /// "regi".
    pub signature: [u8; 4],
    /// CRC-32C of the table's 64 KiB with this field zero.
    pub checksum: U32,
    pub entry_count: U32,
    pub reserved: U32,
}
const _: () = assert!(size_of::<RegionTableHeader>() == 16);

/// MS-VHDX 2.2.3.2.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub(crate) struct RegionEntry {
    pub guid: Guid,
    /// Whole MiB.
    pub offset: U64,
    /// Whole MiB.
    pub length: U32,
    /// Bit 0: who does not know the region must not open the file.
    pub flags: U32,
}
const _: () = assert!(size_of::<RegionEntry>() == 32);

/// MS-VHDX 2.6.1.1.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub(crate) struct MetadataTableHeader {
    /// "metadata".
    pub signature: [u8; 8],
    pub reserved: U16,
    pub entry_count: U16,
    pub reserved2: [u8; 20],
}
const _: () = assert!(size_of::<MetadataTableHeader>() == 32);

/// MS-VHDX 2.6.1.2.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub(crate) struct MetadataEntry {
    pub item: Guid,
    /// From the start of the region; 64 KiB or more.
    pub offset: U32,
    pub length: U32,
    /// [`IS_USER`], [`IS_VIRTUAL_DISK`], [`IS_REQUIRED`].
    pub flags: U32,
    pub reserved: U32,
}
const _: () = assert!(size_of::<MetadataEntry>() == 32);

/// The metadata table's length, and the least offset of an item.
pub(crate) const METADATA_TABLE_LEN: usize = 64 * 1024;
/// Not one of the format's own items.
pub(crate) const IS_USER: u32 = 1;
/// About the disk rather than the file.
pub(crate) const IS_VIRTUAL_DISK: u32 = 2;
/// Who does not know the item must not open the file.
pub(crate) const IS_REQUIRED: u32 = 4;

/// MS-VHDX 2.6.2.1.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub(crate) struct FileParameters {
    pub block_size: U32,
    /// [`LEAVE_BLOCKS_ALLOCATED`], [`HAS_PARENT`].
    pub flags: U32,
}

/// A fixed disk.
pub(crate) const LEAVE_BLOCKS_ALLOCATED: u32 = 1;
/// A differencing disk.
pub(crate) const HAS_PARENT: u32 = 2;

/// MS-VHDX 2.6.2.6.1.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub(crate) struct LocatorHeader {
    pub kind: Guid,
    pub reserved: U16,
    pub count: U16,
}
const _: () = assert!(size_of::<LocatorHeader>() == 20);

/// MS-VHDX 2.6.2.6.2: a key and its value, both UTF-16.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub(crate) struct LocatorEntry {
    /// From the start of the item.
    pub key_offset: U32,
    pub value_offset: U32,
    /// Bytes.
    pub key_length: U16,
    pub value_length: U16,
}
const _: () = assert!(size_of::<LocatorEntry>() == 12);

/// MS-VHDX 2.3.1.1: the start of a log entry.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub(crate) struct LogEntryHeader {
    /// "loge".
    pub signature: [u8; 4],
    /// CRC-32C of the entry with this field zero.
    pub checksum: U32,
    /// Bytes of the entry, whole log sectors.
    pub length: U32,
    /// Where in the log the oldest entry starts that still has to be replayed when this is the newest.
    pub tail: U32,
    /// One more than the entry before.
    pub sequence: U64,
    pub descriptor_count: U32,
    pub reserved: U32,
    /// The header's log GUID.
    pub log: Guid,
    /// The file was at least this long, safely, when the entry was written.
    pub flushed_file_offset: U64,
    /// All structures of the file end here or before.
    pub last_file_offset: U64,
}
const _: () = assert!(size_of::<LogEntryHeader>() == 64);

/// MS-VHDX 2.3.1.2 and 2.3.1.3, told apart by the signature.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub(crate) struct LogDescriptor {
    /// "zero" or "desc".
    pub signature: [u8; 4],
    /// Data: the last 4 bytes of the sector. Zero: reserved.
    pub trailing: [u8; 4],
    /// Data: the first 8 bytes of the sector. Zero: the length in bytes.
    pub leading: [u8; 8],
    /// Where it goes in the file.
    pub file_offset: U64,
    /// The entry's.
    pub sequence: U64,
}
const _: () = assert!(size_of::<LogDescriptor>() == 32);

/// MS-VHDX 2.3.1.4: a sector of the file without its first 8 and last 4 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub(crate) struct LogData {
    /// "data".
    pub signature: [u8; 4],
    pub sequence_high: U32,
    pub bytes: [u8; 4084],
    pub sequence_low: U32,
}
const _: () = assert!(size_of::<LogData>() == 4096);

/// Payload block states, MS-VHDX 2.5.1.1: the low three bits of an entry. 1 (undefined) and 3 (unmapped) read as zero.
pub(crate) mod payload {
    pub const NOT_PRESENT: u64 = 0;
    pub const UNDEFINED: u64 = 1;
    pub const ZERO: u64 = 2;
    pub const UNMAPPED: u64 = 3;
    pub const FULLY_PRESENT: u64 = 6;
    pub const PARTIALLY_PRESENT: u64 = 7;
}

/// Sector bitmap block states, MS-VHDX 2.5.1.2.
pub(crate) mod bitmap {
    pub const NOT_PRESENT: u64 = 0;
    pub const PRESENT: u64 = 6;
}

/// CRC-32C of a structure whose own checksum, at byte 4, counts as zero.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    let (signature, rest) = bytes.split_at(bytes.len().min(4));
    let start = crc32c::crc32c_append(crc32c::crc32c(signature), &[0; 4]);
    crc32c::crc32c_append(start, rest.get(4..).unwrap_or_default())
}
