//! String instructions, repeated or not: MOVS, STOS, LODS, INS, OUTS.
//!
//! After every element the registers are as the processor would leave them, so that a page fault in the middle is
//! exact: the guest handles it and the instruction goes on.

use super::alu::DF;
use super::operand::{Place, mask};
use super::{EmulationError, Emulator};
use iced_x86::{Instruction, Mnemonic, OpKind, Register};
use vid::Gpr;

/// Elements of one go. More are left to the next exit, so that signals and other VPs get their turn.
const BATCH: usize = 1024;

/// What a string instruction works with.
struct Shape {
    /// Bytes of an element.
    element: usize,
    /// Bytes of an address, hence of the counter.
    address: usize,
    /// It goes through memory by RSI.
    source: bool,
    /// It goes through memory by RDI.
    destination: bool,
}

impl Emulator<'_> {
    /// Does up to [`BATCH`] elements; whether all are done.
    pub(super) fn string(&mut self, instruction: &Instruction) -> Result<bool, EmulationError> {
        let Some(shape) = shape(instruction) else { return Err(self.unsupported(instruction)) };
        if !instruction.has_rep_prefix() && !instruction.has_repne_prefix() {
            self.element(instruction, &shape)?;
            return Ok(true);
        }
        let mut count = self.cpu.get(Gpr::Rcx) & mask(shape.address);
        for done in 0..BATCH {
            if count == 0 {
                return Ok(true);
            }
            match self.element(instruction, &shape) {
                // What is done is done; the fault comes back at once when the instruction goes on.
                Err(EmulationError::PageFault { .. }) if done > 0 => return Ok(false),
                result => result?,
            }
            count -= 1;
            self.advance(Gpr::Rcx, u64::MAX, shape.address);
        }
        Ok(count == 0)
    }

    fn element(&mut self, instruction: &Instruction, shape: &Shape) -> Result<(), EmulationError> {
        match instruction.mnemonic() {
            Mnemonic::Insb | Mnemonic::Insw | Mnemonic::Insd => {
                let to = self.place(instruction, 0)?;
                // A page that is missing must be known before the device gives the datum away.
                if let Place::Memory { linear, size } = to {
                    self.translate(linear, true)?;
                    self.translate(linear.wrapping_add(size as u64 - 1), true)?;
                }
                let value =
                    self.bus.port_in(self.register(Register::DX) as u16, shape.element as u8);
                self.store(to, value.into())?;
            }
            Mnemonic::Outsb | Mnemonic::Outsw | Mnemonic::Outsd => {
                let value = self.load(self.place(instruction, 1)?)?;
                let port = self.register(Register::DX) as u16;
                self.bus.port_out(port, shape.element as u8, value as u32);
            }
            _ => {
                let (to, from) = (self.place(instruction, 0)?, self.place(instruction, 1)?);
                let value = self.load(from)?;
                self.store(to, value)?;
            }
        }
        self.walk(shape);
        Ok(())
    }

    /// Moves the pointers one element on, or back.
    fn walk(&mut self, shape: &Shape) {
        let step = shape.element as u64;
        let step = if self.cpu.rflags & DF != 0 { step.wrapping_neg() } else { step };
        if shape.source {
            self.advance(Gpr::Rsi, step, shape.address);
        }
        if shape.destination {
            self.advance(Gpr::Rdi, step, shape.address);
        }
    }

    /// Adds to a pointer or counter of `size` bytes.
    fn advance(&mut self, register: Gpr, step: u64, size: usize) {
        let old = self.cpu.get(register);
        let new = old.wrapping_add(step) & mask(size);
        let kept = if size == 2 { old & !0xFFFF } else { 0 };
        self.cpu.set(register, kept | new);
    }
}

fn shape(instruction: &Instruction) -> Option<Shape> {
    let supported = matches!(
        instruction.mnemonic(),
        Mnemonic::Movsb
            | Mnemonic::Movsw
            | Mnemonic::Movsd
            | Mnemonic::Movsq
            | Mnemonic::Stosb
            | Mnemonic::Stosw
            | Mnemonic::Stosd
            | Mnemonic::Stosq
            | Mnemonic::Lodsb
            | Mnemonic::Lodsw
            | Mnemonic::Lodsd
            | Mnemonic::Lodsq
            | Mnemonic::Insb
            | Mnemonic::Insw
            | Mnemonic::Insd
            | Mnemonic::Outsb
            | Mnemonic::Outsw
            | Mnemonic::Outsd
    );
    if !supported {
        return None;
    }
    let kinds = [instruction.op0_kind(), instruction.op1_kind()];
    let pointers = kinds.map(pointer);
    let address = pointers.iter().flatten().map(|(size, _)| *size).max()?;
    Some(Shape {
        element: instruction.memory_size().size(),
        address,
        source: pointers.contains(&Some((address, Gpr::Rsi))),
        destination: pointers.contains(&Some((address, Gpr::Rdi))),
    })
}

/// Size and register of a string instruction's pointer.
fn pointer(kind: OpKind) -> Option<(usize, Gpr)> {
    match kind {
        OpKind::MemorySegSI => Some((2, Gpr::Rsi)),
        OpKind::MemorySegESI => Some((4, Gpr::Rsi)),
        OpKind::MemorySegRSI => Some((8, Gpr::Rsi)),
        OpKind::MemoryESDI => Some((2, Gpr::Rdi)),
        OpKind::MemoryESEDI => Some((4, Gpr::Rdi)),
        OpKind::MemoryESRDI => Some((8, Gpr::Rdi)),
        _ => None,
    }
}
