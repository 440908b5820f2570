//! Where the caller's mode puts control word, parameters and result (TLFS, "Register Usage").

/// Whether a caller passes 64-bit or 32-bit registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallerMode {
    /// 64-bit code: RCX control, RDX and R8 parameters, RAX result.
    Long,
    /// 32-bit code: EDX:EAX control and result, EBX:ECX and EDI:ESI parameters.
    Protected,
}

impl CallerMode {
    /// The mode of the caller; `None` if it may not make hypercalls in it and gets #UD: only ring 0 of protected or long
    /// mode may.
    ///
    /// `is_64_bit` is EFER.LMA and the L bit of CS: compatibility mode counts as 32-bit.
    pub const fn of(cpl: u8, protected: bool, is_64_bit: bool) -> Option<Self> {
        match (cpl, protected, is_64_bit) {
            (0, true, true) => Some(Self::Long),
            (0, true, false) => Some(Self::Protected),
            _ => None,
        }
    }
}

/// What a caller passes, free of its mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Registers {
    /// Control word.
    pub control: u64,
    /// GPA of the input, or the first 8 bytes of a fast one.
    pub input: u64,
    /// GPA of the output, or the next 8 bytes of a fast input.
    pub output: u64,
}

impl Registers {
    /// From 64-bit code.
    pub const fn long(rcx: u64, rdx: u64, r8: u64) -> Self {
        Self { control: rcx, input: rdx, output: r8 }
    }

    /// From 32-bit code; upper halves of the registers do not count.
    pub const fn protected(rax: u64, rbx: u64, rcx: u64, rdx: u64, rsi: u64, rdi: u64) -> Self {
        Self { control: pair(rdx, rax), input: pair(rbx, rcx), output: pair(rdi, rsi) }
    }
}

const fn pair(high: u64, low: u64) -> u64 {
    high << 32 | low & 0xFFFF_FFFF
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ring_0_with_protection_may_call() {
        assert_eq!(CallerMode::of(0, true, true), Some(CallerMode::Long));
        assert_eq!(CallerMode::of(0, true, false), Some(CallerMode::Protected));
        assert_eq!(CallerMode::of(3, true, true), None);
        assert_eq!(CallerMode::of(1, true, false), None);
        assert_eq!(CallerMode::of(0, false, false), None);
    }

    #[test]
    fn registers_of_32_bit_code_are_paired_without_their_upper_halves() {
        let junk = 0xFFFF_FFFF_0000_0000;
        let registers =
            Registers::protected(junk | 1, junk | 2, junk | 3, junk | 4, junk | 5, junk | 6);
        assert_eq!(registers, Registers::long(0x4_0000_0001, 0x2_0000_0003, 0x6_0000_0005));
    }
}
