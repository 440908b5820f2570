//! Elements of flush lists and memory hints as ranges of pages.

use crate::buffers::Reader;
use hvdef::hypercall::tlb::{ExtendedRange, GvaRange};

/// How the elements of a list are to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RangeFormat {
    /// Pages of 4 KiB.
    Plain,
    /// Pages of three sizes.
    Extended,
}

/// Consecutive pages of 4 KiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageRange {
    /// Number of the first.
    pub first: u64,
    /// How many, at least 1.
    pub count: u64,
}

impl From<GvaRange> for PageRange {
    fn from(range: GvaRange) -> Self {
        Self { first: range.page(), count: u64::from(range.additional_pages()) + 1 }
    }
}

impl From<ExtendedRange> for PageRange {
    fn from(range: ExtendedRange) -> Self {
        Self {
            first: range.first(),
            count: (u64::from(range.additional_pages()) + 1) * range.units_per_page(),
        }
    }
}

/// The ranges of a list that are still to do, each with its index.
pub fn page_ranges<'a>(
    reader: &Reader<'a>,
    format: RangeFormat,
) -> impl Iterator<Item = (u16, PageRange)> + use<'a> {
    reader.elements::<u64>().map(move |(index, bits)| {
        let range = match format {
            RangeFormat::Plain => GvaRange::from_bits(bits).into(),
            RangeFormat::Extended => ExtendedRange::from_bits(bits).into(),
        };
        (index, range)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Privileges, Registers, decode};
    use hvdef::cpuid::PartitionPrivileges;
    extern crate std;
    use std::vec::Vec;

    /// The ranges of a FLUSH_VIRTUAL_ADDRESS_LIST with `list`, from element `start` on.
    fn ranges(list: &[u64], start: u64, format: RangeFormat) -> Vec<(u16, PageRange)> {
        let control = start << 48 | (list.len() as u64) << 32 | 3;
        let caller = Privileges::child(PartitionPrivileges::new());
        let call = decode(&Registers::long(control, 0, 0), caller).unwrap();
        let mut bytes = std::vec![0; 24];
        list.iter().for_each(|element| bytes.extend(element.to_le_bytes()));
        let reader = Reader::new(&call, &bytes).unwrap();
        page_ranges(&reader, format).collect()
    }

    #[test]
    fn a_list_yields_first_page_and_number_of_pages() {
        let list = [0x7000, 0x1_0000 | 2, 0xFFFF_FFFF_FFFF_F000 | 0xFFF];
        let expected = [
            (0, PageRange { first: 7, count: 1 }),
            (1, PageRange { first: 0x10, count: 3 }),
            (2, PageRange { first: 0xF_FFFF_FFFF_FFFF, count: 4096 }),
        ];
        assert_eq!(ranges(&list, 0, RangeFormat::Plain), expected);
        assert_eq!(ranges(&list, 2, RangeFormat::Plain), expected[2..]);
    }

    #[test]
    fn large_pages_count_as_the_small_ones_in_them() {
        let list = [0x3000 | 1, 0x20_0000 | 1 << 11 | 1, 0x4000_0000 | 1 << 12 | 1 << 11];
        let counted: Vec<_> = ranges(&list, 0, RangeFormat::Extended)
            .iter()
            .map(|(_, r)| (r.first, r.count))
            .collect();
        assert_eq!(counted, [(3, 2), (512, 1024), (0x4_0000, 512 * 512)]);
    }
}
