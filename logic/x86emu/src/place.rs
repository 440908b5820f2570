//! Where in memory an instruction's operand lies.

use yaxpeax_x86::long_mode::register_class::{D, EIP, RIP};
use yaxpeax_x86::long_mode::{Instruction, Operand, Segment};

/// The segment of an operand. All but two are one to the decoder, as they are in 64-bit code, and nearly always elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DataSegment {
    /// DS, ES, SS or CS.
    #[default]
    Data,
    /// FS.
    Fs,
    /// GS.
    Gs,
}

/// Where in memory, as the instruction says it: `base + index * scale + displacement`, from a segment's base on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// Of which segment.
    pub segment: DataSegment,
    /// Number of the base register.
    pub base: Option<u8>,
    /// Number of the index register, and what it is multiplied by.
    pub index: Option<(u8, u8)>,
    /// From the next instruction on, in place of a base register.
    pub from_next: bool,
    /// Displacement.
    pub displacement: u64,
    /// The sum has 32 bits.
    pub is_32_bit: bool,
}

impl Place {
    /// Offset in the segment, with these registers and the address of the next instruction.
    pub fn offset(&self, regs: &[u64; 16], next: u64) -> u64 {
        let register = |number: u8| regs.get(usize::from(number)).copied().unwrap_or(0);
        let base = if self.from_next { next } else { self.base.map_or(0, register) };
        let index =
            self.index.map_or(0, |(number, scale)| register(number).wrapping_mul(scale.into()));
        let sum = base.wrapping_add(index).wrapping_add(self.displacement);
        if self.is_32_bit { sum & 0xFFFF_FFFF } else { sum }
    }

    /// Place of operand number `operand`; `None` if that is no memory, or such as no move has.
    pub(crate) fn of(instruction: &Instruction, operand: u8) -> Option<Self> {
        let (base, index, displacement) = match instruction.operand(operand) {
            Operand::AbsoluteU32 { addr } => (None, None, addr as i32 as u64),
            Operand::AbsoluteU64 { addr } => (None, None, addr),
            Operand::MemDeref { base } => (Some(base), None, 0),
            Operand::Disp { base, disp } => (Some(base), None, disp as u64),
            Operand::MemIndexScale { index, scale } => (None, Some((index, scale)), 0),
            Operand::MemIndexScaleDisp { index, scale, disp } => {
                (None, Some((index, scale)), disp as u64)
            }
            Operand::MemBaseIndexScale { base, index, scale } => {
                (Some(base), Some((index, scale)), 0)
            }
            Operand::MemBaseIndexScaleDisp { base, index, scale, disp } => {
                (Some(base), Some((index, scale)), disp as u64)
            }
            _ => return None,
        };
        let class = base.or(index.map(|(register, _)| register)).map(|register| register.class());
        let from_next = matches!(class, Some(RIP | EIP));
        let segment = match instruction.segment_override_for_op(operand) {
            Some(Segment::FS) => DataSegment::Fs,
            Some(Segment::GS) => DataSegment::Gs,
            _ => DataSegment::Data,
        };
        Some(Self {
            segment,
            base: base.filter(|_| !from_next).map(|register| register.num()),
            index: index.map(|(register, scale)| (register.num(), scale)),
            from_next,
            displacement,
            is_32_bit: matches!(class, Some(D | EIP)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::DataSegment::{self, Data, Gs};
    use crate::access::{CodeSize, decode};

    /// Segment and offset that the instruction names, with register n holding n << 32 | n << 8, the next instruction at 0x9000.
    #[track_caller]
    fn named(bytes: &[u8], code: CodeSize) -> (DataSegment, u64) {
        let regs: [u64; 16] = core::array::from_fn(|n| (n as u64) << 32 | (n as u64) << 8);
        let place = decode(bytes, code).expect("an instruction").place;
        (place.segment, place.offset(&regs, 0x9000))
    }

    #[test]
    fn places_of_64_bit_code() {
        let named = |bytes: &[u8]| named(bytes, CodeSize::Bits64);
        // mov [rdi-0xa03000], esi
        assert_eq!(named(&[0x89, 0xB7, 0x00, 0xD0, 0x5F, 0xFF]), (Data, 0x7_0000_0700 - 0xA0_3000));
        // mov dword ptr [0xffffffffff5fc0b0], 0
        let absolute = [0xC7, 0x04, 0x25, 0xB0, 0xC0, 0x5F, 0xFF, 0, 0, 0, 0];
        assert_eq!(named(&absolute), (Data, 0xFFFF_FFFF_FF5F_C0B0));
        // mov eax, [rip+0x10]; mov ecx, [rbx+r9*4-8]; mov ecx, [r9*8+0x100]
        assert_eq!(named(&[0x8B, 0x05, 0x10, 0, 0, 0]), (Data, 0x9010));
        assert_eq!(named(&[0x42, 0x8B, 0x4C, 0x8B, 0xF8]), (Data, 0x27_0000_2700 - 8));
        assert_eq!(named(&[0x42, 0x8B, 0x0C, 0xCD, 0, 1, 0, 0]), (Data, 0x48_0000_4900));
        // mov eax, gs:[rcx]; mov eax, [ecx+edx]
        assert_eq!(named(&[0x65, 0x8B, 0x01]), (Gs, 0x1_0000_0100));
        assert_eq!(named(&[0x67, 0x8B, 0x04, 0x11]), (Data, 0x300));
        // movabs al, [0x1122334455667788]
        assert_eq!(
            named(&[0xA0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]),
            (Data, 0x1122_3344_5566_7788)
        );
    }

    #[test]
    fn places_of_32_bit_code() {
        let named = |bytes: &[u8]| named(bytes, CodeSize::Bits32);
        // mov [0xfee000b0], eax, in both encodings: nothing is counted from the next instruction here.
        assert_eq!(named(&[0xA3, 0xB0, 0, 0xE0, 0xFE]), (Data, 0xFEE0_00B0));
        assert_eq!(named(&[0x89, 0x05, 0xB0, 0, 0xE0, 0xFE]), (Data, 0xFEE0_00B0));
        // mov eax, es:[ecx+edx*2-0x400]: 32 bits of the sum.
        assert_eq!(named(&[0x26, 0x8B, 0x84, 0x51, 0, 0xFC, 0xFF, 0xFF]), (Data, 0x100));
        assert_eq!(named(&[0x26, 0x8B, 0x84, 0x51, 0, 0xF8, 0xFF, 0xFF]), (Data, 0xFFFF_FD00));
    }
}
