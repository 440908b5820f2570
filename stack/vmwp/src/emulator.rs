//! Does for the guest the one instruction that reached a device.
//!
//! ```text
//!  CpuState + instruction bytes ─▶ decode (iced-x86) ─▶ load operands ─▶ compute ─▶ store ─▶ CpuState
//!                                                          │                          │
//!                                                          ╰──────── Bus: RAM, devices, ports
//! ```
//!
//! Compilers reach device memory with moves, string moves and now and then with arithmetic; these are done here, in
//! every mode and operand size. What is not understood is an error, never a guess, and leaves the registers as they
//! were.

mod alu;
mod execute;
mod fetch;
mod memory;
mod operand;
mod string;

use iced_x86::{Code, Instruction};
use thiserror::Error;
use vid::{CpuState, VidError};

/// What an instruction can reach.
pub trait Bus {
    /// Reads physical memory, RAM or device.
    fn read(&self, gpa: u64, bytes: &mut [u8]);

    /// Writes physical memory, RAM or device.
    fn write(&self, gpa: u64, bytes: &[u8]) -> Result<(), VidError>;

    /// An entry of a page table: `size` (4 or 8) bytes of RAM; `None` where there is none.
    fn read_table(&self, gpa: u64, size: usize) -> Option<u64>;

    /// IN.
    fn port_in(&self, port: u16, size: u8) -> u32;

    /// OUT.
    fn port_out(&self, port: u16, size: u8, value: u32);
}

/// Why an instruction was not done.
#[derive(Debug, Error)]
pub enum EmulationError {
    /// The bytes are no instruction.
    #[error("no instruction at {rip:#x}: {bytes:02x?}")]
    Invalid {
        /// Where.
        rip: u64,
        /// What is there.
        bytes: Vec<u8>,
    },
    /// An instruction that no driver uses on devices.
    #[error("instruction {code:?} at {rip:#x} is not emulated")]
    Unsupported {
        /// Where.
        rip: u64,
        /// Which.
        code: Code,
    },
    /// The guest's tables do not map the address: the guest wants to know.
    #[error("page fault at {linear:#x}")]
    PageFault {
        /// Linear address.
        linear: u64,
        /// Error code of the exception.
        error_code: u32,
    },
    /// A device's way to the hypervisor failed.
    #[error(transparent)]
    Device(#[from] VidError),
}

/// One instruction's worth of emulation.
pub struct Emulator<'a> {
    cpu: CpuState,
    bus: &'a dyn Bus,
}

impl<'a> Emulator<'a> {
    /// Does the instruction at `cpu`'s RIP, of which `known` are the first bytes, if any are known. The new registers.
    ///
    /// A repeated string instruction is done for a bounded number of elements; if more are left, RIP stays.
    pub fn step(cpu: CpuState, known: &[u8], bus: &'a dyn Bus) -> Result<CpuState, EmulationError> {
        let mut emulator = Self { cpu, bus };
        let instruction = emulator.fetch(known)?;
        let done = emulator.execute(&instruction)?;
        if done {
            emulator.skip(&instruction);
        }
        Ok(emulator.cpu)
    }

    fn skip(&mut self, instruction: &Instruction) {
        let mask = match self.cpu.code_bits() {
            64 => u64::MAX,
            32 => 0xFFFF_FFFF,
            _ => 0xFFFF,
        };
        self.cpu.rip = instruction.next_ip() & mask;
    }

    fn unsupported(&self, instruction: &Instruction) -> EmulationError {
        EmulationError::Unsupported { rip: self.cpu.rip, code: instruction.code() }
    }
}

#[cfg(test)]
mod tests;
