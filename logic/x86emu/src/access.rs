//! Instructions that move one value between a register, or an immediate, and memory.
//!
//! Decoding is yaxpeax-x86's; this module reduces its answer to what an emulation needs.

use crate::place::Place;

/// Width of the code that is being executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CodeSize {
    /// Real mode, virtual 8086 mode and 16-bit segments: never understood.
    Bits16,
    /// 32-bit segments.
    Bits32,
    /// 64-bit code.
    Bits64,
}

/// A general-purpose register, or part of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RegPart {
    /// Encoding number: 0 RAX, 1 RCX, …, 15 R15.
    pub number: u8,
    /// Bytes: 1, 2, 4 or 8.
    pub size: u8,
    /// AH, CH, DH or BH: bits 15:8.
    pub high: bool,
}

/// Where a stored value comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// A register.
    Reg(RegPart),
    /// The instruction itself.
    Immediate(u64),
}

/// What the instruction does with memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Memory to register; wider registers are zero- or sign-extended.
    Load {
        /// Target.
        to: RegPart,
        /// Sign-extend.
        signed: bool,
    },
    /// Register or immediate to memory.
    Store(Source),
    /// Memory and register change places.
    Exchange(RegPart),
}

/// One memory access of one instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// Length of the instruction in bytes, 1 to 15.
    pub length: u8,
    /// Bytes of memory: 1, 2, 4 or 8.
    pub size: u8,
    /// What it does.
    pub operation: Operation,
    /// Where.
    pub place: Place,
}

/// The bytes are no instruction, or none of those that [`Operation`] can express.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotUnderstood;

mod bits64 {
    use super::{Access, NotUnderstood, Operation, RegPart, Source};
    use crate::place::Place;
    use yaxpeax_arch::LengthedInstruction;
    use yaxpeax_x86::long_mode::{
        InstDecoder, Instruction, Opcode, Operand, RegSpec, register_class,
    };

    pub fn decode(bytes: &[u8]) -> Result<Access, NotUnderstood> {
        let instruction = InstDecoder::default().decode_slice(bytes).map_err(|_| NotUnderstood)?;
        let length = instruction.len().to_const() as u8;
        let size = instruction.mem_size().and_then(|size| size.bytes_size());
        let size = size.filter(|size| matches!(size, 1 | 2 | 4 | 8)).ok_or(NotUnderstood)?;
        let operation = operation(&instruction)?;
        let memory = if instruction.operand(0).is_memory() { 0 } else { 1 };
        let place = Place::of(&instruction, memory).ok_or(NotUnderstood)?;
        Ok(Access { length, size, operation, place })
    }

    fn operation(instruction: &Instruction) -> Result<Operation, NotUnderstood> {
        let (first, second) = (instruction.operand(0), instruction.operand(1));
        let (memory_first, memory_second) = (first.is_memory(), second.is_memory());
        match instruction.opcode() {
            Opcode::MOV if memory_first => Ok(Operation::Store(source(&second)?)),
            Opcode::MOV | Opcode::MOVZX if memory_second => {
                Ok(Operation::Load { to: register(&first)?, signed: false })
            }
            Opcode::MOVSX if memory_second => {
                Ok(Operation::Load { to: register(&first)?, signed: true })
            }
            Opcode::XCHG if memory_first => Ok(Operation::Exchange(register(&second)?)),
            Opcode::XCHG if memory_second => Ok(Operation::Exchange(register(&first)?)),
            _ => Err(NotUnderstood),
        }
    }

    fn source(operand: &Operand) -> Result<Source, NotUnderstood> {
        Ok(Source::Immediate(match *operand {
            Operand::ImmediateI8 { imm } => imm as u64,
            Operand::ImmediateU8 { imm } => imm.into(),
            Operand::ImmediateI16 { imm } => imm as u64,
            Operand::ImmediateU16 { imm } => imm.into(),
            Operand::ImmediateI32 { imm } => imm as u64,
            Operand::ImmediateU32 { imm } => imm.into(),
            _ => return Ok(Source::Reg(register(operand)?)),
        }))
    }

    fn register(operand: &Operand) -> Result<RegPart, NotUnderstood> {
        match *operand {
            Operand::Register { reg } => part(reg),
            _ => Err(NotUnderstood),
        }
    }

    fn part(reg: RegSpec) -> Result<RegPart, NotUnderstood> {
        use register_class::{B, D, Q, RB, W};
        let (class, number) = (reg.class(), reg.num());
        let size = match class {
            Q => 8,
            D => 4,
            W => 2,
            B | RB => 1,
            _ => return Err(NotUnderstood),
        };
        // Without a REX prefix, numbers 4 to 7 of the byte registers are AH to BH.
        let high = class == B && number >= 4;
        Ok(RegPart { number: if high { number - 4 } else { number }, size, high })
    }
}

/// Decodes the instruction that `bytes` begin with.
pub fn decode(bytes: &[u8], code: CodeSize) -> Result<Access, NotUnderstood> {
    match code {
        // 16-bit code cannot reach the pages this is for, and a third decoder would be a quarter of the hypervisor.
        CodeSize::Bits16 => Err(NotUnderstood),
        CodeSize::Bits32 => decode_32(bytes),
        CodeSize::Bits64 => bits64::decode(bytes),
    }
}

/// Longest instruction.
const LENGTH_MAX: usize = 15;
/// Prefix: addresses of 32 bits in 64-bit code, of 16 bits in 32-bit code.
const ADDRESS_SIZE: u8 = 0x67;

/// 32-bit code by the decoder for 64-bit code.
///
/// With the address-size prefix the two agree on every instruction that moves a value, but for those whose first byte
/// after the prefixes is a REX prefix, one of the sets of extensions, or MOVSXD in 64-bit code: these are none here.
fn decode_32(bytes: &[u8]) -> Result<Access, NotUnderstood> {
    let is_prefix =
        |byte: &&u8| matches!(byte, 0x26 | 0x2E | 0x36 | 0x3E | 0x64..=0x67 | 0xF0 | 0xF2 | 0xF3);
    let prefixes = bytes.iter().take_while(is_prefix).count();
    let opcode = bytes.get(prefixes).ok_or(NotUnderstood)?;
    let differs = matches!(opcode, 0x40..=0x4F | 0x62 | 0x63 | 0xC4 | 0xC5 | 0xD5 | 0x8F);
    if differs || bytes.iter().take(prefixes).any(|&byte| byte == ADDRESS_SIZE) {
        return Err(NotUnderstood);
    }
    let mut prefixed = [ADDRESS_SIZE; LENGTH_MAX + 1];
    let len = bytes.len().min(LENGTH_MAX);
    for (to, from) in prefixed.iter_mut().skip(1).zip(bytes) {
        *to = *from;
    }
    let access = bits64::decode(prefixed.get(..=len).unwrap_or_default())?;
    // Where 64-bit code names an address by its distance from the next instruction, this names it as it is.
    let place = Place { from_next: false, is_32_bit: true, ..access.place };
    Ok(Access { length: access.length - 1, place, ..access })
}

impl RegPart {
    /// Reads the part out of the 16 registers in encoding order.
    pub fn get(self, regs: &[u64; 16]) -> u64 {
        let whole = regs.get(usize::from(self.number)).copied().unwrap_or(0);
        if self.high { whole >> 8 & 0xFF } else { whole & mask(self.size) }
    }

    /// Writes the part as a MOV does: a 32-bit write clears the upper half, narrower ones keep the rest.
    pub fn set(self, regs: &mut [u64; 16], value: u64) {
        let Some(whole) = regs.get_mut(usize::from(self.number)) else { return };
        *whole = match (self.high, self.size) {
            (true, _) => *whole & !0xFF00 | (value & 0xFF) << 8,
            (false, 4) => value & mask(4),
            (false, size) => *whole & !mask(size) | value & mask(size),
        };
    }
}

impl Access {
    /// The value a store writes, cut to [`Self::size`]; `None` for a load.
    pub fn stored(&self, regs: &[u64; 16]) -> Option<u64> {
        let value = match self.operation {
            Operation::Load { .. } => return None,
            Operation::Store(Source::Immediate(value)) => value,
            Operation::Store(Source::Reg(reg)) | Operation::Exchange(reg) => reg.get(regs),
        };
        Some(value & mask(self.size))
    }

    /// Finishes a load, or the load half of an exchange, with the value that was read.
    pub fn loaded(&self, regs: &mut [u64; 16], value: u64) {
        let value = value & mask(self.size);
        match self.operation {
            Operation::Load { to, signed: false } | Operation::Exchange(to) => to.set(regs, value),
            Operation::Load { to, signed: true } => {
                let shift = 64 - 8 * u32::from(self.size);
                to.set(regs, ((value << shift) as i64 >> shift) as u64);
            }
            Operation::Store(_) => {}
        }
    }
}

/// All ones in the low `size` bytes.
const fn mask(size: u8) -> u64 {
    if size >= 8 { u64::MAX } else { (1 << (8 * size as u32)) - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reg(number: u8, size: u8) -> RegPart {
        RegPart { number, size, high: false }
    }

    #[track_caller]
    fn check(bytes: &[u8], code: CodeSize, size: u8, operation: Operation) {
        let found = decode(bytes, code);
        let found = found.map(|access| (access.length, access.size, access.operation));
        assert_eq!(found, Ok((bytes.len() as u8, size, operation)));
    }

    #[test]
    fn moves_of_64_bit_code() {
        let store = |r| Operation::Store(Source::Reg(r));
        // mov [rdi-0xa03000], esi — what Linux writes APIC registers with
        check(&[0x89, 0xB7, 0x00, 0xD0, 0x5F, 0xFF], CodeSize::Bits64, 4, store(reg(6, 4)));
        // mov eax, [rdi-0xa03000]
        let load = Operation::Load { to: reg(0, 4), signed: false };
        check(&[0x8B, 0x87, 0x00, 0xD0, 0x5F, 0xFF], CodeSize::Bits64, 4, load);
        // mov dword ptr [0xffffffffff5fc0b0], 0
        let zero = Operation::Store(Source::Immediate(0));
        check(&[0xC7, 0x04, 0x25, 0xB0, 0xC0, 0x5F, 0xFF, 0, 0, 0, 0], CodeSize::Bits64, 4, zero);
        // mov [r9], r10
        check(&[0x4D, 0x89, 0x11], CodeSize::Bits64, 8, store(reg(10, 8)));
        // mov [rax], ah / mov [rax], sil
        check(
            &[0x88, 0x20],
            CodeSize::Bits64,
            1,
            store(RegPart { number: 0, size: 1, high: true }),
        );
        check(&[0x40, 0x88, 0x30], CodeSize::Bits64, 1, store(reg(6, 1)));
        // xchg [rdi], eax
        check(&[0x87, 0x07], CodeSize::Bits64, 4, Operation::Exchange(reg(0, 4)));
        // movsx ecx, word ptr [rdx]
        check(
            &[0x0F, 0xBF, 0x0A],
            CodeSize::Bits64,
            2,
            Operation::Load { to: reg(1, 4), signed: true },
        );
    }

    #[test]
    fn moves_of_narrower_code() {
        check(
            &[0xA3, 0xB0, 0, 0xE0, 0xFE],
            CodeSize::Bits32,
            4,
            Operation::Store(Source::Reg(reg(0, 4))),
        );
        check(&[0x66, 0x89, 0x07], CodeSize::Bits32, 2, Operation::Store(Source::Reg(reg(0, 2))));
        assert_eq!(decode(&[0x89, 0x07], CodeSize::Bits16), Err(NotUnderstood));
    }

    #[test]
    fn what_is_more_than_a_move_is_refused() {
        // add [rax], ecx; rep stosb; movaps [rax], xmm0; incomplete bytes
        for bytes in [&[0x01, 0x08][..], &[0xF3, 0xAA], &[0x0F, 0x29, 0x00], &[0xC7, 0x04]] {
            assert_eq!(decode(bytes, CodeSize::Bits64), Err(NotUnderstood), "{bytes:x?}");
        }
    }

    #[test]
    fn registers_are_written_as_the_processor_does() {
        let mut regs = [u64::MAX; 16];
        reg(1, 4).set(&mut regs, 0x1_2345_6789);
        assert_eq!(regs[1], 0x2345_6789);
        reg(2, 2).set(&mut regs, 0);
        assert_eq!(regs[2], 0xFFFF_FFFF_FFFF_0000);
        RegPart { number: 3, size: 1, high: true }.set(&mut regs, 0);
        assert_eq!(regs[3], 0xFFFF_FFFF_FFFF_00FF);
    }

    #[test]
    fn sign_extension_reaches_the_register_size_only() {
        let access = Access {
            place: Place::default(),
            length: 3,
            size: 1,
            operation: Operation::Load { to: reg(0, 4), signed: true },
        };
        let mut regs = [0; 16];
        access.loaded(&mut regs, 0x80);
        assert_eq!(regs[0], 0xFFFF_FF80);
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..16)) {
            for code in [CodeSize::Bits16, CodeSize::Bits32, CodeSize::Bits64] {
                if let Ok(access) = decode(&bytes, code) {
                    prop_assert!(usize::from(access.length) <= bytes.len() && access.length > 0);
                    let mut regs = [7; 16];
                    let _ = access.stored(&regs);
                    access.loaded(&mut regs, 1);
                }
            }
        }
    }

    proptest! {
        /// The decoder for 32-bit code itself is too large for the hypervisor, but not for a test.
        #[test]
        fn code_of_32_bits_is_read_as_its_own_decoder_reads_it(
            prefixes in proptest::collection::vec(proptest::sample::select(&[0x66u8, 0x2E, 0x65, 0xF3, 0x67][..]), 0..3),
            opcode in proptest::sample::select(&[
                0x88u8, 0x89, 0x8A, 0x8B, 0xA0, 0xA1, 0xA2, 0xA3, 0xC6, 0xC7, 0x86, 0x87, 0x0F, 0x40, 0x4F, 0x62, 0x63, 0xC4, 0xC5,
            ][..]),
            rest in proptest::collection::vec(any::<u8>(), 10),
        ) {
            use yaxpeax_arch::LengthedInstruction;
            let mut bytes = prefixes;
            bytes.push(opcode);
            bytes.extend(rest);
            bytes.truncate(15);
            if let Ok(access) = decode(&bytes, CodeSize::Bits32) {
                let own = yaxpeax_x86::protected_mode::InstDecoder::default().decode_slice(&bytes);
                let own = own.expect("understood, so it is an instruction");
                prop_assert_eq!(u32::from(access.length), own.len().to_const());
                prop_assert_eq!(own.mem_size().and_then(|size| size.bytes_size()), Some(access.size));
            }
        }
    }
}
