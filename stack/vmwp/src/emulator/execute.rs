//! What each instruction does.

use super::alu::{self, CF, Computed, STATUS};
use super::operand::{Place, mask, sign_extend};
use super::{EmulationError, Emulator};
use iced_x86::{Instruction, Mnemonic, OpKind, Register};

impl Emulator<'_> {
    /// Does the instruction; `false` if it is a string instruction with more to do.
    pub(super) fn execute(&mut self, instruction: &Instruction) -> Result<bool, EmulationError> {
        match instruction.mnemonic() {
            Mnemonic::Mov | Mnemonic::Movnti => self.copy(instruction, |value, _| value)?,
            Mnemonic::Movzx => self.copy(instruction, |value, _| value)?,
            Mnemonic::Movsx | Mnemonic::Movsxd => self.copy(instruction, sign_extend)?,
            Mnemonic::Xchg => self.exchange(instruction)?,
            Mnemonic::In => self.input(instruction)?,
            Mnemonic::Out => self.output(instruction)?,
            Mnemonic::Not => {
                let place = self.place(instruction, 0)?;
                let value = self.load(place)?;
                self.store(place, !value)?;
            }
            _ if instruction.is_string_instruction() => return self.string(instruction),
            _ => self.arithmetic(instruction)?,
        }
        Ok(true)
    }

    /// Operand 1, changed by its size, to operand 0.
    fn copy(
        &mut self,
        instruction: &Instruction,
        extend: impl Fn(u64, usize) -> u64,
    ) -> Result<(), EmulationError> {
        let (to, from) = (self.place(instruction, 0)?, self.place(instruction, 1)?);
        let size = self.size(from, 8);
        let value = self.load(from)?;
        self.store(to, extend(value, size))
    }

    fn exchange(&mut self, instruction: &Instruction) -> Result<(), EmulationError> {
        let (one, other) = (self.place(instruction, 0)?, self.place(instruction, 1)?);
        let (first, second) = (self.load(one)?, self.load(other)?);
        // Memory first: it is what can fail.
        if let Place::Memory { .. } = other {
            self.store(other, first)?;
            return self.store(one, second);
        }
        self.store(one, second)?;
        self.store(other, first)
    }

    fn arithmetic(&mut self, instruction: &Instruction) -> Result<(), EmulationError> {
        let place = self.place(instruction, 0)?;
        let size = self.size(place, 8);
        let right = match instruction.op_count() {
            1 => Place::Constant(1),
            _ => self.place(instruction, 1)?,
        };
        let (a, b) = (self.load(place)?, self.load(right)?);
        let carry = self.cpu.rflags & CF != 0;
        let Some(operation) = compute(instruction.mnemonic(), a, b, carry, size) else {
            return Err(self.unsupported(instruction));
        };
        let (result, flags) = operation.computed;
        if operation.stores {
            self.store(place, result)?;
        }
        let changed = if operation.keeps_carry { STATUS & !CF } else { STATUS };
        self.cpu.rflags = self.cpu.rflags & !changed | flags & changed;
        Ok(())
    }

    fn input(&mut self, instruction: &Instruction) -> Result<(), EmulationError> {
        let register = instruction.op0_register();
        let port = self.port(instruction, 1);
        let value = self.bus.port_in(port, register.size() as u8);
        self.set_register(register, u64::from(value) & mask(register.size()));
        Ok(())
    }

    fn output(&mut self, instruction: &Instruction) -> Result<(), EmulationError> {
        let register = instruction.op1_register();
        let port = self.port(instruction, 0);
        self.bus.port_out(port, register.size() as u8, self.register(register) as u32);
        Ok(())
    }

    fn port(&self, instruction: &Instruction, operand: u32) -> u16 {
        if instruction.op_kind(operand) == OpKind::Register {
            self.register(Register::DX) as u16
        } else {
            u16::from(instruction.immediate8())
        }
    }
}

/// What an arithmetic instruction comes to.
struct Operation {
    computed: Computed,
    /// The result goes to the first operand.
    stores: bool,
    /// INC and DEC.
    keeps_carry: bool,
}

fn compute(mnemonic: Mnemonic, a: u64, b: u64, carry: bool, size: usize) -> Option<Operation> {
    let stored = |computed| Some(Operation { computed, stores: true, keeps_carry: false });
    let only_flags = |computed| Some(Operation { computed, stores: false, keeps_carry: false });
    let counted = |computed| Some(Operation { computed, stores: true, keeps_carry: true });
    match mnemonic {
        Mnemonic::Add => stored(alu::add(a, b, false, size)),
        Mnemonic::Adc => stored(alu::add(a, b, carry, size)),
        Mnemonic::Sub => stored(alu::sub(a, b, false, size)),
        Mnemonic::Sbb => stored(alu::sub(a, b, carry, size)),
        Mnemonic::And => stored(alu::logic(a & b, size)),
        Mnemonic::Or => stored(alu::logic(a | b, size)),
        Mnemonic::Xor => stored(alu::logic(a ^ b, size)),
        Mnemonic::Neg => stored(alu::sub(0, a, false, size)),
        Mnemonic::Inc => counted(alu::add(a, 1, false, size)),
        Mnemonic::Dec => counted(alu::sub(a, 1, false, size)),
        Mnemonic::Cmp => only_flags(alu::sub(a, b, false, size)),
        Mnemonic::Test => only_flags(alu::logic(a & b, size)),
        _ => None,
    }
}
