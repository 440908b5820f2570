//! One hypercall: its inputs and outputs.
//!
//! Inputs stay in the caller's memory, which the caller can change at any time; every access here copies once, and a
//! handler decides on the copy.

use crate::lp::Lp;
use crate::vp::{State, Vp};
use arch_x86::vcpu::Reg;
use hvdef::hypercall::{VpSetFormat, VpSetHeader};
use hvdef::{HvStatus, HypercallCode, HypercallInput};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A well-formed hypercall.
pub struct Call {
    /// Which.
    pub code: HypercallCode,
    /// The LP it was made on.
    pub lp: &'static Lp,
    /// The VP that made it.
    pub vp: &'static Vp,
    /// The first repetition to do, for a rep call.
    pub rep_start: u16,
    /// Repetitions in total.
    pub rep_count: u16,
    /// Bytes of variable header.
    variable: usize,
    fast: Option<[u64; 2]>,
    input: u64,
    output: u64,
}

impl Call {
    /// Decodes the control word and the registers.
    pub fn decode(lp: &'static Lp, vp: &'static Vp, state: &State, control: u64) -> Result<Self, HvStatus> {
        let word = HypercallInput::from_bits(control);
        if !word.is_reserved_zero() || word.is_nested() {
            return Err(HvStatus::INVALID_HYPERCALL_INPUT);
        }
        let (first, second) = (state.vcpu.reg(Reg::Rdx), state.vcpu.reg(Reg::R8));
        Ok(Self {
            code: word.code(),
            lp,
            vp,
            rep_start: word.rep_start(),
            rep_count: word.rep_count(),
            variable: usize::from(word.variable_header_qwords()) * 8,
            fast: word.is_fast().then_some([first, second]),
            input: first,
            output: second,
        })
    }

    /// The fixed header.
    pub fn input<T: FromBytes + IntoBytes>(&self) -> Result<T, HvStatus> {
        self.read_at(0)
    }

    /// Element `index` of the list of a rep call, behind a fixed header of `header` bytes and the variable header.
    pub fn rep<T: FromBytes + IntoBytes>(&self, header: usize, index: u16) -> Result<T, HvStatus> {
        self.read_at(header + self.variable + usize::from(index) * size_of::<T>())
    }

    /// The VPs that a set names, whose header ends the fixed header of `header` bytes.
    pub fn vp_set(&self, set: VpSetHeader, header: usize) -> Result<impl Iterator<Item = u32> + use<>, HvStatus> {
        let all = set.format == VpSetFormat::ALL;
        if !all && set.format != VpSetFormat::SPARSE_4K {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        let mask = if all { 0 } else { set.valid_bank_mask };
        // Banks above 3 name VPs that no partition has.
        let mut banks = [0u64; 4];
        for (position, bank) in (0..64).filter(|bank| mask & 1 << bank != 0).enumerate() {
            let value = self.read_at(header + position * 8)?;
            if let Some(slot) = banks.get_mut(bank) {
                *slot = value;
            }
        }
        let count = self.vp.partition.vp_count();
        Ok((0..256u32).filter(move |&index| {
            let named = banks.get(index as usize / 64).is_some_and(|bank| bank & 1 << (index % 64) != 0);
            if all { index < count } else { named }
        }))
    }

    /// Writes the output from its beginning.
    pub fn output<T: IntoBytes + Immutable>(&self, value: &T) -> Result<(), HvStatus> {
        self.output_bytes(0, value.as_bytes())
    }

    /// Writes element `index` of the output list of a rep call.
    pub fn output_rep<T: IntoBytes + Immutable>(&self, index: u16, value: &T) -> Result<(), HvStatus> {
        self.output_bytes(usize::from(index) * size_of::<T>(), value.as_bytes())
    }

    /// Writes bytes of the output at `offset`.
    pub fn output_bytes(&self, offset: usize, bytes: &[u8]) -> Result<(), HvStatus> {
        let address = in_page(self.output, offset, bytes.len())?;
        self.vp.partition.write(address, bytes).map_err(|_| HvStatus::INVALID_PARAMETER)
    }

    fn read_at<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T, HvStatus> {
        let mut value = T::new_zeroed();
        let bytes = value.as_mut_bytes();
        match self.fast {
            Some(registers) => {
                let source = registers.as_bytes().get(offset..offset + bytes.len());
                bytes.copy_from_slice(source.ok_or(HvStatus::INVALID_HYPERCALL_INPUT)?);
            }
            None => {
                let address = in_page(self.input, offset, bytes.len())?;
                self.vp.partition.read(address, bytes).map_err(|_| HvStatus::INVALID_PARAMETER)?;
            }
        }
        Ok(value)
    }
}

/// Address of `[offset, offset + len)` of a parameter block, which is 8-byte aligned and stays in its page.
fn in_page(base: u64, offset: usize, len: usize) -> Result<u64, HvStatus> {
    let page = crate::mem::PAGE as usize;
    let fits = (base as usize % page).checked_add(offset).and_then(|start| start.checked_add(len));
    if base % 8 != 0 || fits.is_none_or(|end| end > page) {
        return Err(HvStatus::INVALID_ALIGNMENT);
    }
    Ok(base + offset as u64)
}
