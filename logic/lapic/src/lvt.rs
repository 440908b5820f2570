//! The local vector table: the APIC's own interrupt sources.

use crate::apic::Apic;
use crate::deliver::Delivery;
use crate::icr::DeliveryMode;
use crate::regs::LVT_MASKED;
use crate::timer::TimerMode;

/// Number of LVT entries.
pub(crate) const LVT_COUNT: usize = 6;

/// The LVT entries, in register order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Lvt {
    /// The APIC timer.
    Timer = 0,
    /// Thermal sensor.
    Thermal = 1,
    /// Performance counter overflow. Delivery masks the entry.
    Perfmon = 2,
    /// Pin LINT0, where a PIC is connected.
    Lint0 = 3,
    /// Pin LINT1, where NMI is connected.
    Lint1 = 4,
    /// Errors the APIC detects itself.
    Error = 5,
}

impl Lvt {
    /// From the position in the table.
    pub(crate) const fn from_index(index: u8) -> Option<Self> {
        Some(match index {
            0 => Self::Timer,
            1 => Self::Thermal,
            2 => Self::Perfmon,
            3 => Self::Lint0,
            4 => Self::Lint1,
            5 => Self::Error,
            _ => return None,
        })
    }

    /// The bits software may set; delivery status (12) and remote IRR (14) read 0.
    pub(crate) const fn writable(self, deadline_capable: bool) -> u32 {
        match self {
            Self::Timer if deadline_capable => 0x7_00ff,
            Self::Timer => 0x3_00ff,
            Self::Thermal | Self::Perfmon => 0x1_07ff,
            Self::Lint0 | Self::Lint1 => 0x1_a7ff,
            Self::Error => 0x1_00ff,
        }
    }

    /// The bits that are not reserved: the writable ones and the read-only ones.
    pub(crate) const fn defined(self, deadline_capable: bool) -> u32 {
        let read_only =
            if matches!(self, Self::Lint0 | Self::Lint1) { 1 << 12 | 1 << 14 } else { 1 << 12 };
        self.writable(deadline_capable) | read_only
    }
}

impl Apic {
    /// A source of the table fires (an edge on a LINT pin, a counter overflow…).
    pub fn signal_lvt(&mut self, entry: Lvt) -> Delivery {
        let value = self.lvt(entry);
        if value & LVT_MASKED != 0 {
            return Delivery::None;
        }
        if entry == Lvt::Perfmon {
            self.set_lvt(entry, value | LVT_MASKED);
        }
        let mode = match entry {
            Lvt::Timer | Lvt::Error => Some(DeliveryMode::Fixed),
            _ => DeliveryMode::from_bits(value >> 8),
        };
        match mode {
            // Not for a local source (SDM: "reserved" in an LVT entry).
            None | Some(DeliveryMode::LowestPriority | DeliveryMode::Sipi) => Delivery::None,
            Some(mode) => {
                self.deliver(mode, value as u8, entry == Lvt::Lint0 && value & 1 << 15 != 0)
            }
        }
    }

    /// Would an ExtINT on LINT0 reach the CPU? A disabled APIC passes the PIC through.
    pub fn accepts_pic(&self) -> bool {
        let lint0 = self.lvt(Lvt::Lint0);
        self.mode == crate::Mode::Disabled
            || lint0 & LVT_MASKED == 0 && lint0 >> 8 & 7 == DeliveryMode::ExtInt as u32
    }

    /// Stores an LVT entry; a software-disabled APIC keeps it masked.
    pub(crate) fn write_lvt(&mut self, entry: Lvt, value: u32) {
        let masked = if self.svr & crate::regs::SVR_ENABLED == 0 { LVT_MASKED } else { 0 };
        self.set_lvt(entry, value & entry.writable(self.deadline_capable) | masked);
    }

    /// Stores an LVT entry as it is.
    pub(crate) fn set_lvt(&mut self, entry: Lvt, value: u32) {
        if let Some(slot) = self.lvt.get_mut(entry as usize) {
            *slot = value;
        }
    }

    /// Masks the whole table: what software-disabling does.
    pub(crate) fn mask_lvts(&mut self) {
        for entry in &mut self.lvt {
            *entry |= LVT_MASKED;
        }
    }

    /// Records an error and raises the error interrupt, once until ESR is written.
    pub(crate) fn raise_error(&mut self, error: u32) {
        let new = self.esr_pending & error == 0;
        self.esr_pending |= error;
        let value = self.lvt(Lvt::Error);
        // An error vector below 16 would be an error itself, without end.
        if new && value & LVT_MASKED == 0 && value as u8 >= 16 {
            self.accept(value as u8, false);
        }
    }

    /// The mode LVT timer bits 18:17 select.
    pub(crate) fn timer_mode(&self) -> TimerMode {
        TimerMode::from_bits(self.lvt(Lvt::Timer) >> 17)
    }
}
