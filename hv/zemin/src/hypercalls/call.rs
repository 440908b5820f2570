//! One hypercall: its inputs and outputs.
//!
//! Inputs stay in the caller's memory, which the caller can change at any time; every access here copies once, and a
//! handler decides on the copy.

use crate::lp::Lp;
use crate::vp::Vp;
use core::ops::Range;
use hvdef::HvStatus;
use hvdef::hypercall::{VpSetFormat, VpSetHeader};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A well-formed hypercall and who made it.
pub struct Call {
    /// Its form.
    pub form: hypercall::Call,
    /// The LP it was made on.
    pub lp: &'static Lp,
    /// The VP that made it.
    pub vp: &'static Vp,
}

impl Call {
    /// The elements still to do.
    pub fn reps(&self) -> Range<u16> {
        self.form.reps()
    }

    /// The fixed header.
    pub fn input<T: FromBytes + IntoBytes>(&self) -> Result<T, HvStatus> {
        self.read_at(0)
    }

    /// Element `index` of the list of a rep call.
    pub fn rep<T: FromBytes + IntoBytes>(&self, index: u16) -> Result<T, HvStatus> {
        self.read_at(self.form.list_offset() + usize::from(index) * size_of::<T>())
    }

    /// Element `index` of the variable header.
    pub fn variable<T: FromBytes + IntoBytes>(&self, index: usize) -> Result<T, HvStatus> {
        let start = self.form.list_offset() - self.form.variable_header_bytes();
        self.read_at(start + index * size_of::<T>())
    }

    /// The VPs that a set names, whose header ends the fixed header of `header` bytes.
    pub fn vp_set(
        &self,
        set: VpSetHeader,
        header: usize,
    ) -> Result<impl Iterator<Item = u32> + use<>, HvStatus> {
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
            let named =
                banks.get(index as usize / 64).is_some_and(|bank| bank & 1 << (index % 64) != 0);
            if all { index < count } else { named }
        }))
    }

    /// Writes the output from its beginning.
    pub fn output<T: IntoBytes + Immutable>(&self, value: &T) -> Result<(), HvStatus> {
        self.output_bytes(0, value.as_bytes())
    }

    /// Writes element `index` of the output list of a rep call.
    pub fn output_rep<T: IntoBytes + Immutable>(
        &self,
        index: u16,
        value: &T,
    ) -> Result<(), HvStatus> {
        self.output_bytes(usize::from(index) * size_of::<T>(), value.as_bytes())
    }

    /// Writes bytes of the output at `offset`. A call without an output place succeeds with nothing written.
    pub fn output_bytes(&self, offset: usize, bytes: &[u8]) -> Result<(), HvStatus> {
        if offset + bytes.len() > self.form.output_bytes() {
            return Err(HvStatus::INSUFFICIENT_BUFFER);
        }
        let Some(base) = self.form.output_gpa() else {
            return Err(HvStatus::INVALID_HYPERCALL_INPUT);
        };
        self.vp
            .partition
            .write(base.0 + offset as u64, bytes)
            .map_err(|_| HvStatus::INVALID_PARAMETER)
    }

    fn read_at<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T, HvStatus> {
        let mut value = T::new_zeroed();
        let bytes = value.as_mut_bytes();
        match self.form.input_gpa() {
            // Decoding made sure that the input as a whole lies in one page.
            Some(base) if offset + bytes.len() <= self.form.input_bytes() => {
                let gpa = base.0 + offset as u64;
                self.vp.partition.read(gpa, bytes).map_err(|_| HvStatus::INVALID_PARAMETER)?;
            }
            Some(_) => return Err(HvStatus::INVALID_HYPERCALL_INPUT),
            None => {
                let registers = self.form.fast_input();
                let source = registers.get(offset..offset + bytes.len());
                bytes.copy_from_slice(source.ok_or(HvStatus::INVALID_HYPERCALL_INPUT)?);
            }
        }
        Ok(value)
    }
}
