//! Register accesses: MMIO in xAPIC mode, MSRs in x2APIC mode, and the Hyper-V MSRs in both.

use crate::apic::{Apic, Effect, Gp, Mode};
use crate::lvt::Lvt;
use crate::regs::*;

impl Apic {
    /// Reads the register at `offset` (0…0xFFF, a multiple of 16) of the MMIO page.
    ///
    /// What is no register reads 0 and raises "illegal register address". Outside xAPIC mode the page is not the
    /// APIC's: all ones, and the hypervisor should not have come here.
    pub fn read_mmio(&mut self, offset: u32, now: u64) -> u32 {
        if self.mode != Mode::XApic {
            return u32::MAX;
        }
        let value = match mmio_register(offset) {
            Some(ID) => Some(self.apic_id << 24),
            Some(EOI) => Some(0),
            Some(DFR) => Some(self.dfr),
            Some(ICR_HIGH) => Some(self.icr_high),
            Some(reg) => self.read_common(reg, now),
            None => None,
        };
        value.unwrap_or_else(|| {
            self.raise_error(ESR_ILLEGAL_REGISTER);
            0
        })
    }

    /// Writes the register at `offset` of the MMIO page.
    ///
    /// Read-only registers ignore it; what is no register raises "illegal register address".
    pub fn write_mmio(&mut self, offset: u32, value: u32, now: u64) -> Effect {
        if self.mode != Mode::XApic {
            return Effect::None;
        }
        match mmio_register(offset) {
            Some(LDR) => self.ldr = value & 0xff00_0000,
            Some(DFR) => self.dfr = value | 0x0fff_ffff,
            Some(ICR_HIGH) => self.icr_high = value & 0xff00_0000,
            Some(ICR_LOW) => return self.send(value),
            Some(ID | VERSION | PPR | ISR0..=IRR7 | CURRENT_COUNT) => {}
            Some(reg) if writable(reg, true).is_some() => {
                return self.write_common(reg, value, now);
            }
            _ => self.raise_error(ESR_ILLEGAL_REGISTER),
        }
        Effect::None
    }

    /// Reads IA32_APIC_BASE, IA32_TSC_DEADLINE or an x2APIC MSR.
    pub fn read_msr(&self, msr: u32, now: u64) -> Result<u64, Gp> {
        match msr {
            msr::APIC_BASE => Ok(self.apic_base()),
            msr::TSC_DEADLINE if self.deadline_capable => Ok(self.tsc_deadline(now)),
            msr::X2APIC_FIRST..=msr::X2APIC_LAST if self.mode == Mode::X2Apic => {
                self.read_x2apic(msr as u8, now)
            }
            _ => Err(Gp),
        }
    }

    fn read_x2apic(&self, reg: u8, now: u64) -> Result<u64, Gp> {
        match reg {
            ID => Ok(u64::from(self.apic_id)),
            ICR_LOW => Ok(self.icr()),
            reg => self.read_common(reg, now).map(u64::from).ok_or(Gp),
        }
    }

    /// Writes IA32_APIC_BASE, IA32_TSC_DEADLINE or an x2APIC MSR.
    pub fn write_msr(&mut self, msr: u32, value: u64, now: u64) -> Result<Effect, Gp> {
        match msr {
            msr::APIC_BASE => self.write_apic_base(value),
            msr::TSC_DEADLINE if self.deadline_capable => Ok(self.write_tsc_deadline(value, now)),
            msr::X2APIC_FIRST..=msr::X2APIC_LAST if self.mode == Mode::X2Apic => {
                self.write_x2apic(msr as u8, value, now)
            }
            _ => Err(Gp),
        }
    }

    fn write_x2apic(&mut self, reg: u8, value: u64, now: u64) -> Result<Effect, Gp> {
        if reg == ICR_LOW {
            return if value as u32 & ICR_LOW_RESERVED != 0 {
                Err(Gp)
            } else {
                Ok(self.write_icr(value))
            };
        }
        let defined =
            if reg == SELF_IPI { Some(0xff) } else { writable(reg, self.deadline_capable) };
        if value & !u64::from(defined.ok_or(Gp)?) != 0 {
            return Err(Gp);
        }
        Ok(match reg {
            SELF_IPI => self.self_ipi(value as u8),
            reg => self.write_common(reg, value as u32, now),
        })
    }

    /// The Hyper-V MSR EOI (0x40000070); the value written does not matter.
    pub fn write_hv_eoi(&mut self) -> Effect {
        self.eoi().map_or(Effect::None, Effect::Eoi)
    }

    /// Registers that read alike through both interfaces.
    fn read_common(&self, reg: u8, now: u64) -> Option<u32> {
        Some(match reg {
            VERSION => VERSION_VALUE,
            TPR => u32::from(self.tpr),
            PPR => u32::from(self.ppr()),
            LDR => self.logical_id(),
            SVR => self.svr,
            ISR0..=ISR7 => self.isr.word32(reg - ISR0),
            TMR0..=TMR7 => self.tmr.word32(reg - TMR0),
            IRR0..=IRR7 => self.irr.word32(reg - IRR0),
            ESR => self.esr,
            ICR_LOW => self.icr_low,
            LVT_TIMER..=LVT_ERROR => self.lvt(Lvt::from_index(reg - LVT_TIMER)?),
            INITIAL_COUNT => self.timer.initial(),
            CURRENT_COUNT => self.timer.current(now),
            DIVIDE => self.divide,
            _ => return None,
        })
    }

    /// Registers that are written alike through both interfaces.
    fn write_common(&mut self, reg: u8, value: u32, now: u64) -> Effect {
        match reg {
            TPR => self.tpr = value as u8,
            EOI => return self.write_hv_eoi(),
            SVR => return self.write_svr(value, now),
            ESR => (self.esr, self.esr_pending) = (self.esr_pending, 0),
            LVT_TIMER => return self.write_lvt_timer(value, now),
            INITIAL_COUNT => return self.write_initial_count(value, now),
            DIVIDE => return self.write_divide(value, now),
            reg => {
                if let Some(entry) = Lvt::from_index(reg.wrapping_sub(LVT_TIMER)) {
                    self.write_lvt(entry, value);
                }
            }
        }
        Effect::None
    }

    fn write_svr(&mut self, value: u32, now: u64) -> Effect {
        let was_enabled = self.svr & SVR_ENABLED != 0;
        if was_enabled && value & SVR_ENABLED == 0 {
            self.expire_timer(now);
            self.svr = value & SVR_MASK;
            self.mask_lvts();
            return Effect::TimerChanged;
        }
        self.svr = value & SVR_MASK;
        Effect::None
    }
}

/// The register at an MMIO offset.
fn mmio_register(offset: u32) -> Option<u8> {
    (offset & 0xf == 0).then(|| u8::try_from(offset >> 4).ok()).flatten()
}

/// The defined bits of the registers that [`Apic::write_common`] writes; `None` for all others.
fn writable(reg: u8, deadline_capable: bool) -> Option<u32> {
    Some(match reg {
        TPR => 0xff,
        EOI | ESR => 0,
        SVR => SVR_MASK,
        LVT_TIMER..=LVT_ERROR => Lvt::from_index(reg - LVT_TIMER)?.defined(deadline_capable),
        INITIAL_COUNT => u32::MAX,
        DIVIDE => DIVIDE_MASK,
        _ => return None,
    })
}
