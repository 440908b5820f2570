//! Finding the instruction.

use super::{EmulationError, Emulator};
use iced_x86::{Decoder, DecoderError, DecoderOptions, Instruction};
use vid::cpu::CS;

/// No instruction is longer.
const LONGEST: usize = 15;

impl Emulator<'_> {
    /// Decodes from `known`, and from the guest's memory if that is not enough.
    pub(super) fn fetch(&self, known: &[u8]) -> Result<Instruction, EmulationError> {
        match self.decode(known) {
            Ok(instruction) => Ok(instruction),
            Err(DecoderError::NoMoreBytes) => {
                let bytes = self.code_bytes()?;
                self.decode(&bytes).map_err(|_| self.invalid(&bytes))
            }
            Err(_) => Err(self.invalid(known)),
        }
    }

    fn decode(&self, bytes: &[u8]) -> Result<Instruction, DecoderError> {
        let (bits, rip) = (self.cpu.code_bits(), self.cpu.rip);
        let mut decoder = Decoder::with_ip(bits, bytes, rip, DecoderOptions::NONE);
        let instruction = decoder.decode();
        match decoder.last_error() {
            DecoderError::None => Ok(instruction),
            error => Err(error),
        }
    }

    /// The bytes at CS:RIP, up to the first that is not mapped.
    fn code_bytes(&self) -> Result<Vec<u8>, EmulationError> {
        let base = if self.cpu.code_bits() == 64 { 0 } else { self.cpu.segments[CS].base };
        let start = self.linear(base.wrapping_add(self.cpu.rip));
        let mut bytes = Vec::with_capacity(LONGEST);
        for offset in 0..LONGEST as u64 {
            let mut byte = [0];
            match self.translate(start.wrapping_add(offset), false) {
                Ok(gpa) => self.bus.read(gpa, &mut byte),
                Err(error) if bytes.is_empty() => return Err(error),
                Err(_) => break,
            }
            bytes.push(byte[0]);
        }
        Ok(bytes)
    }

    fn invalid(&self, bytes: &[u8]) -> EmulationError {
        EmulationError::Invalid { rip: self.cpu.rip, bytes: bytes.to_vec() }
    }
}
