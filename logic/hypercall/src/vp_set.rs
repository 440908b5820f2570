//! Sets of VPs as inputs name them (TLFS, "Virtual Processor Sets").

use hvdef::hypercall::VpSetFormat;
use hvdef::{HvStatus, VpIndex};
use zerocopy::little_endian::U64;

/// VPs of a bank.
const BANK: u32 = 64;

/// Some VPs of a partition. Named VPs need not exist.
#[derive(Clone, Copy, Debug)]
pub enum VpSet<'a> {
    /// Every VP.
    All,
    /// VPs 0 to 63, by bit.
    Mask(u64),
    /// By bank; as many banks as the mask has bits.
    Sparse {
        /// Bit for each bank.
        valid_bank_mask: u64,
        /// Bits of each bank in the mask, ascending.
        banks: &'a [U64],
    },
}

impl<'a> VpSet<'a> {
    /// A set whose mask is in the fixed header and whose banks are the variable header.
    ///
    /// INVALID_PARAMETER for a format that is none; INVALID_HYPERCALL_INPUT if there are more or fewer banks than the mask
    /// has bits, or any for a set of all VPs, whose mask does not count.
    pub fn parse(
        format: VpSetFormat,
        valid_bank_mask: u64,
        banks: &'a [U64],
    ) -> Result<Self, HvStatus> {
        let (set, expected) = match format {
            VpSetFormat::SPARSE_4K => {
                (Self::Sparse { valid_bank_mask, banks }, valid_bank_mask.count_ones() as usize)
            }
            VpSetFormat::ALL => (Self::All, 0),
            _ => return Err(HvStatus::INVALID_PARAMETER),
        };
        if banks.len() == expected { Ok(set) } else { Err(HvStatus::INVALID_HYPERCALL_INPUT) }
    }

    /// A set whose mask and banks are the variable header, as in device interrupts.
    pub fn parse_with_mask(
        format: VpSetFormat,
        variable_header: &'a [U64],
    ) -> Result<Self, HvStatus> {
        let (mask, banks) =
            variable_header.split_first().ok_or(HvStatus::INVALID_HYPERCALL_INPUT)?;
        Self::parse(format, mask.get(), banks)
    }

    /// Whether the set names this VP.
    pub fn contains(&self, vp: VpIndex) -> bool {
        let bit = 1u64 << (vp.0 % BANK);
        self.bank(vp.0 / BANK) & bit != 0
    }

    /// Whether it names no VP at all.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::All => false,
            Self::Mask(mask) => *mask == 0,
            Self::Sparse { banks, .. } => banks.iter().all(|bank| bank.get() == 0),
        }
    }

    /// The VPs it names whose index is below `vp_count`, ascending.
    pub fn iter(&self, vp_count: u32) -> VpSetIter<'a> {
        VpSetIter { set: *self, vp_count, bank: 0, bits: self.bank(0) }
    }

    /// Bits of VPs `64 * index` to `64 * index + 63`.
    fn bank(&self, index: u32) -> u64 {
        match self {
            Self::All => u64::MAX,
            Self::Mask(mask) if index == 0 => *mask,
            Self::Mask(_) => 0,
            Self::Sparse { valid_bank_mask, banks } => {
                let Some(bit) = 1u64.checked_shl(index).filter(|bit| valid_bank_mask & bit != 0)
                else {
                    return 0;
                };
                let place = (valid_bank_mask & (bit - 1)).count_ones() as usize;
                banks.get(place).map_or(0, |bank| bank.get())
            }
        }
    }
}

/// Iterator over the VPs of a set. Takes no more steps than there are VPs and banks.
#[derive(Clone, Debug)]
pub struct VpSetIter<'a> {
    set: VpSet<'a>,
    vp_count: u32,
    bank: u32,
    bits: u64,
}

impl Iterator for VpSetIter<'_> {
    type Item = VpIndex;

    fn next(&mut self) -> Option<VpIndex> {
        while self.bits == 0 {
            let bank = self.bank + 1;
            if bank >= self.vp_count.div_ceil(BANK) {
                return None;
            }
            self.bank = bank;
            self.bits = self.set.bank(bank);
        }
        let index = self.bank * BANK + self.bits.trailing_zeros();
        self.bits &= self.bits - 1;
        if index < self.vp_count { Some(VpIndex(index)) } else { None }
    }
}

#[cfg(test)]
mod tests;
