//! The parent's synthetic interrupt controller and timers: MSRs and their pages.

use crate::exit::msr::Fault;
use crate::lp::Lp;
use crate::vp::{State, Vp};

/// A VP's SynIC.
pub struct VpSynic {}

impl VpSynic {
    pub fn new(_shared: &crate::boot::SharedPages, _index: u32) -> Self {
        Self {}
    }
}

impl State {
    /// Reads an MSR of the SynIC or a synthetic timer.
    pub fn read_synic_msr(&mut self, _vp: &Vp, _index: u32) -> Result<u64, Fault> {
        Err(Fault)
    }

    /// Writes an MSR of the SynIC or a synthetic timer.
    pub fn write_synic_msr(&mut self, _lp: &Lp, _vp: &Vp, _index: u32, _value: u64) -> Result<(), Fault> {
        Err(Fault)
    }

    /// Fires synthetic timers that are due.
    pub fn expire_synthetic_timers(&mut self, _now: u64) {}

    /// Time-stamp counter value of the next synthetic timer, `u64::MAX` for none.
    pub fn next_synthetic_deadline(&self) -> u64 {
        u64::MAX
    }
}
