//! The interrupt command register, and whom an interrupt addresses.

use crate::apic::{Apic, Effect, Mode};
use crate::regs::{ESR_SEND_ILLEGAL_VECTOR, ICR_LOW_MASK};

/// What an interrupt message does at its target. Numbers as in the ICR, LVT and MSI data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum DeliveryMode {
    /// The vector, at every target.
    Fixed = 0,
    /// The vector, at the target of lowest priority.
    LowestPriority = 1,
    /// System management interrupt.
    Smi = 2,
    /// Non-maskable interrupt.
    Nmi = 4,
    /// INIT.
    Init = 5,
    /// Start-up: the vector is the page number of the entry point.
    Sipi = 6,
    /// The vector comes from the PIC.
    ExtInt = 7,
}

impl DeliveryMode {
    /// From the three bits of the register; 3 (remote read) is not supported.
    pub const fn from_bits(bits: u32) -> Option<Self> {
        Some(match bits & 7 {
            0 => Self::Fixed,
            1 => Self::LowestPriority,
            2 => Self::Smi,
            4 => Self::Nmi,
            5 => Self::Init,
            6 => Self::Sipi,
            7 => Self::ExtInt,
            _ => return None,
        })
    }

    /// Does the mode use the vector as an interrupt vector?
    pub const fn is_vectored(self) -> bool {
        matches!(self, Self::Fixed | Self::LowestPriority)
    }
}

/// Whom a message addresses, free of the width of the interface it came through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Destination {
    /// The APIC with this id.
    Physical(u32),
    /// The APICs whose logical id matches this mask.
    Logical(u32),
    /// Every APIC.
    Broadcast,
}

impl Destination {
    /// From an 8-bit destination: xAPIC ICR, MSI address, I/O APIC entry. 0xFF is everybody.
    pub const fn from_xapic(dest: u8, logical: bool) -> Self {
        Self::decode(dest as u32, logical, 0xff)
    }

    /// From a 32-bit destination: x2APIC ICR, remapped interrupt. 0xFFFF_FFFF is everybody.
    pub const fn from_x2apic(dest: u32, logical: bool) -> Self {
        Self::decode(dest, logical, u32::MAX)
    }

    const fn decode(dest: u32, logical: bool, everybody: u32) -> Self {
        if dest == everybody {
            Self::Broadcast
        } else if logical {
            Self::Logical(dest)
        } else {
            Self::Physical(dest)
        }
    }
}

/// The ICR's abbreviations, which override its destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shorthand {
    /// Use the destination.
    None,
    /// The sender only.
    ToSelf,
    /// Everybody.
    All,
    /// Everybody but the sender.
    AllButSelf,
}

/// An inter-processor interrupt to be delivered: edge-triggered always.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipi {
    /// Vector, or start-up page.
    pub vector: u8,
    /// What it does.
    pub mode: DeliveryMode,
    /// Whom it addresses, unless there is a shorthand.
    pub dest: Destination,
    /// Abbreviation of the destination.
    pub shorthand: Shorthand,
}

impl Ipi {
    /// Decodes an ICR; `None` for what has no effect: INIT de-assert and the reserved delivery modes.
    pub const fn decode(low: u32, high: u32, x2apic: bool) -> Option<Self> {
        let Some(mode) = DeliveryMode::from_bits(low >> 8) else { return None };
        let (level, trigger) = (low & 1 << 14 != 0, low & 1 << 15 != 0);
        if matches!(mode, DeliveryMode::Init) && trigger && !level {
            return None;
        }
        let logical = low & 1 << 11 != 0;
        let dest = if x2apic {
            Destination::from_x2apic(high, logical)
        } else {
            Destination::from_xapic((high >> 24) as u8, logical)
        };
        let shorthand = match low >> 18 & 3 {
            0 => Shorthand::None,
            1 => Shorthand::ToSelf,
            2 => Shorthand::All,
            _ => Shorthand::AllButSelf,
        };
        Some(Self { vector: low as u8, mode, dest, shorthand })
    }
}

impl Apic {
    /// Both halves of the ICR: what the Hyper-V MSR ICR reads.
    pub fn icr(&self) -> u64 {
        u64::from(self.icr_high) << 32 | u64::from(self.icr_low)
    }

    /// Writes both halves of the ICR and sends. The Hyper-V MSR ICR does this, and so does the x2APIC MSR.
    pub fn write_icr(&mut self, value: u64) -> Effect {
        self.icr_high = (value >> 32) as u32;
        self.send(value as u32)
    }

    /// Writes the low half and sends, to the destination in the high half.
    pub(crate) fn send(&mut self, low: u32) -> Effect {
        self.icr_low = low & ICR_LOW_MASK;
        let x2apic = self.mode == Mode::X2Apic;
        let Some(ipi) = Ipi::decode(self.icr_low, self.icr_high, x2apic) else {
            return Effect::None;
        };
        if ipi.mode.is_vectored() && ipi.vector < 16 {
            self.raise_error(ESR_SEND_ILLEGAL_VECTOR);
            return Effect::None;
        }
        match ipi {
            Ipi { mode: DeliveryMode::Fixed, shorthand: Shorthand::ToSelf, vector, .. } => {
                self.self_ipi(vector)
            }
            ipi => Effect::Ipi(ipi),
        }
    }

    /// Sends a fixed interrupt to this VP.
    pub(crate) fn self_ipi(&mut self, vector: u8) -> Effect {
        if vector < 16 {
            self.raise_error(ESR_SEND_ILLEGAL_VECTOR);
            return Effect::None;
        }
        self.accept(vector, false);
        Effect::SelfIpi(vector)
    }
}
