//! The structures of a VHD file, as Microsoft's "Virtual Hard Disk Image Format Specification" 1.0 lays them out. All
//! numbers are big-endian.

use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A sector: unit of all offsets in a block table, and of atomic change.
pub(crate) const SECTOR: u64 = 512;
/// The footer's length.
pub(crate) const FOOTER_LEN: u64 = size_of::<Footer>() as u64;
/// Where there is no offset.
pub(crate) const NOWHERE: u64 = u64::MAX;
/// A table entry of a block that has no room.
pub(crate) const UNUSED: u32 = u32::MAX;
/// The largest disk: 2040 GiB.
pub(crate) const SIZE_MAX: u64 = 2040 << 30;
/// Block sizes that are understood: powers of two. 2 MiB is what everybody uses.
pub(crate) const BLOCK_SIZES: std::ops::RangeInclusive<u64> = 4096..=256 << 20;

/// "Hard Disk Footer Format": the last sector of the file, and of a disk that is not fixed also the first.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub(crate) struct Footer {
    /// "conectix".
    pub cookie: [u8; 8],
    /// Bit 1 is always set.
    pub features: U32,
    /// Major version in the high half: 1.0.
    pub version: U32,
    /// Where the dynamic header is; [`NOWHERE`] for a fixed disk.
    pub data_offset: U64,
    /// Seconds since 2000-01-01 00:00 UTC.
    pub timestamp: U32,
    pub creator: [u8; 4],
    pub creator_version: U32,
    /// "Wi2k" or "Mac ".
    pub creator_os: [u8; 4],
    /// Bytes when it was created.
    pub original_size: U64,
    /// Bytes now.
    pub current_size: U64,
    pub geometry: Geometry,
    /// [`FIXED`], [`DYNAMIC`], [`DIFFERENCING`].
    pub kind: U32,
    /// The complement of the sum of all other bytes.
    pub checksum: U32,
    /// Children know their parent by it.
    pub id: [u8; 16],
    pub saved_state: u8,
    pub reserved: [u8; 427],
}
const _: () = assert!(size_of::<Footer>() == 512);
const _: () = assert!(core::mem::offset_of!(Footer, kind) == 60);

pub(crate) const FIXED: u32 = 2;
pub(crate) const DYNAMIC: u32 = 3;
pub(crate) const DIFFERENCING: u32 = 4;

/// Cylinders, heads and sectors that an old BIOS is told.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
pub(crate) struct Geometry {
    pub cylinders: U16,
    pub heads: u8,
    pub sectors: u8,
}

/// "Dynamic Disk Header Format". What a resize changes is in the first of its two sectors.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub(crate) struct DynamicHeader {
    /// "cxsparse".
    pub cookie: [u8; 8],
    /// [`NOWHERE`].
    pub data_offset: U64,
    pub table_offset: U64,
    /// Major version in the high half: 1.0.
    pub version: U32,
    pub max_table_entries: U32,
    pub block_size: U32,
    /// As the footer's.
    pub checksum: U32,
    pub parent_id: [u8; 16],
    pub parent_timestamp: U32,
    pub reserved: U32,
    /// UTF-16.
    pub parent_name: [U16; 256],
    pub locators: [ParentLocator; 8],
    pub reserved2: [u8; 256],
}
const _: () = assert!(size_of::<DynamicHeader>() == 1024);
const _: () = assert!(core::mem::offset_of!(DynamicHeader, locators) == 576);

/// Where a path to the parent is in the file.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub(crate) struct ParentLocator {
    /// [`RELATIVE_PATH`], [`ABSOLUTE_PATH`] or another platform's.
    pub platform: [u8; 4],
    /// Bytes set aside (some writers: sectors).
    pub space: U32,
    /// Bytes of the path.
    pub length: U32,
    pub reserved: U32,
    pub offset: U64,
}
const _: () = assert!(size_of::<ParentLocator>() == 24);

/// A path from the child's directory, in little-endian UTF-16.
pub(crate) const RELATIVE_PATH: [u8; 4] = *b"W2ru";
/// An absolute path, in little-endian UTF-16.
pub(crate) const ABSOLUTE_PATH: [u8; 4] = *b"W2ku";

/// The complement of the sum of all bytes but those of the checksum itself, at `place`.
pub(crate) fn checksum(bytes: &[u8], place: usize) -> u32 {
    let others = |(at, _): &(usize, &u8)| !(place..place + 4).contains(at);
    let sum: u32 = bytes.iter().enumerate().filter(others).map(|(_, byte)| u32::from(*byte)).sum();
    !sum
}
