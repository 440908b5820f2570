//! Control and result word (TLFS "Hypercall Inputs", "Hypercall Outputs").

use super::HypercallCode;
use crate::HvStatus;
use bitfield_struct::bitfield;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The control word: RCX of a 64-bit caller, EDX:EAX of a 32-bit one.
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HypercallInput {
    /// Number of the call; see [`Self::code`].
    pub call_code: u16,
    /// The input is in registers.
    pub is_fast: bool,
    /// 8-byte units of the variable part of the header.
    #[bits(10)]
    pub variable_header_qwords: u16,
    /// 0.
    #[bits(4)]
    pub reserved_27: u8,
    /// Meant for the hypervisor below the caller's.
    pub is_nested: bool,
    /// Elements of a rep call in all.
    #[bits(12)]
    pub rep_count: u16,
    /// 0.
    #[bits(4)]
    pub reserved_44: u8,
    /// First element still to do.
    #[bits(12)]
    pub rep_start: u16,
    /// 0.
    #[bits(4)]
    pub reserved_60: u8,
}

impl HypercallInput {
    /// Which call.
    pub const fn code(self) -> HypercallCode {
        HypercallCode(self.call_code())
    }

    /// This control word for another call.
    pub const fn with_code(self, code: HypercallCode) -> Self {
        self.with_call_code(code.0)
    }

    /// Whether all reserved bits are 0.
    pub const fn is_reserved_zero(self) -> bool {
        self.reserved_27() == 0 && self.reserved_44() == 0 && self.reserved_60() == 0
    }
}

/// The result word: RAX of a 64-bit caller, EDX:EAX of a 32-bit one.
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HypercallOutput {
    /// How it ended; see [`Self::status`].
    pub status_code: u16,
    __: u16,
    /// Elements done in all, counted from element 0 and not from the first of this invocation.
    #[bits(12)]
    pub reps_completed: u16,
    #[bits(20)]
    __: u32,
}

impl HypercallOutput {
    /// The result of a call that did `reps` elements, 0 for a simple call.
    pub const fn of(status: HvStatus, reps: u16) -> Self {
        Self::new().with_status_code(status.0).with_reps_completed(reps & 0xFFF)
    }

    /// How it ended.
    pub const fn status(self) -> HvStatus {
        HvStatus(self.status_code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_control_word_are_where_the_tlfs_puts_them() {
        let word = HypercallInput::from_bits(0x01FD_01FD_0004_0014);
        assert_eq!(word.code(), HypercallCode::FLUSH_VIRTUAL_ADDRESS_LIST_EX);
        assert_eq!(word.variable_header_qwords(), 2);
        assert!(!word.is_fast());
        assert_eq!(word.rep_count(), 0x1FD);
        assert_eq!(word.rep_start(), 0x1FD);
        assert!(word.is_reserved_zero());
        assert!(HypercallInput::from_bits(1 << 16).is_fast());
        assert!(HypercallInput::from_bits(1 << 31).is_nested());
    }

    #[test]
    fn each_reserved_bit_of_the_control_word_is_seen() {
        for bit in (27..31).chain(44..48).chain(60..64) {
            assert!(!HypercallInput::from_bits(1 << bit).is_reserved_zero(), "bit {bit}");
        }
    }

    #[test]
    fn the_result_word_carries_status_and_absolute_reps() {
        let word = HypercallOutput::of(HvStatus::NO_RESOURCES, 0x123);
        assert_eq!(word.into_bits(), 0x0000_0123_0000_001D);
        assert_eq!(word.status(), HvStatus::NO_RESOURCES);
    }
}
