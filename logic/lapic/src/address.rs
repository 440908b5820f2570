//! Which messages select an APIC, apart from the rest of its state.

use crate::apic::{Apic, Mode};
use crate::icr::Destination;

/// What decides whether a message selects an APIC. It fits one word ([`Address::to_bits`]), so that a hypervisor can keep
/// a copy that other processors read while the APIC itself is in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    mode: Mode,
    apic_id: u32,
    /// Bits 31:24 of the LDR.
    ldr: u8,
    /// Bits 31:28 of the DFR.
    dfr: u8,
}

impl Address {
    /// The address as one word: id 31:0, LDR 39:32, DFR 43:40, mode 45:44.
    pub const fn to_bits(self) -> u64 {
        let mode = match self.mode {
            Mode::Disabled => 0,
            Mode::XApic => 1,
            Mode::X2Apic => 2,
        };
        self.apic_id as u64 | (self.ldr as u64) << 32 | (self.dfr as u64) << 40 | mode << 44
    }

    /// The inverse of [`Self::to_bits`].
    pub const fn from_bits(bits: u64) -> Self {
        let mode = match bits >> 44 & 3 {
            1 => Mode::XApic,
            2 => Mode::X2Apic,
            _ => Mode::Disabled,
        };
        Self { mode, apic_id: bits as u32, ldr: (bits >> 32) as u8, dfr: (bits >> 40) as u8 & 0xF }
    }

    /// Whether a message to `dest` selects this APIC.
    pub fn matches(self, dest: Destination) -> bool {
        match (self.mode, dest) {
            (Mode::Disabled, _) => false,
            (_, Destination::Broadcast) => true,
            (Mode::XApic, Destination::Physical(id)) => id == self.apic_id & 0xFF,
            (Mode::X2Apic, Destination::Physical(id)) => id == self.apic_id,
            (Mode::XApic, Destination::Logical(mda)) => self.matches_logical_xapic(mda),
            (Mode::X2Apic, Destination::Logical(mda)) => {
                mda >> 16 == self.apic_id >> 4 && mda & 1 << (self.apic_id & 0xF) != 0
            }
        }
    }

    fn matches_logical_xapic(self, mda: u32) -> bool {
        let ldr = u32::from(self.ldr);
        match self.dfr {
            0xF => mda <= 0xFF && mda & ldr != 0,
            0x0 => mda >> 4 == ldr >> 4 && mda & ldr & 0xF != 0,
            _ => false,
        }
    }
}

impl Apic {
    /// What selects this APIC now. It changes only with a register write.
    pub fn address(&self) -> Address {
        Address {
            mode: self.mode,
            apic_id: self.apic_id,
            ldr: (self.ldr >> 24) as u8,
            dfr: (self.dfr >> 28) as u8,
        }
    }

    /// Does the destination select this APIC?
    pub fn matches(&self, dest: Destination) -> bool {
        self.address().matches(dest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_holds_the_whole_address() {
        for mode in [Mode::Disabled, Mode::XApic, Mode::X2Apic] {
            let address = Address { mode, apic_id: 0xFEDC_BA98, ldr: 0xA5, dfr: 0xF };
            assert_eq!(Address::from_bits(address.to_bits()), address);
        }
    }
}
