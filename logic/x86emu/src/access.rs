//! Instructions that move one value between a register, or an immediate, and memory.
//!
//! Decoding is yaxpeax-x86's; this module reduces its answer to what an emulation needs.

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
}

/// The bytes are no instruction, or none of those that [`Operation`] can express.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotUnderstood;

macro_rules! decoder {
    ($name:ident, $mode:ident, $($bank:ident => $size:expr, $high:expr;)+) => {
        mod $name {
            use super::{Access, NotUnderstood, Operation, RegPart, Source};
            use yaxpeax_arch::LengthedInstruction;
            use yaxpeax_x86::$mode::{InstDecoder, Instruction, Opcode, Operand, RegSpec, register_class};

            pub fn decode(bytes: &[u8]) -> Result<Access, NotUnderstood> {
                let instruction = InstDecoder::default().decode_slice(bytes).map_err(|_| NotUnderstood)?;
                let length = instruction.len().to_const() as u8;
                let size = instruction.mem_size().and_then(|size| size.bytes_size());
                let size = size.filter(|size| matches!(size, 1 | 2 | 4 | 8)).ok_or(NotUnderstood)?;
                Ok(Access { length, size, operation: operation(&instruction)? })
            }

            fn operation(instruction: &Instruction) -> Result<Operation, NotUnderstood> {
                let (first, second) = (instruction.operand(0), instruction.operand(1));
                let (memory_first, memory_second) = (first.is_memory(), second.is_memory());
                match instruction.opcode() {
                    Opcode::MOV if memory_first => Ok(Operation::Store(source(&second)?)),
                    Opcode::MOV | Opcode::MOVZX if memory_second => {
                        Ok(Operation::Load { to: register(&first)?, signed: false })
                    }
                    Opcode::MOVSX if memory_second => Ok(Operation::Load { to: register(&first)?, signed: true }),
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
                let class = reg.class();
                $(
                    if class == register_class::$bank {
                        let high = $high && reg.num() >= 4;
                        let number = if high { reg.num() - 4 } else { reg.num() };
                        return Ok(RegPart { number, size: $size, high });
                    }
                )+
                Err(NotUnderstood)
            }
        }
    };
}

decoder!(bits64, long_mode, Q => 8, false; D => 4, false; W => 2, false; B => 1, true; RB => 1, false;);
decoder!(bits32, protected_mode, D => 4, false; W => 2, false; B => 1, true;);

/// Decodes the instruction that `bytes` begin with.
pub fn decode(bytes: &[u8], code: CodeSize) -> Result<Access, NotUnderstood> {
    match code {
        // 16-bit code cannot reach the pages this is for, and a third decoder would be a quarter of the hypervisor.
        CodeSize::Bits16 => Err(NotUnderstood),
        CodeSize::Bits32 => bits32::decode(bytes),
        CodeSize::Bits64 => bits64::decode(bytes),
    }
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
        assert_eq!(decode(bytes, code), Ok(Access { length: bytes.len() as u8, size, operation }));
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
}
