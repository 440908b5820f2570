//! IA32_APIC_BASE and the mode transitions (SDM volume 3, figure "Local x2APIC State Transitions").
//!
//! ```text
//!   disabled <--> xAPIC --> x2APIC --> disabled        anything else: #GP
//! ```

use crate::apic::{Apic, Effect, Gp, Mode, ResetKind};
use crate::regs::{APIC_BASE_ADDRESS, BASE_BSP, BASE_ENABLED, BASE_X2APIC};

impl Apic {
    /// The value of IA32_APIC_BASE.
    pub fn apic_base(&self) -> u64 {
        let bsp = if self.is_bsp { BASE_BSP } else { 0 };
        let mode = match self.mode {
            Mode::Disabled => 0,
            Mode::XApic => BASE_ENABLED,
            Mode::X2Apic => BASE_ENABLED | BASE_X2APIC,
        };
        APIC_BASE_ADDRESS | bsp | mode
    }

    /// Writes IA32_APIC_BASE. The BSP bit is ignored; moving the page, reserved bits and illegal transitions are #GP.
    ///
    /// Leaving for disabled mode resets the registers, so what was pending is lost.
    pub fn write_apic_base(&mut self, value: u64) -> Result<Effect, Gp> {
        if value & !(BASE_BSP | BASE_ENABLED | BASE_X2APIC) != APIC_BASE_ADDRESS {
            return Err(Gp);
        }
        let next = match (value & BASE_ENABLED != 0, value & BASE_X2APIC != 0) {
            (false, false) => Mode::Disabled,
            (true, false) => Mode::XApic,
            (true, true) if self.x2apic_capable => Mode::X2Apic,
            _ => return Err(Gp),
        };
        match (self.mode, next) {
            (old, new) if old == new => return Ok(Effect::None),
            (Mode::X2Apic, Mode::XApic) | (Mode::Disabled, Mode::X2Apic) => return Err(Gp),
            (_, Mode::Disabled) => self.reset(ResetKind::Init),
            _ => {}
        }
        self.mode = next;
        Ok(Effect::ModeChanged)
    }

    /// Puts the APIC into a mode without the rules for guests: for a VMM that sets registers, or a root that starts
    /// in the mode its firmware left.
    pub fn set_apic_base(&mut self, value: u64) -> Result<(), Gp> {
        if value & BASE_ENABLED == 0 || self.mode == Mode::X2Apic {
            let _ = self.write_apic_base(APIC_BASE_ADDRESS)?;
        }
        if value & BASE_ENABLED != 0 {
            let _ = self.write_apic_base(APIC_BASE_ADDRESS | BASE_ENABLED)?;
        }
        self.write_apic_base(value).map(|_| ())
    }
}
