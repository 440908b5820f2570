//! The APIC timer: one-shot, periodic and TSC-deadline.
//!
//! The count is never stored; it follows from the tick at which it will reach zero.

use crate::apic::{Apic, Effect};
use crate::deliver::Delivery;
use crate::lvt::Lvt;
use crate::regs::{DIVIDE_MASK, LVT_MASKED};

/// LVT timer bits 18:17.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TimerMode {
    OneShot,
    Periodic,
    Deadline,
    /// The reserved encoding: never fires.
    Stopped,
}

impl TimerMode {
    pub(crate) const fn from_bits(bits: u32) -> Self {
        match bits & 3 {
            0 => Self::OneShot,
            1 => Self::Periodic,
            2 => Self::Deadline,
            _ => Self::Stopped,
        }
    }
}

/// The counter.
#[derive(Clone, Debug)]
pub(crate) struct Timer {
    /// Tick of the next expiry, while running.
    expiry: Option<u64>,
    initial: u32,
    mode: TimerMode,
    clock_shift: u8,
    /// log2 of the ticks per count: clock shift and divider.
    shift: u8,
}

impl Timer {
    /// Stopped; the divider is 2 at reset (divide configuration 0).
    pub(crate) const fn new(clock_shift: u8) -> Self {
        Self {
            expiry: None,
            initial: 0,
            mode: TimerMode::OneShot,
            clock_shift,
            shift: clock_shift + 1,
        }
    }

    pub(crate) const fn clock_shift(&self) -> u8 {
        self.clock_shift
    }

    pub(crate) const fn initial(&self) -> u32 {
        self.initial
    }

    /// Ticks until zero.
    fn remaining(&self, now: u64) -> u64 {
        match self.expiry {
            None => 0,
            Some(at) if at > now => at - now,
            Some(at) if self.mode == TimerMode::Periodic => {
                let period = self.ticks(self.initial).max(1);
                period - (now - at) % period
            }
            Some(_) => 0,
        }
    }

    fn ticks(&self, count: u32) -> u64 {
        u64::from(count) << self.shift
    }

    /// The current count register: equal to the initial count just after the start, 0 from the expiry on.
    pub(crate) fn current(&self, now: u64) -> u32 {
        if matches!(self.mode, TimerMode::Deadline | TimerMode::Stopped) {
            return 0;
        }
        let ticks = self.remaining(now);
        let whole = ticks >> self.shift;
        let part = u64::from(whole << self.shift != ticks);
        u32::try_from(whole + part).unwrap_or(u32::MAX)
    }

    /// Starts with `count` to go, or stops at 0.
    fn run_from(&mut self, count: u32, now: u64) {
        self.expiry = (count != 0).then(|| now.saturating_add(self.ticks(count)));
    }

    fn set_initial(&mut self, count: u32, now: u64) {
        if matches!(self.mode, TimerMode::OneShot | TimerMode::Periodic) {
            self.initial = count;
            self.run_from(count, now);
        }
    }

    fn set_divide(&mut self, divide: u32, now: u64) {
        let count = self.current(now);
        // Encoding: bits 3, 1, 0; 0 is "by 2", …, 6 is "by 128", 7 is "by 1".
        let code = (divide & 3 | divide >> 1 & 4) as u8;
        self.shift = self.clock_shift + ((code + 1) & 7);
        if matches!(self.mode, TimerMode::OneShot | TimerMode::Periodic) {
            self.run_from(count, now);
        }
    }

    fn set_mode(&mut self, mode: TimerMode) {
        let counts = |m| matches!(m, TimerMode::OneShot | TimerMode::Periodic);
        if self.mode != mode && !(counts(self.mode) && counts(mode)) {
            (self.expiry, self.initial) = (None, 0);
        }
        self.mode = mode;
    }

    /// Passes an expiry that is due; all periods up to `now` count as one.
    fn expire(&mut self, now: u64) -> bool {
        let Some(at) = self.expiry.filter(|&at| at <= now) else { return false };
        self.expiry = match (self.mode, self.ticks(self.initial)) {
            (TimerMode::Periodic, period @ 1..) => {
                let missed = (now - at) / period;
                at.checked_add((missed + 1).saturating_mul(period))
            }
            _ => None,
        };
        true
    }

    /// Loads saved counts.
    fn restore(&mut self, mode: TimerMode, initial: u32, current: u32, now: u64) {
        (self.mode, self.expiry, self.initial) = (mode, None, 0);
        if matches!(mode, TimerMode::OneShot | TimerMode::Periodic) {
            self.initial = initial;
            self.run_from(current.min(initial), now);
        }
    }
}

impl Apic {
    /// When the timer must be looked at next, in ticks of `now`; in the past if it is overdue. `None` while it is
    /// stopped or masked (a masked timer counts on, but nobody would notice it reaching zero).
    #[inline]
    pub fn timer_deadline(&self) -> Option<u64> {
        self.timer.expiry.filter(|_| self.lvt(Lvt::Timer) & LVT_MASKED == 0)
    }

    /// Puts the timer off by `ticks`: the guest's time has stood still for so long.
    pub fn postpone_timer(&mut self, ticks: u64) {
        self.timer.expiry = self.timer.expiry.map(|at| at.saturating_add(ticks));
    }

    /// Requests the timer's interrupt if it is due. True if that made its vector pending.
    ///
    /// A hypervisor that lets the interval be as short as a guest likes is kept busy by it: clamp the deadline.
    pub fn expire_timer(&mut self, now: u64) -> bool {
        self.timer.expire(now) && self.signal_lvt(Lvt::Timer) == Delivery::Requested
    }

    /// The deadline MSR: 0 unless armed in the future.
    pub fn tsc_deadline(&self, now: u64) -> u64 {
        match self.timer.mode {
            TimerMode::Deadline => self.timer.expiry.filter(|&at| at > now).unwrap_or(0),
            _ => 0,
        }
    }

    /// Writes the deadline MSR: ignored outside deadline mode, 0 disarms, a time in the past is due at once.
    pub fn write_tsc_deadline(&mut self, deadline: u64, now: u64) -> Effect {
        self.expire_timer(now);
        if self.timer.mode != TimerMode::Deadline {
            return Effect::None;
        }
        self.timer.expiry = Some(deadline).filter(|&at| at != 0);
        Effect::TimerChanged
    }

    pub(crate) fn write_lvt_timer(&mut self, value: u32, now: u64) -> Effect {
        self.expire_timer(now);
        self.write_lvt(Lvt::Timer, value);
        self.timer.set_mode(self.timer_mode());
        Effect::TimerChanged
    }

    pub(crate) fn write_initial_count(&mut self, count: u32, now: u64) -> Effect {
        self.expire_timer(now);
        self.timer.set_initial(count, now);
        Effect::TimerChanged
    }

    pub(crate) fn write_divide(&mut self, value: u32, now: u64) -> Effect {
        self.expire_timer(now);
        self.divide = value & DIVIDE_MASK;
        self.timer.set_divide(self.divide, now);
        Effect::TimerChanged
    }

    /// Loads the timer's saved registers; the LVT entry must be in place.
    pub(crate) fn restore_timer(&mut self, divide: u32, initial: u32, current: u32, now: u64) {
        self.timer.expiry = None;
        self.divide = divide & DIVIDE_MASK;
        self.timer.set_divide(self.divide, now);
        self.timer.restore(self.timer_mode(), initial, current, now);
    }
}
