//! GUIDs as these formats keep them.

use std::fmt;
use uuid::Uuid;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A GUID with its first three fields little-endian, as VHDX stores it.
#[repr(transparent)]
#[derive(
    Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
pub(crate) struct Guid(pub [u8; 16]);

impl Guid {
    pub const ZERO: Self = Self([0; 16]);

    /// From the digits as they are written.
    pub const fn new(digits: u128) -> Self {
        Self(Uuid::from_u128(digits).to_bytes_le())
    }

    /// One that nobody has.
    pub fn random() -> Self {
        Self(Uuid::new_v4().to_bytes_le())
    }

    /// From text, with or without braces.
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self(Uuid::try_parse(text).ok()?.to_bytes_le()))
    }

    /// In the form of a parent locator: `{83ed0ec1-24c8-49a6-a959-5e4bd1288791}`.
    pub fn braced(self) -> String {
        format!("{{{self}}}")
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes_le(self.0).fmt(formatter)
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_agree() {
        let guid = Guid::new(0x83ED_0EC1_24C8_49A6_A959_5E4B_D128_8791);
        assert_eq!(guid.braced(), "{83ed0ec1-24c8-49a6-a959-5e4bd1288791}");
        assert_eq!(Guid::parse(&guid.braced().to_uppercase()), Some(guid));
        assert_eq!(guid.0.get(..4), Some(&[0xC1, 0x0E, 0xED, 0x83][..]));
    }
}
