//! The saved state: the 176-byte local APIC structure of GET_VP_STATE and SET_VP_STATE.
//!
//! Forty-four u32: apic_id, version, ldr, dfr, spurious, isr (8 words), tmr (8), irr (8), esr, icr_high, icr_low,
//! lvt_timer, lvt_thermal, lvt_perfmon, lvt_lint0, lvt_lint1, lvt_error, lvt_cmci, error_status, initial_count,
//! counter_value, divide_configuration, remote_read. `esr` is what the register shows, `error_status` what has happened
//! since it was last written. TPR (CR8), APIC_BASE and TSC_DEADLINE are not in it: VMMs move them as registers.

use crate::apic::{Apic, Mode};
use crate::lvt::Lvt;
use crate::regs::*;
use crate::vector_set::VectorSet;

/// Length of the saved state in u32 words.
pub const STATE_WORDS: usize = 44;

impl Apic {
    /// The state as GET_VP_STATE returns it.
    pub fn save(&self, now: u64) -> [u32; STATE_WORDS] {
        let [timer, thermal, perfmon, lint0, lint1, error] = self.lvt;
        let id = if self.mode == Mode::X2Apic { self.apic_id } else { self.apic_id << 24 };
        let head = [id, VERSION_VALUE, self.logical_id(), self.dfr, self.svr];
        let vectors = [self.isr, self.tmr, self.irr].map(VectorSet::to_words32);
        let tail = [
            [self.esr, self.icr_high, self.icr_low, timer, thermal],
            [perfmon, lint0, lint1, error, LVT_MASKED],
            [self.esr_pending, self.timer.initial(), self.timer.current(now), self.divide, 0],
        ];
        let mut state = [0; STATE_WORDS];
        let words = head.iter().chain(vectors.iter().flatten()).chain(tail.iter().flatten());
        for (to, from) in state.iter_mut().zip(words) {
            *to = *from;
        }
        state
    }

    /// Loads a state; what the registers could not hold is dropped, so any input is safe.
    ///
    /// Id, version, lvt_cmci and remote_read are ignored, LDR and DFR in x2APIC mode too. LVT entries are taken as
    /// they are even while the APIC is software-disabled: VMMs wire LINT0 and LINT1 at the VP's creation this way.
    /// Afterwards the timer's deadline has changed, and interrupts may be pending.
    pub fn restore(&mut self, state: &[u32; STATE_WORDS], now: u64) {
        let [_, _, ldr, dfr, svr, rest @ ..] = state;
        let (isr, rest) = take_vectors(rest);
        let (tmr, rest) = take_vectors(rest);
        let (irr, rest) = take_vectors(rest);
        let [esr, icr_high, icr_low, lvt @ .., _cmci, pending, initial, current, divide, _] = rest
        else {
            return;
        };
        self.load_vectors(irr, isr, tmr);
        self.svr = svr & SVR_MASK;
        if self.mode != Mode::X2Apic {
            self.ldr = ldr & 0xff00_0000;
            self.dfr = dfr | 0x0fff_ffff;
        }
        (self.esr, self.esr_pending) = (esr & ESR_MASK, pending & ESR_MASK);
        (self.icr_low, self.icr_high) = (icr_low & ICR_LOW_MASK, *icr_high);
        for (index, value) in (0..).zip(lvt) {
            if let Some(entry) = Lvt::from_index(index) {
                self.set_lvt(entry, value & entry.writable(self.deadline_capable));
            }
        }
        self.restore_timer(*divide, *initial, *current, now);
        if self.mode == Mode::Disabled {
            self.load_vectors(VectorSet::EMPTY, VectorSet::EMPTY, VectorSet::EMPTY);
        }
    }
}

/// The next eight words as a vector set, and the rest.
fn take_vectors(words: &[u32]) -> (VectorSet, &[u32]) {
    match words.split_first_chunk::<8>() {
        Some((head, rest)) => (VectorSet::from_words32(*head), rest),
        None => (VectorSet::EMPTY, words),
    }
}
