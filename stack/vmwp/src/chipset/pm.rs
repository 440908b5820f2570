//! Power management: sleep control, reset control and the PM timer.

use super::ports::SLEEP_TYPE_S5;
use std::time::Duration;

/// Ticks of the PM timer in a second.
const TIMER_HZ: u128 = 3_579_545;

/// Sleep control: go.
const SLEEP_ENABLE: u8 = 1 << 5;
/// Reset control: go, when it changes from 0 to 1.
const RESET_CPU: u8 = 1 << 2;

/// What the guest asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PowerRequest {
    /// Power off.
    Off,
    /// Start anew.
    Reset,
}

/// A write to the sleep control register (ACPI 6.5, section 4.8.3.7): bits 4:2 sleep type, bit 5 go.
pub fn sleep_control(value: u8) -> Option<PowerRequest> {
    let kind = value >> 2 & 7;
    (value & SLEEP_ENABLE != 0 && kind == SLEEP_TYPE_S5).then_some(PowerRequest::Off)
}

/// The reset control register at 0xCF9.
#[derive(Default)]
pub struct ResetControl(u8);

impl ResetControl {
    /// What was written last, without the bit that acts.
    pub fn read(&self) -> u8 {
        self.0
    }

    /// Bit 2 acts; the others are only kept.
    pub fn write(&mut self, value: u8) -> Option<PowerRequest> {
        self.0 = value & !RESET_CPU;
        (value & RESET_CPU != 0).then_some(PowerRequest::Reset)
    }
}

/// The PM timer's value `elapsed` after power-on: 32 bits that wrap.
pub fn timer_at(elapsed: Duration) -> u32 {
    (elapsed.as_nanos() * TIMER_HZ / 1_000_000_000) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_s5_with_the_go_bit_powers_off() {
        assert_eq!(sleep_control(0x34), Some(PowerRequest::Off));
        assert_eq!(sleep_control(0x14), None, "no go");
        assert_eq!(sleep_control(0x20), None, "another type");
    }

    #[test]
    fn the_reset_register_acts_on_its_bit_and_remembers_the_rest() {
        let mut reset = ResetControl::default();
        assert_eq!(reset.write(0x02), None);
        assert_eq!(reset.read(), 0x02);
        assert_eq!(reset.write(0x06), Some(PowerRequest::Reset));
    }

    #[test]
    fn the_timer_runs_at_its_frequency_and_wraps() {
        assert_eq!(timer_at(Duration::ZERO), 0);
        assert_eq!(timer_at(Duration::from_secs(1)), 3_579_545);
        assert_eq!(timer_at(Duration::from_secs(1200)), (3_579_545u64 * 1200) as u32);
    }
}
