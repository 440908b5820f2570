//! What the values of registers look like.

use bitfield_struct::bitfield;
use wire::{layout, wire};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

wire! {
    /// TLFS `HV_REGISTER_VALUE`: any register's value. Registers of 64 bits and fewer are in the low half.
    pub struct RegisterValue {
        /// Bits 63:0.
        pub low: u64,
        /// Bits 127:64.
        pub high: u64,
    }

    /// TLFS `HV_X64_SEGMENT_REGISTER`.
    pub struct SegmentRegister {
        /// Base.
        pub base: u64,
        /// Limit in bytes.
        pub limit: u32,
        /// Selector.
        pub selector: u16,
        /// Type and flags.
        pub attributes: SegmentAttributes,
    }

    /// TLFS `HV_X64_TABLE_REGISTER`.
    pub struct TableRegister {
        /// 0.
        pub padding: [u16; 3],
        /// Limit in bytes.
        pub limit: u16,
        /// Base.
        pub base: u64,
    }
}
layout!(RegisterValue, 16, low @ 0, high @ 8);
layout!(SegmentRegister, 16, base @ 0, limit @ 8, selector @ 12, attributes @ 14);
layout!(TableRegister, 16, limit @ 6, base @ 8);

/// Attributes of a segment as in its descriptor.
#[bitfield(u16)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SegmentAttributes {
    /// Type.
    #[bits(4)]
    pub segment_type: u8,
    /// Code or data.
    pub non_system: bool,
    /// Privilege level.
    #[bits(2)]
    pub dpl: u8,
    /// Usable.
    pub present: bool,
    #[bits(4)]
    __: u8,
    /// For software.
    pub available: bool,
    /// 64-bit code.
    pub long: bool,
    /// 32-bit code or stack.
    pub default: bool,
    /// The descriptor counts the limit in pages.
    pub granularity: bool,
}

impl RegisterValue {
    /// The value of a register of 64 bits or fewer.
    pub const fn from_u64(value: u64) -> Self {
        Self { low: value, high: 0 }
    }

    /// The value as one number.
    pub const fn as_u128(self) -> u128 {
        self.low as u128 | (self.high as u128) << 64
    }

    /// The value of a register of 128 bits.
    pub const fn from_u128(value: u128) -> Self {
        Self { low: value as u64, high: (value >> 64) as u64 }
    }

    /// The value as that of a segment register.
    pub fn as_segment(self) -> SegmentRegister {
        zerocopy::transmute!(self)
    }

    /// The value as that of a table register.
    pub fn as_table(self) -> TableRegister {
        zerocopy::transmute!(self)
    }
}

impl From<u64> for RegisterValue {
    fn from(value: u64) -> Self {
        Self::from_u64(value)
    }
}

impl From<SegmentRegister> for RegisterValue {
    fn from(segment: SegmentRegister) -> Self {
        zerocopy::transmute!(segment)
    }
}

impl From<TableRegister> for RegisterValue {
    fn from(table: TableRegister) -> Self {
        zerocopy::transmute!(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_keeps_its_parts_as_a_value() {
        let attributes = SegmentAttributes::from_bits(0xA09B);
        assert!(
            attributes.present()
                && attributes.long()
                && attributes.granularity()
                && !attributes.default()
        );
        assert_eq!((attributes.segment_type(), attributes.dpl()), (0xB, 0));
        let code = SegmentRegister { base: 0x10, limit: u32::MAX, selector: 0x8, attributes };
        let value = RegisterValue::from(code);
        assert_eq!(value, RegisterValue { low: 0x10, high: 0xA09B_0008_FFFF_FFFF });
        assert_eq!(value.as_segment(), code);
    }

    #[test]
    fn a_table_has_its_limit_before_its_base() {
        let idtr = TableRegister { padding: [0; 3], limit: 0xFFF, base: 0x1_2345 };
        let value = RegisterValue::from(idtr);
        assert_eq!(value, RegisterValue { low: 0x0FFF_0000_0000_0000, high: 0x1_2345 });
        assert_eq!(value.as_table(), idtr);
        assert_eq!(RegisterValue::from_u128(value.as_u128()), value);
    }
}
