//! The checks that every hypercall passes before its handler sees it.

use crate::info::{CallInfo, Kind};
use crate::privileges::Privileges;
use crate::registers::Registers;
use crate::table::find;
use core::ops::Range;
use hvdef::{Gpa, HvStatus, HypercallCode, HypercallInput, PAGE_SIZE};

/// Most bytes of input that fit registers. The XMM registers are not used: CPUID does not offer them.
pub const FAST_INPUT_MAX: usize = 16;

/// Input and output begin at a multiple of this.
const ALIGNMENT: u64 = 8;

/// A hypercall whose form is sound: it may be made by its caller, and its buffers lie each within one page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call {
    info: &'static CallInfo,
    control: HypercallInput,
    /// The two parameters: GPAs of input and output, or the input of a fast call.
    parameters: [u64; 2],
}

/// Checks a hypercall.
///
/// Errors, in the order of the checks:
/// * INVALID_HYPERCALL_CODE: there is no such call;
/// * ACCESS_DENIED: the caller may not make it;
/// * INVALID_HYPERCALL_INPUT: reserved or nested bit set, reps for a simple call, none for a rep call or start not below
///   count, a variable header for a call without one, a fast call that cannot be one, more input or output than a page;
/// * INVALID_ALIGNMENT: input or output not a multiple of 8, or crossing a page.
pub fn decode(registers: &Registers, caller: Privileges) -> Result<Call, HvStatus> {
    let control = HypercallInput::from_bits(registers.control);
    let info = find(control.code()).ok_or(HvStatus::INVALID_HYPERCALL_CODE)?;
    if !caller.allow(info) {
        return Err(HvStatus::ACCESS_DENIED);
    }
    let call = Call { info, control, parameters: [registers.input, registers.output] };
    call.check_control()?;
    call.check_buffers()?;
    Ok(call)
}

impl Call {
    /// What is known of the call from the table.
    pub const fn info(&self) -> &'static CallInfo {
        self.info
    }

    /// Which call.
    pub const fn code(&self) -> HypercallCode {
        self.info.code
    }

    /// The control word.
    pub const fn control(&self) -> HypercallInput {
        self.control
    }

    /// Whether the input is in registers.
    pub const fn is_fast(&self) -> bool {
        self.control.is_fast()
    }

    /// The elements still to do, empty for a simple call.
    pub const fn reps(&self) -> Range<u16> {
        self.control.rep_start()..self.control.rep_count()
    }

    /// Bytes of the variable header.
    pub const fn variable_header_bytes(&self) -> usize {
        self.control.variable_header_qwords() as usize * 8
    }

    /// Where the input list begins.
    pub const fn list_offset(&self) -> usize {
        self.info.input as usize + self.variable_header_bytes()
    }

    /// Bytes of input in all, elements that are done included.
    pub const fn input_bytes(&self) -> usize {
        self.list_offset() + self.info.rep_input as usize * self.control.rep_count() as usize
    }

    /// Bytes of output in all, elements that are done included; the limit of an output that may be shorter.
    pub const fn output_bytes(&self) -> usize {
        if self.info.output_is_limit {
            let rest = PAGE_SIZE - Gpa(self.parameters[1]).page_offset();
            return if rest < self.info.output as usize { rest } else { self.info.output as usize };
        }
        self.info.output as usize
            + self.info.rep_output as usize * self.control.rep_count() as usize
    }

    /// Bytes of the output that are to be copied to the caller when the elements up to `done` are done: those of this
    /// invocation. Of a simple call, all of them.
    pub fn output_range(&self, done: u16) -> Range<usize> {
        let all = 0..self.output_bytes();
        if self.info.kind == Kind::Simple {
            return all;
        }
        let element = usize::from(self.info.rep_output);
        let end = (element * usize::from(done)).min(all.end);
        (element * usize::from(self.control.rep_start())).min(end)..end
    }

    /// Where the input is; `None` if it is in registers or there is none.
    pub fn input_gpa(&self) -> Option<Gpa> {
        (!self.is_fast() && self.input_bytes() > 0).then_some(Gpa(self.parameters[0]))
    }

    /// Where the output goes; `None` if there is none.
    pub fn output_gpa(&self) -> Option<Gpa> {
        (!self.is_fast() && self.output_bytes() > 0).then_some(Gpa(self.parameters[1]))
    }

    /// The input of a fast call, of which [`Self::input_bytes`] count.
    pub fn fast_input(&self) -> [u8; FAST_INPUT_MAX] {
        let [low, high] = self.parameters.map(u128::from);
        (low | high << 64).to_le_bytes()
    }

    fn check_control(&self) -> Result<(), HvStatus> {
        let reps = self.reps();
        let reps_fit = match self.info.kind {
            Kind::Simple => reps.start == 0 && reps.end == 0,
            Kind::Rep => reps.start < reps.end,
        };
        let header_fits = self.info.variable_header || self.variable_header_bytes() == 0;
        let sound =
            self.control.is_reserved_zero() && !self.control.is_nested() && reps_fit && header_fits;
        if sound { Ok(()) } else { Err(HvStatus::INVALID_HYPERCALL_INPUT) }
    }

    #[inline]
    fn check_buffers(&self) -> Result<(), HvStatus> {
        let input = self.input_bytes();
        if self.is_fast() {
            let fits = self.info.fast && input <= FAST_INPUT_MAX;
            return if fits { Ok(()) } else { Err(HvStatus::INVALID_HYPERCALL_INPUT) };
        }
        let output = self.output_bytes();
        if input > PAGE_SIZE || output > PAGE_SIZE {
            return Err(HvStatus::INVALID_HYPERCALL_INPUT);
        }
        let sound = |gpa: u64, bytes| {
            let gpa = Gpa(gpa);
            bytes == 0 || gpa.is_aligned_to(ALIGNMENT) && gpa.page_offset() + bytes <= PAGE_SIZE
        };
        let [at, to] = self.parameters;
        if sound(at, input) && sound(to, output) {
            Ok(())
        } else {
            Err(HvStatus::INVALID_ALIGNMENT)
        }
    }
}

#[cfg(test)]
mod tests;
