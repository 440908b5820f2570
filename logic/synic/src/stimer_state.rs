//! Saved state of the synthetic timers: the 200-byte structure of GET_VP_STATE and SET_VP_STATE, as u64 words.
//!
//! Four times {flags (bit 0: undelivered message), config, count, adjustment, undelivered expiry}, then five reserved
//! words. `adjustment` is ours to define: the next expiry of a running periodic timer, 0 otherwise. A one-shot timer
//! needs none, as its count is the expiry.

use crate::stimer::{RESERVED, Stimer, Stimers, has_target};
use hvdef::msr::StimerConfig;

/// Length of the saved state in u64 words.
pub const STIMER_STATE_WORDS: usize = 25;

impl Stimers {
    /// The state as GET_VP_STATE returns it.
    pub fn save(&self) -> [u64; STIMER_STATE_WORDS] {
        let mut state = [0; STIMER_STATE_WORDS];
        for (words, timer) in state.as_chunks_mut::<5>().0.iter_mut().zip(&self.timers) {
            *words = timer.save();
        }
        state
    }

    /// Loads a state; reference time must be set already. Any input is safe: reserved bits are dropped, a timer without
    /// a target stays stopped, and an expiry farther away than a period starts a new period.
    pub fn restore(&mut self, state: &[u64; STIMER_STATE_WORDS], now: u64) {
        for (words, timer) in state.as_chunks::<5>().0.iter().zip(&mut self.timers) {
            *timer = Stimer::restore(words, now);
        }
        self.changed();
    }
}

impl Stimer {
    fn save(&self) -> [u64; 5] {
        let adjustment = self.expiry.filter(|_| self.config.periodic()).unwrap_or(0);
        let undelivered = self.undelivered.unwrap_or(0);
        [
            u64::from(self.undelivered.is_some()),
            self.config.into_bits(),
            self.count,
            adjustment,
            undelivered,
        ]
    }

    fn restore(words: &[u64; 5], now: u64) -> Self {
        let &[flags, config, count, adjustment, undelivered] = words;
        let config = StimerConfig::from_bits(config & !RESERVED);
        let config = config.with_enabled(config.enabled() && has_target(config));
        let mut timer = Self { config, count, ..Self::RESET };
        timer.undelivered = Some(undelivered)
            .filter(|_| flags & 1 != 0 && !config.direct_mode() && config.sintx() != 0);
        if config.enabled() && count != 0 {
            timer.expiry = Some(if config.periodic() {
                timer.restored_period(adjustment, now)
            } else {
                count
            });
        }
        timer
    }

    /// The next expiry of a periodic timer: the saved one if it can be one.
    fn restored_period(&self, saved: u64, now: u64) -> u64 {
        let latest = now.saturating_add(self.period());
        if saved == 0 || saved > latest { latest } else { saved }
    }
}
