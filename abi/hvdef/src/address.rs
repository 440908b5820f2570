//! Physical addresses, of a partition and of the machine, and their page numbers.

use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of a page, in every part of the ABI.
pub const PAGE_SIZE: usize = 4096;
/// Binary logarithm of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;

macro_rules! address {
    ($(#[$address_meta:meta])* $address:ident, $number:ident, $to_number:ident, $to_address:ident, $words:literal) => {
        $(#[$address_meta])*
        #[repr(transparent)]
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
        )]
        pub struct $address(pub u64);

        #[doc = concat!($words, " page number: the address divided by 4096.")]
        #[repr(transparent)]
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
        )]
        pub struct $number(pub u64);

        impl $address {
            /// The page the address is in.
            pub const fn $to_number(self) -> $number {
                $number(self.0 >> PAGE_SHIFT)
            }

            /// Bytes from the start of the page.
            pub const fn page_offset(self) -> usize {
                (self.0 % PAGE_SIZE as u64) as usize
            }

            /// The address `bytes` further on; `None` past the end of the address space.
            pub const fn checked_add(self, bytes: u64) -> Option<Self> {
                match self.0.checked_add(bytes) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }

            /// Whether it is a multiple of `alignment`, which is not 0.
            pub const fn is_aligned_to(self, alignment: u64) -> bool {
                self.0.is_multiple_of(alignment)
            }
        }

        impl $number {
            /// The highest number whose page has an address.
            pub const MAX: Self = Self(u64::MAX >> PAGE_SHIFT);

            /// The first address of the page; `None` if the number is higher than [`Self::MAX`].
            pub const fn $to_address(self) -> Option<$address> {
                if self.0 > Self::MAX.0 { None } else { Some($address(self.0 << PAGE_SHIFT)) }
            }

            /// The page `pages` further on; `None` past the end of the address space.
            pub const fn checked_add(self, pages: u64) -> Option<Self> {
                match self.0.checked_add(pages) {
                    Some(sum) if sum <= Self::MAX.0 => Some(Self(sum)),
                    _ => None,
                }
            }
        }

        impl fmt::Debug for $address {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($address), "({:#x})"), self.0)
            }
        }

        impl fmt::Debug for $number {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($number), "({:#x})"), self.0)
            }
        }
    };
}

address! {
    /// Guest physical address: what a partition takes for physical memory. The root's are the machine's.
    Gpa, Gpn, gpn, gpa, "Guest"
}
address! {
    /// System physical address: the machine's own.
    Spa, Spn, spn, spa, "System"
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_address_is_its_page_and_the_offset_in_it(address: u64) {
            let gpa = Gpa(address);
            let page = gpa.gpn().gpa().unwrap();
            prop_assert_eq!(page.checked_add(gpa.page_offset() as u64), Some(gpa));
        }
    }

    #[test]
    fn address_and_page_number_convert_back_and_forth() {
        let gpa = Gpa(0x1_2345_6789);
        assert_eq!(gpa.gpn(), Gpn(0x12_3456));
        assert_eq!(gpa.page_offset(), 0x789);
        assert_eq!(gpa.gpn().gpa(), Some(Gpa(0x1_2345_6000)));
        assert_eq!(Spa(0xFFF).spn().spa(), Some(Spa(0)));
    }

    #[test]
    fn a_page_number_beyond_the_address_space_has_no_address() {
        assert_eq!(Gpn::MAX.gpa(), Some(Gpa(0xFFFF_FFFF_FFFF_F000)));
        assert_eq!(Gpn(Gpn::MAX.0 + 1).gpa(), None);
        assert_eq!(Gpn::MAX.checked_add(1), None);
        assert_eq!(Gpn(1).checked_add(u64::MAX), None);
        assert_eq!(Gpa(u64::MAX).checked_add(1), None);
    }

    #[test]
    fn alignment_is_that_of_the_number() {
        assert!(Gpa(0x1008).is_aligned_to(8));
        assert!(!Gpa(0x1009).is_aligned_to(8));
    }
}
