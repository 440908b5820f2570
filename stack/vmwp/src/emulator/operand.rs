//! Operands: registers, constants, memory.

use super::{EmulationError, Emulator};
use iced_x86::{Instruction, OpKind, Register};

/// Where an operand is. Addresses are computed once: the instruction may change what they depend on.
#[derive(Clone, Copy)]
pub enum Place {
    /// A general-purpose register or a part of one.
    Register(Register),
    /// A constant.
    Constant(u64),
    /// Memory.
    Memory {
        /// Linear address.
        linear: u64,
        /// Bytes.
        size: usize,
    },
}

/// The bits of a value of `size` bytes.
pub const fn mask(size: usize) -> u64 {
    if size >= 8 { u64::MAX } else { (1 << (8 * size)) - 1 }
}

/// `value` of `size` bytes with its sign carried to 64 bits.
pub const fn sign_extend(value: u64, size: usize) -> u64 {
    if size >= 8 {
        return value;
    }
    let unused = 64 - 8 * size as u32;
    ((value << unused) as i64 >> unused) as u64
}

impl Emulator<'_> {
    /// Where operand `number` is.
    pub(super) fn place(
        &self,
        instruction: &Instruction,
        number: u32,
    ) -> Result<Place, EmulationError> {
        match instruction.op_kind(number) {
            OpKind::Register => {
                let register = instruction.op_register(number);
                let known = register.is_gpr();
                known
                    .then_some(Place::Register(register))
                    .ok_or_else(|| self.unsupported(instruction))
            }
            OpKind::NearBranch16
            | OpKind::NearBranch32
            | OpKind::NearBranch64
            | OpKind::FarBranch16
            | OpKind::FarBranch32 => Err(self.unsupported(instruction)),
            _ => match instruction.try_immediate(number) {
                Ok(value) => Ok(Place::Constant(value)),
                Err(_) => self.memory_place(instruction, number),
            },
        }
    }

    fn memory_place(
        &self,
        instruction: &Instruction,
        number: u32,
    ) -> Result<Place, EmulationError> {
        let size = instruction.memory_size().size();
        let address =
            instruction.virtual_address(number, 0, |register, _, _| self.address_part(register));
        match address {
            Some(address) if (1..=8).contains(&size) => {
                Ok(Place::Memory { linear: self.linear(address), size })
            }
            _ => Err(self.unsupported(instruction)),
        }
    }

    /// What a register contributes to an address: its value, a segment its base.
    fn address_part(&self, register: Register) -> Option<u64> {
        let long = self.cpu.code_bits() == 64;
        match register {
            Register::ES | Register::CS | Register::SS | Register::DS if long => Some(0),
            Register::ES
            | Register::CS
            | Register::SS
            | Register::DS
            | Register::FS
            | Register::GS => Some(self.cpu.segments[register.number()].base),
            other if other.is_gpr() => Some(self.register(other)),
            _ => None,
        }
    }

    /// Bytes of an operand.
    pub(super) fn size(&self, place: Place, default: usize) -> usize {
        match place {
            Place::Register(register) => register.size(),
            Place::Constant(_) => default,
            Place::Memory { size, .. } => size,
        }
    }

    /// An operand's value.
    pub(super) fn load(&self, place: Place) -> Result<u64, EmulationError> {
        match place {
            Place::Register(register) => Ok(self.register(register)),
            Place::Constant(value) => Ok(value),
            Place::Memory { linear, size } => self.read(linear, size),
        }
    }

    /// Changes an operand; a constant cannot be.
    pub(super) fn store(&mut self, place: Place, value: u64) -> Result<(), EmulationError> {
        match place {
            Place::Register(register) => self.set_register(register, value),
            Place::Constant(_) => {}
            Place::Memory { linear, size } => self.write(linear, size, value)?,
        }
        Ok(())
    }

    /// A register, or the part of one that has a name.
    pub(super) fn register(&self, register: Register) -> u64 {
        let whole = self.cpu.gpr[register.full_register().number()];
        let shift = if is_second_byte(register) { 8 } else { 0 };
        whole >> shift & mask(register.size())
    }

    /// Changes a register. 32-bit results clear the upper half, smaller ones change nothing else.
    pub(super) fn set_register(&mut self, register: Register, value: u64) {
        let whole = &mut self.cpu.gpr[register.full_register().number()];
        let shift = if is_second_byte(register) { 8 } else { 0 };
        *whole = match register.size() {
            8 => value,
            4 => value & 0xFFFF_FFFF,
            size => {
                let bits = mask(size) << shift;
                *whole & !bits | value << shift & bits
            }
        };
    }
}

fn is_second_byte(register: Register) -> bool {
    matches!(register, Register::AH | Register::CH | Register::DH | Register::BH)
}
