//! Messages arriving at an APIC: is it addressed, and what does the message do?

use crate::apic::{Apic, Mode};
use crate::icr::{DeliveryMode, Ipi, Shorthand};

/// What a delivered message asks of the hypervisor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Delivery {
    /// Nothing: refused, masked, or the vector was already pending.
    None,
    /// A vector became pending: see that the VP notices.
    Requested,
    /// Inject an NMI.
    Nmi,
    /// Raise an SMI (a hypervisor without SMM ignores it).
    Smi,
    /// Reset the VP by INIT and let it wait for SIPI.
    Init,
    /// Start a waiting VP at physical address `page` << 12.
    Sipi {
        /// Page number of the entry point.
        page: u8,
    },
    /// Take a vector from the PIC.
    ExtInt,
}

impl Apic {
    /// Delivers a message that has this APIC as target.
    pub fn deliver(&mut self, mode: DeliveryMode, vector: u8, level: bool) -> Delivery {
        if self.mode == Mode::Disabled {
            return self.deliver_disabled(mode);
        }
        match mode {
            DeliveryMode::Fixed | DeliveryMode::LowestPriority if self.accept(vector, level) => {
                Delivery::Requested
            }
            DeliveryMode::Fixed | DeliveryMode::LowestPriority => Delivery::None,
            DeliveryMode::Smi => Delivery::Smi,
            DeliveryMode::Nmi => Delivery::Nmi,
            DeliveryMode::Init => Delivery::Init,
            DeliveryMode::Sipi => Delivery::Sipi { page: vector },
            DeliveryMode::ExtInt => Delivery::ExtInt,
        }
    }

    /// Without an APIC the VP has two pins left: INTR (the PIC) and NMI.
    fn deliver_disabled(&self, mode: DeliveryMode) -> Delivery {
        match mode {
            DeliveryMode::Nmi => Delivery::Nmi,
            DeliveryMode::ExtInt => Delivery::ExtInt,
            _ => Delivery::None,
        }
    }

    /// Does the IPI select this APIC? `from_self` says that this APIC sent it.
    pub fn is_target(&self, ipi: &Ipi, from_self: bool) -> bool {
        match ipi.shorthand {
            Shorthand::None => self.matches(ipi.dest),
            Shorthand::ToSelf => from_self && self.mode != Mode::Disabled,
            Shorthand::All => self.mode != Mode::Disabled,
            Shorthand::AllButSelf => !from_self && self.mode != Mode::Disabled,
        }
    }

    /// LDR as the mode defines it.
    pub fn logical_id(&self) -> u32 {
        match self.mode {
            Mode::X2Apic => (self.apic_id & 0xffff_fff0) << 12 | 1 << (self.apic_id & 0xf),
            _ => self.ldr,
        }
    }
}

/// Lowest-priority arbitration: feed it the enabled candidates, it keeps the least busy.
///
/// Of equals the first one wins: start at a different candidate each time to spread the load.
#[derive(Clone, Copy, Default, Debug)]
pub struct LowestPriority {
    best: Option<(u8, u32)>,
}

impl LowestPriority {
    /// No candidate yet.
    pub const fn new() -> Self {
        Self { best: None }
    }

    /// A candidate: any number the caller knows it by, and its [`Apic::ppr`] (a stale one only costs fairness).
    pub fn consider(&mut self, candidate: u32, ppr: u8) {
        if self.best.is_none_or(|(best, _)| ppr < best) {
            self.best = Some((ppr, candidate));
        }
    }

    /// The candidate that gets the interrupt.
    pub fn winner(&self) -> Option<u32> {
        self.best.map(|(_, candidate)| candidate)
    }
}
