//! Arithmetic and what it does to the flags.

use super::operand::mask;

/// Carry.
pub const CF: u64 = 1 << 0;
/// Even number of ones in the lowest byte.
pub const PF: u64 = 1 << 2;
/// Carry out of bit 3.
pub const AF: u64 = 1 << 4;
/// Zero.
pub const ZF: u64 = 1 << 6;
/// Sign.
pub const SF: u64 = 1 << 7;
/// Direction of string instructions.
pub const DF: u64 = 1 << 10;
/// Overflow.
pub const OF: u64 = 1 << 11;

/// The flags that arithmetic sets.
pub const STATUS: u64 = CF | PF | AF | ZF | SF | OF;

/// A result and its flags.
pub type Computed = (u64, u64);

fn sign(value: u64, size: usize) -> bool {
    value >> (8 * size - 1) & 1 != 0
}

fn common(result: u64, size: usize) -> u64 {
    let mut flags = 0;
    if (result as u8).count_ones().is_multiple_of(2) {
        flags |= PF;
    }
    if result == 0 {
        flags |= ZF;
    }
    if sign(result, size) {
        flags |= SF;
    }
    flags
}

fn flag(condition: bool, flag: u64) -> u64 {
    if condition { flag } else { 0 }
}

/// `a + b + carry`.
pub fn add(a: u64, b: u64, carry: bool, size: usize) -> Computed {
    let (a, b) = (a & mask(size), b & mask(size));
    let wide = u128::from(a) + u128::from(b) + u128::from(carry);
    let result = wide as u64 & mask(size);
    let overflow = sign(a, size) == sign(b, size) && sign(a, size) != sign(result, size);
    let carries = flag(wide > u128::from(mask(size)), CF) | flag((a ^ b ^ result) & 0x10 != 0, AF);
    (result, common(result, size) | carries | flag(overflow, OF))
}

/// `a - b - borrow`.
pub fn sub(a: u64, b: u64, borrow: bool, size: usize) -> Computed {
    let (a, b) = (a & mask(size), b & mask(size));
    let result = a.wrapping_sub(b).wrapping_sub(u64::from(borrow)) & mask(size);
    let overflow = sign(a, size) != sign(b, size) && sign(a, size) != sign(result, size);
    let borrows = u128::from(a) < u128::from(b) + u128::from(borrow);
    let carries = flag(borrows, CF) | flag((a ^ b ^ result) & 0x10 != 0, AF);
    (result, common(result, size) | carries | flag(overflow, OF))
}

/// Flags of AND, OR, XOR and TEST.
pub fn logic(result: u64, size: usize) -> Computed {
    let result = result & mask(size);
    (result, common(result, size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::arch::asm;

    /// The same sum by the processor this runs on.
    #[expect(unsafe_code, reason = "asks the processor itself for the flags")]
    fn real_add(a: u32, b: u32) -> (u32, u64) {
        let (mut result, flags): (u32, u64);
        result = a;
        // SAFETY: adds two registers and reads the flags through the stack.
        unsafe {
            asm!("add {0:e}, {1:e}", "pushfq", "pop {2}", inout(reg) result, in(reg) b, out(reg) flags);
        }
        (result, flags & STATUS)
    }

    /// The same difference by the processor this runs on.
    #[expect(unsafe_code, reason = "asks the processor itself for the flags")]
    fn real_sub(a: u32, b: u32) -> (u32, u64) {
        let (mut result, flags): (u32, u64);
        result = a;
        // SAFETY: subtracts two registers and reads the flags through the stack.
        unsafe {
            asm!("sub {0:e}, {1:e}", "pushfq", "pop {2}", inout(reg) result, in(reg) b, out(reg) flags);
        }
        (result, flags & STATUS)
    }

    fn number() -> impl Strategy<Value = u32> {
        prop_oneof![
            any::<u32>(),
            Just(0),
            Just(1),
            Just(0x7FFF_FFFF),
            Just(0x8000_0000),
            Just(u32::MAX)
        ]
    }

    proptest! {
        #[test]
        fn sums_are_those_of_the_processor(a in number(), b in number()) {
            let (result, flags) = real_add(a, b);
            prop_assert_eq!(add(a.into(), b.into(), false, 4), (result.into(), flags));
        }

        #[test]
        fn differences_are_those_of_the_processor(a in number(), b in number()) {
            let (result, flags) = real_sub(a, b);
            prop_assert_eq!(sub(a.into(), b.into(), false, 4), (result.into(), flags));
        }
    }

    #[test]
    fn carries_count_in_every_size() {
        assert_eq!(add(0xFF, 0, true, 1), (0, CF | PF | AF | ZF));
        assert_eq!(sub(0, 0, true, 1), (0xFF, CF | PF | AF | SF));
        assert_eq!(add(u64::MAX, 0, true, 8).0, 0);
        assert_eq!(add(u64::MAX, 0, true, 8).1 & CF, CF);
        assert_eq!(logic(0x8000, 2), (0x8000, PF | SF));
    }
}
