//! Prefixes of instructions whose opcode is known already: the processor has said what exited, but not how long it is.

/// What stands before an opcode.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Prefixes {
    /// Bytes.
    pub length: u8,
    /// The REX prefix, in 64-bit code; 0 if there is none.
    pub rex: u8,
}

/// What the processor says that it did not execute: one instruction, or several of one length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opcode {
    /// Its bytes, the first lowest.
    bytes: u32,
    /// The bits of them that count.
    mask: u32,
    length: u8,
}

impl Opcode {
    /// CPUID.
    pub const CPUID: Self = Self::new([0x0F, 0xA2, 0], 2);
    /// RDMSR or WRMSR.
    pub const MSR: Self = Self { mask: 0xFDFF, ..Self::new([0x0F, 0x30, 0], 2) };
    /// HLT.
    pub const HLT: Self = Self::new([0xF4, 0, 0], 1);
    /// VMMCALL.
    pub const VMMCALL: Self = Self::new([0x0F, 0x01, 0xD9], 3);
    /// XSETBV.
    pub const XSETBV: Self = Self::new([0x0F, 0x01, 0xD1], 3);
    /// INVD or WBINVD.
    pub const CACHE_FLUSH: Self = Self { mask: 0xFEFF, ..Self::new([0x0F, 0x08, 0], 2) };
    /// MOV to a control register from a general-purpose one.
    pub const MOV_TO_CONTROL: Self =
        Self { mask: 0xC0_FFFF, ..Self::new([0x0F, MOV_TO_CONTROL, 0xC0], 3) };
    /// The second byte of PAUSE; its first looks like a prefix.
    pub const PAUSE: Self = Self::new([0x90, 0, 0], 1);

    const fn new([a, b, c]: [u8; 3], length: u8) -> Self {
        let mask = u32::MAX >> (32 - 8 * length as u32);
        Self { bytes: u32::from_le_bytes([a, b, c, 0]), mask, length }
    }

    /// Bytes it is long, without prefixes.
    pub const fn length(self) -> usize {
        self.length as usize
    }

    /// Whether `code`, the first byte lowest, begins with it.
    pub const fn begins(self, code: u64) -> bool {
        code as u32 & self.mask == self.bytes & self.mask
    }
}

/// REX.B: bit 3 of the register in ModRM.rm.
const REX_B: u8 = 1;
/// Second byte of MOV to a control register; the first is 0x0F.
const MOV_TO_CONTROL: u8 = 0x22;

/// The prefixes that `bytes` begin with. `long` is for 64-bit code.
pub fn scan(bytes: &[u8], long: bool) -> Prefixes {
    let mut found = Prefixes::default();
    for byte in bytes {
        match byte {
            0x26 | 0x2E | 0x36 | 0x3E | 0x64..=0x67 | 0xF0 | 0xF2 | 0xF3 => found.rex = 0,
            // Only the last one before the opcode counts.
            0x40..=0x4F if long => found.rex = *byte,
            _ => break,
        }
        found.length = found.length.saturating_add(1);
    }
    found
}

/// The number of the general-purpose register that a MOV to a control register reads; `None` if `bytes` are another
/// instruction.
pub fn control_register_source(bytes: &[u8], long: bool) -> Option<u8> {
    let Prefixes { length, rex } = scan(bytes, long);
    let [0x0F, MOV_TO_CONTROL, modrm, ..] = *bytes.get(usize::from(length)..)? else { return None };
    Some(modrm & 7 | (rex & REX_B) << 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn length(bytes: &[u8], long: bool) -> u8 {
        scan(bytes, long).length
    }

    #[test]
    fn prefixes_are_counted_up_to_the_opcode() {
        assert_eq!(length(&[0x0F, 0xA2], true), 0);
        assert_eq!(length(&[0x48, 0x0F, 0xA2], true), 1);
        assert_eq!(length(&[0x2E, 0x66, 0x40, 0x0F, 0xA2], true), 3);
        assert_eq!(length(&[0xF3, 0xF4], false), 1);
        assert_eq!(length(&[0x66; 4], true), 4);
        assert_eq!(length(&[], true), 0);
    }

    #[test]
    fn opcodes_are_known_by_their_bytes() {
        let code = |bytes: [u8; 4]| u64::from(u32::from_le_bytes(bytes)) | 0xCCCC << 32;
        let known = [
            (Opcode::CPUID, [0x0F, 0xA2, 0x90, 0x90]),
            (Opcode::MSR, [0x0F, 0x30, 0x90, 0x90]),
            (Opcode::MSR, [0x0F, 0x32, 0x90, 0x90]),
            (Opcode::HLT, [0xF4, 0xC3, 0x90, 0x90]),
            (Opcode::VMMCALL, [0x0F, 0x01, 0xD9, 0xC3]),
            (Opcode::XSETBV, [0x0F, 0x01, 0xD1, 0xC3]),
            (Opcode::CACHE_FLUSH, [0x0F, 0x08, 0xC3, 0xC3]),
            (Opcode::CACHE_FLUSH, [0x0F, 0x09, 0xC3, 0xC3]),
            (Opcode::MOV_TO_CONTROL, [0x0F, 0x22, 0xC7, 0xC3]),
            (Opcode::PAUSE, [0x90, 0xC3, 0xC3, 0xC3]),
        ];
        for (opcode, bytes) in known {
            for (other, _) in known {
                assert_eq!(other.begins(code(bytes)), other == opcode, "{bytes:x?} as {other:?}");
            }
        }
        assert!(!Opcode::MSR.begins(code([0x0F, 0x31, 0, 0])), "RDTSC");
        assert!(!Opcode::MSR.begins(code([0x0F, 0x33, 0, 0])), "RDPMC");
        assert!(!Opcode::MOV_TO_CONTROL.begins(code([0x0F, 0x22, 0x07, 0])));
    }

    #[test]
    fn rex_is_an_instruction_outside_of_64_bit_code() {
        assert_eq!(length(&[0x48, 0x0F, 0xA2], false), 0);
    }

    #[test]
    fn rex_counts_only_right_before_the_opcode() {
        assert_eq!(scan(&[0x41, 0x66, 0x0F], true), Prefixes { length: 2, rex: 0 });
        assert_eq!(scan(&[0x66, 0x41, 0x0F], true), Prefixes { length: 2, rex: 0x41 });
    }

    #[test]
    fn source_of_a_control_register_is_found() {
        // mov cr8, rdi; mov cr8, r15; lock mov cr0, eax.
        assert_eq!(control_register_source(&[0x44, 0x0F, 0x22, 0xC7], true), Some(7));
        assert_eq!(control_register_source(&[0x45, 0x0F, 0x22, 0xC7], true), Some(15));
        assert_eq!(control_register_source(&[0xF0, 0x0F, 0x22, 0xC0], false), Some(0));
        assert_eq!(control_register_source(&[0x44, 0x0F, 0x20, 0xC7], true), None);
        assert_eq!(control_register_source(&[0x44, 0x0F, 0x22], true), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_scanned(bytes in proptest::collection::vec(any::<u8>(), 0..16), long: bool) {
            let found = scan(&bytes, long);
            prop_assert!(usize::from(found.length) <= bytes.len());
            let _ = control_register_source(&bytes, long);
        }
    }
}
