//! The four synthetic timers of a VP (TLFS 12.5). All times are reference time, in units of 100 ns.
//!
//! * One-shot: COUNT is the time of expiry; a time in the past expires at once; expiry clears the enable bit.
//! * Periodic: COUNT is the period, the first expiry one period after the start; expiries stay on that grid. If the VP
//!   was away, up to [`MAX_CATCH_UP`] missed periods are made up for at double speed (TLFS: "period modulation"); beyond
//!   that, and for lazy timers at once, the missed ones are skipped.
//! * A message that finds its slot occupied, or its SINT blocked, stays with its timer and is offered again, with the
//!   expiry it had. Later expiries of a periodic timer merge into it. A write to the timer's registers drops it.
//! * COUNT = 0 stops the timer, auto-enable or not.

use crate::registers::Gp;
use hvdef::msr::{self, STIMER_COUNT, StimerConfig};

/// Missed periods that are made up for; more are skipped.
pub const MAX_CATCH_UP: u64 = 8;

/// Shortest period: 100 µs. A shorter one expires only at every n-th of its ticks, so that a guest cannot make the
/// hypervisor do nothing else.
pub const MIN_PERIOD: u64 = 1_000;

/// What an expiry asks of the hypervisor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimerAction {
    /// Send HVMSG_TIMER_EXPIRED (0x80000010) to a SINT: u32 timer index, u32 0, u64 expiration, u64 delivery time. Once it
    /// is in the slot, call [`Stimers::message_delivered`].
    Message {
        /// Target SINT, not 0.
        sint: u8,
        /// Index of the timer.
        timer: u8,
        /// When it expired.
        expiration: u64,
        /// Now.
        delivery: u64,
    },
    /// Raise an edge-triggered interrupt.
    Direct {
        /// APIC vector.
        vector: u8,
    },
}

/// At most one action per timer; to be iterated with `into_iter().flatten()`.
pub type Actions = [Option<TimerAction>; STIMER_COUNT];

/// One timer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stimer {
    pub(crate) config: StimerConfig,
    pub(crate) count: u64,
    /// Next expiry while running. For a periodic timer that lags it may be in the past.
    pub(crate) expiry: Option<u64>,
    /// Not to expire before this time: the pace of catching up.
    pub(crate) not_before: u64,
    /// Expiry of a message that is still to be delivered.
    pub(crate) undelivered: Option<u64>,
}

impl Stimer {
    pub(crate) const RESET: Self = Self {
        config: StimerConfig::new(),
        count: 0,
        expiry: None,
        not_before: 0,
        undelivered: None,
    };

    fn due(&self) -> Option<u64> {
        self.expiry.map(|at| at.max(self.not_before))
    }

    /// The period, stretched to a multiple that is not below the minimum.
    pub(crate) fn period(&self) -> u64 {
        match self.count {
            0 => MIN_PERIOD,
            short if short < MIN_PERIOD => short * MIN_PERIOD.div_ceil(short),
            count => count,
        }
    }

    fn write_config(&mut self, config: StimerConfig, now: u64) {
        let enable = config.enabled() && has_target(config);
        self.config = config.with_enabled(enable);
        self.start(now);
    }

    fn write_count(&mut self, count: u64, now: u64) {
        self.count = count;
        let enable = count != 0
            && (self.config.enabled() || self.config.auto_enable())
            && has_target(self.config);
        self.config = self.config.with_enabled(enable);
        self.start(now);
    }

    /// Starts afresh what the registers describe.
    fn start(&mut self, now: u64) {
        (self.expiry, self.not_before, self.undelivered) = (None, 0, None);
        if self.config.enabled() && self.count != 0 {
            let first =
                if self.config.periodic() { now.saturating_add(self.period()) } else { self.count };
            self.expiry = Some(first);
        }
    }

    /// Passes an expiry that is due.
    fn expire(&mut self, now: u64) -> Option<u64> {
        if self.due().is_none_or(|due| due > now) {
            return None;
        }
        let at = self.expiry?;
        if self.config.periodic() {
            self.next_period(at, now);
        } else {
            self.expiry = None;
            self.config = self.config.with_enabled(false);
        }
        Some(at)
    }

    fn next_period(&mut self, at: u64, now: u64) {
        let period = self.period();
        let missed = now.saturating_sub(at) / period;
        if self.config.lazy() || missed > MAX_CATCH_UP {
            self.expiry = Some(at.saturating_add((missed + 1).saturating_mul(period)));
            self.not_before = 0;
        } else {
            self.expiry = Some(at.saturating_add(period));
            self.not_before = if missed == 0 { 0 } else { now.saturating_add(period / 2) };
        }
    }

    fn message(&self, timer: usize, now: u64) -> Option<TimerAction> {
        let expiration = self.undelivered?;
        Some(TimerAction::Message {
            sint: self.config.sintx(),
            timer: timer as u8,
            expiration,
            delivery: now,
        })
    }
}

/// The synthetic timers of one VP.
#[derive(Clone, Debug)]
pub struct Stimers {
    pub(crate) timers: [Stimer; STIMER_COUNT],
    /// The first of what is due.
    next: Option<u64>,
    direct_offered: bool,
}

impl Stimers {
    /// All stopped. `direct_offered` says that CPUID offers direct mode (0x40000003 EDX bit 19).
    pub const fn new(direct_offered: bool) -> Self {
        Self { timers: [Stimer::RESET; STIMER_COUNT], next: None, direct_offered }
    }

    /// Stops all timers and drops their messages.
    pub fn reset(&mut self) {
        self.timers = [Stimer::RESET; STIMER_COUNT];
        self.changed();
    }

    /// A timer is due at another time than before.
    pub(crate) fn changed(&mut self) {
        self.next = self.timers.iter().filter_map(Stimer::due).min();
    }

    /// Reads STIMERx_CONFIG or STIMERx_COUNT; #GP for any other MSR.
    pub fn read_msr(&self, msr: u32) -> Result<u64, Gp> {
        let (index, is_count) = split(msr).ok_or(Gp)?;
        let timer = self.timers.get(index).ok_or(Gp)?;
        Ok(if is_count { timer.count } else { timer.config.into_bits() })
    }

    /// Writes STIMERx_CONFIG or STIMERx_COUNT; then [`Stimers::next_expiry`] has changed, perhaps to the past.
    ///
    /// #GP for reserved bits, for direct mode that is not offered, and for any other MSR. Any write starts the timer
    /// afresh, drops its undelivered message, and disables it if it could not announce its expiry.
    pub fn write_msr(&mut self, msr: u32, value: u64, now: u64) -> Result<(), Gp> {
        let (index, is_count) = split(msr).ok_or(Gp)?;
        let timer = self.timers.get_mut(index).ok_or(Gp)?;
        if is_count {
            timer.write_count(value, now);
            self.changed();
            return Ok(());
        }
        let config = StimerConfig::from_bits(value);
        if value & RESERVED != 0 || config.direct_mode() && !self.direct_offered {
            return Err(Gp);
        }
        timer.write_config(config, now);
        self.changed();
        Ok(())
    }

    /// When [`Stimers::expire`] is to be called next; in the past if it is overdue. `None` while nothing runs.
    #[inline]
    pub const fn next_expiry(&self) -> Option<u64> {
        self.next
    }

    /// Passes all expiries that are due.
    pub fn expire(&mut self, now: u64) -> Actions {
        let mut actions = [None; STIMER_COUNT];
        for (index, (timer, action)) in self.timers.iter_mut().zip(&mut actions).enumerate() {
            let Some(expiration) = timer.expire(now) else { continue };
            *action = if timer.config.direct_mode() {
                Some(TimerAction::Direct { vector: timer.config.apic_vector() })
            } else {
                timer.undelivered.get_or_insert(expiration);
                timer.message(index, now)
            };
        }
        self.changed();
        actions
    }

    /// The messages still to be delivered: to be tried again at EOM, and when a SINT becomes deliverable.
    pub fn undelivered(&self, now: u64) -> Actions {
        core::array::from_fn(|index| {
            self.timers.get(index).and_then(|timer| timer.message(index, now))
        })
    }

    /// The message of this timer is in its slot.
    pub fn message_delivered(&mut self, timer: u8) {
        if let Some(timer) = self.timers.get_mut(usize::from(timer)) {
            timer.undelivered = None;
        }
    }
}

/// Bits of the configuration that must be zero.
pub(crate) const RESERVED: u64 = !0xf_1fff;

/// Can the timer announce anything? Not with SINT 0 (TLFS: such a timer is disabled at once), nor with a vector below 16.
pub(crate) fn has_target(config: StimerConfig) -> bool {
    if config.direct_mode() { config.apic_vector() >= 16 } else { config.sintx() != 0 }
}

/// Timer index, and whether the MSR is COUNT.
fn split(msr: u32) -> Option<(usize, bool)> {
    let offset = msr.checked_sub(msr::STIMER0_CONFIG).filter(|_| msr <= msr::STIMER3_COUNT)?;
    Some((offset as usize / 2, offset & 1 != 0))
}

#[cfg(test)]
#[path = "stimer_tests.rs"]
mod tests;
