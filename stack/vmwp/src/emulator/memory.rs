//! Linear addresses: through the guest's page tables to the bus.

use super::{EmulationError, Emulator};
use x86emu::walk::{Paging, translate};

const PAGE: u64 = 4096;

/// Page fault error code: the access was a write.
const FAULT_WRITE: u32 = 1 << 1;
/// Page fault error code: the access came from CPL 3.
const FAULT_USER: u32 = 1 << 2;

/// SS, among the segments.
const SS: usize = 2;

impl Emulator<'_> {
    /// Outside of 64-bit code linear addresses have 32 bits.
    pub(super) fn linear(&self, address: u64) -> u64 {
        if self.cpu.code_bits() == 64 { address } else { address & 0xFFFF_FFFF }
    }

    /// Guest-physical address of a linear one.
    pub(super) fn translate(&self, linear: u64, is_write: bool) -> Result<u64, EmulationError> {
        let cpu = &self.cpu;
        let paging = Paging { cr0: cpu.cr0, cr3: cpu.cr3, cr4: cpu.cr4, efer: cpu.efer };
        translate(paging, linear, |gpa, size| self.bus.read_table(gpa, size)).map_err(|_| {
            let user = cpu.segments[SS].attributes.dpl() == 3;
            let write = if is_write { FAULT_WRITE } else { 0 };
            let error_code = write | if user { FAULT_USER } else { 0 };
            EmulationError::PageFault { linear, error_code }
        })
    }

    /// Reads up to 8 bytes as a number.
    pub(super) fn read(&self, linear: u64, size: usize) -> Result<u64, EmulationError> {
        let mut bytes = [0; 8];
        let (first, second) = bytes[..size].split_at_mut(in_page(linear, size));
        let gpa = self.translate(linear, false)?;
        if !second.is_empty() {
            let next = self.linear(linear.wrapping_add(first.len() as u64));
            let gpa = self.translate(next, false)?;
            self.bus.read(gpa, second);
        }
        self.bus.read(gpa, first);
        Ok(u64::from_le_bytes(bytes))
    }

    /// Writes the lowest `size` bytes of `value`: all of them, or none where a page is missing.
    pub(super) fn write(&self, linear: u64, size: usize, value: u64) -> Result<(), EmulationError> {
        let bytes = value.to_le_bytes();
        let (first, second) = bytes[..size].split_at(in_page(linear, size));
        let gpa = self.translate(linear, true)?;
        if !second.is_empty() {
            let next = self.linear(linear.wrapping_add(first.len() as u64));
            let gpa = self.translate(next, true)?;
            self.bus.write(gpa, second)?;
        }
        Ok(self.bus.write(gpa, first)?)
    }
}

/// How many of `size` bytes lie in the page of `linear`.
fn in_page(linear: u64, size: usize) -> usize {
    size.min((PAGE - linear % PAGE) as usize)
}
