//! Flushing other VPs' translations (TLFS, "Virtual MMU").

use super::VpSetHeader;
use bitfield_struct::bitfield;
use wire::{layout, wire};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

wire! {
    /// [`FLUSH_VIRTUAL_ADDRESS_SPACE`](super::HypercallCode::FLUSH_VIRTUAL_ADDRESS_SPACE), and as the header of
    /// [`FLUSH_VIRTUAL_ADDRESS_LIST`](super::HypercallCode::FLUSH_VIRTUAL_ADDRESS_LIST), which a list of [`GvaRange`]
    /// follows.
    pub struct FlushVirtualAddress {
        /// CR3 without its flags.
        pub address_space: u64,
        /// What and where.
        pub flags: FlushFlags,
        /// VPs 0 to 63.
        pub processor_mask: u64,
    }

    /// [`FLUSH_VIRTUAL_ADDRESS_SPACE_EX`](super::HypercallCode::FLUSH_VIRTUAL_ADDRESS_SPACE_EX) and
    /// [`FLUSH_VIRTUAL_ADDRESS_LIST_EX`](super::HypercallCode::FLUSH_VIRTUAL_ADDRESS_LIST_EX): banks follow as variable
    /// header, then the list of [`GvaRange`].
    pub struct FlushVirtualAddressEx {
        /// CR3 without its flags.
        pub address_space: u64,
        /// What and where.
        pub flags: FlushFlags,
        /// On which VPs. The bank mask does not count as variable header.
        pub vp_set: VpSetHeader,
    }
}
layout!(FlushVirtualAddress, 24, address_space @ 0, flags @ 8, processor_mask @ 16);
layout!(FlushVirtualAddressEx, 32, address_space @ 0, flags @ 8, vp_set @ 16);

/// TLFS `HV_FLUSH_FLAGS`.
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FlushFlags {
    /// On all VPs, whatever the mask.
    pub all_processors: bool,
    /// All address spaces.
    pub all_virtual_address_spaces: bool,
    /// Global translations may stay.
    pub non_global_mappings_only: bool,
    /// Ranges are [`ExtendedRange`]s.
    pub use_extended_range_format: bool,
    #[bits(60)]
    __: u64,
}

/// TLFS `HV_GVA_RANGE`: an element of a flush list.
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct GvaRange {
    /// Pages after the first.
    #[bits(12)]
    pub additional_pages: u16,
    /// Number of the first page.
    #[bits(52)]
    pub page: u64,
}

/// TLFS `HV_GVA_RANGE`, extended format, and Linux' `hv_gpa_page_range`.
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ExtendedRange {
    /// Pages after the first.
    #[bits(11)]
    pub additional_pages: u16,
    /// The pages are large: bit 12 tells how large, and the number begins at bit 21 or 30.
    pub is_large: bool,
    /// Number of the first page in 4 KiB units; for large pages its low bits are something else.
    #[bits(52)]
    pub page: u64,
}

impl ExtendedRange {
    /// 4 KiB units in one page of the range: 1, 512 or 512².
    pub const fn units_per_page(self) -> u64 {
        match (self.is_large(), self.page() & 1 != 0) {
            (false, _) => 1,
            (true, false) => 512,
            (true, true) => 512 * 512,
        }
    }

    /// Number of the first page in 4 KiB units.
    pub const fn first(self) -> u64 {
        self.page() & !(self.units_per_page() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_a_page_address_and_a_count_below_it() {
        let range = GvaRange::from_bits(0xFFFF_8000_1234_5003);
        assert_eq!((range.page(), range.additional_pages()), (0xF_FFF8_0001_2345, 3));
    }

    #[test]
    fn an_extended_range_knows_the_size_of_its_pages() {
        let small = ExtendedRange::from_bits(0x1234_5002);
        assert_eq!(
            (small.first(), small.units_per_page(), small.additional_pages()),
            (0x1_2345, 1, 2)
        );
        let large = ExtendedRange::from_bits(0x0060_0000 | 1 << 11 | 1);
        assert_eq!((large.first(), large.units_per_page()), (0x600, 512));
        let huge = ExtendedRange::from_bits(0x4000_0000 | 1 << 12 | 1 << 11);
        assert_eq!((huge.first(), huge.units_per_page()), (0x4_0000, 512 * 512));
    }
}
