//! The registers that decoding and emulating an instruction needs.

use crate::{RegisterName, RegisterValue, SegmentRegister};

/// The general-purpose registers, numbered as instructions encode them, which is also the TLFS's order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gpr {
    /// RAX.
    Rax,
    /// RCX.
    Rcx,
    /// RDX.
    Rdx,
    /// RBX.
    Rbx,
    /// RSP.
    Rsp,
    /// RBP.
    Rbp,
    /// RSI.
    Rsi,
    /// RDI.
    Rdi,
}

/// A stopped VP's registers: all that addressing, paging and moving values depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuState {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8–R15.
    pub gpr: [u64; 16],
    /// Instruction pointer.
    pub rip: u64,
    /// Flags.
    pub rflags: u64,
    /// ES, CS, SS, DS, FS, GS.
    pub segments: [SegmentRegister; 6],
    /// CR0.
    pub cr0: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// EFER.
    pub efer: u64,
}

/// Number of [`CpuState::segments`] that is CS.
pub const CS: usize = 1;

impl CpuState {
    /// The registers that make up a state, in the order of [`Self::from_values`]: 16 general ones, RIP, RFLAGS, six
    /// segments, four control registers.
    pub const NAMES: [RegisterName; 28] = names();

    /// From the values of [`Self::NAMES`].
    pub fn from_values(values: &[RegisterValue]) -> Self {
        Self {
            gpr: std::array::from_fn(|number| values[number].low),
            rip: values[16].low,
            rflags: values[17].low,
            segments: std::array::from_fn(|number| values[18 + number].as_segment()),
            cr0: values[24].low,
            cr3: values[25].low,
            cr4: values[26].low,
            efer: values[27].low,
        }
    }

    /// The general-purpose registers, RIP and RFLAGS by name.
    pub fn general(&self) -> Vec<(RegisterName, RegisterValue)> {
        let values = self.gpr.iter().chain([&self.rip, &self.rflags]);
        Self::NAMES.iter().copied().zip(values.map(|value| (*value).into())).collect()
    }

    /// A register by name.
    pub fn get(&self, register: Gpr) -> u64 {
        self.gpr[register as usize]
    }

    /// Sets a register by name.
    pub fn set(&mut self, register: Gpr, value: u64) {
        self.gpr[register as usize] = value;
    }

    /// Width of the code segment: 16, 32 or 64.
    pub fn code_bits(&self) -> u32 {
        const EFER_LMA: u64 = 1 << 10;
        let code = self.segments[CS].attributes;
        match (self.efer & EFER_LMA != 0 && code.long(), code.default()) {
            (true, _) => 64,
            (false, true) => 32,
            (false, false) => 16,
        }
    }
}

const fn names() -> [RegisterName; 28] {
    let mut names = [RegisterName::RAX; 28];
    let mut number = 0;
    while number < 16 {
        names[number] = RegisterName(RegisterName::RAX.0 + number as u32);
        number += 1;
    }
    names[16] = RegisterName::RIP;
    names[17] = RegisterName::RFLAGS;
    while number < 22 {
        names[number + 2] = RegisterName(RegisterName::ES.0 + number as u32 - 16);
        number += 1;
    }
    names[24] = RegisterName::CR0;
    names[25] = RegisterName::CR3;
    names[26] = RegisterName::CR4;
    names[27] = RegisterName::EFER;
    names
}

impl Default for CpuState {
    /// All zero: real mode at address 0.
    fn default() -> Self {
        let segment =
            SegmentRegister { base: 0, limit: 0xFFFF, selector: 0, attributes: 0x93.into() };
        Self {
            gpr: [0; 16],
            rip: 0,
            rflags: 2,
            segments: [segment; 6],
            cr0: 0,
            cr3: 0,
            cr4: 0,
            efer: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_segment_decides_the_width() {
        let mut cpu = CpuState::default();
        assert_eq!(cpu.code_bits(), 16);
        cpu.segments[CS].attributes = 0xC09B.into();
        assert_eq!(cpu.code_bits(), 32);
        cpu.segments[CS].attributes = 0xA09B.into();
        assert_eq!(cpu.code_bits(), 16, "without long mode the long bit is nothing");
        cpu.efer = 0x500;
        assert_eq!(cpu.code_bits(), 64);
    }

    #[test]
    fn the_list_of_registers_is_in_the_order_it_is_read_back() {
        assert_eq!(CpuState::NAMES[15], RegisterName::R15);
        let segments = [
            RegisterName::ES,
            RegisterName::CS,
            RegisterName::SS,
            RegisterName::DS,
            RegisterName::FS,
            RegisterName::GS,
        ];
        assert_eq!(&CpuState::NAMES[18..24], &segments);
        let values: Vec<RegisterValue> = (0..28u64).map(RegisterValue::from).collect();
        let state = CpuState::from_values(&values);
        assert_eq!((state.gpr[3], state.rip, state.rflags), (3, 16, 17));
        assert_eq!((state.segments[1].base, state.cr0, state.efer), (19, 24, 27));
        let general = state.general();
        assert_eq!(general.len(), 18);
        assert_eq!(general[17], (RegisterName::RFLAGS, 17.into()));
    }

    #[test]
    fn registers_are_numbered_as_encoded() {
        let mut cpu = CpuState::default();
        cpu.set(Gpr::Rdi, 7);
        assert_eq!((cpu.gpr[7], cpu.get(Gpr::Rdi), cpu.get(Gpr::Rax)), (7, 7, 0));
    }
}
