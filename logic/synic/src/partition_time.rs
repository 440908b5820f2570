//! The time of one partition: its time-stamp counter and its reference time, which stand still together while it is frozen.
//!
//! ```text
//!   machine's counter ──+ skew──> partition's counter ──RefTime, less origin──> reference time
//!                       the processor adds it            MSR, timers and page use the one formula: never a unit apart
//! ```
//!
//! Deadlines inside the hypervisor are counts of the machine's counter; only what a guest or a VMM sees is converted.

use crate::reftime::RefTime;

/// How a partition's time follows from the machine's counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PartitionTime {
    /// The partition's counter less the machine's.
    skew: u64,
    /// What reference time would show without it, less what it shows.
    origin: u64,
    /// Ticks for which it has stood still so far.
    paused: u64,
    /// The machine's counter when it stopped.
    stopped: Option<u64>,
}

impl PartitionTime {
    /// The machine's own time.
    pub const fn new() -> Self {
        Self { skew: 0, origin: 0, paused: 0, stopped: None }
    }

    /// The partition's counter less the machine's, while it runs.
    #[inline]
    pub const fn skew(&self) -> u64 {
        self.skew
    }

    /// Ticks for which it has stood still, all in all.
    pub const fn paused(&self) -> u64 {
        self.paused
    }

    /// The partition's reference clock by its own counter: what its reference TSC page says.
    #[inline]
    pub const fn reference(&self, machine: &RefTime) -> RefTime {
        machine.later_by(self.origin)
    }

    /// Reference time at a count of the machine's counter. Takes no notice of a stop.
    #[inline]
    pub const fn at(&self, machine: &RefTime, tsc: u64) -> u64 {
        self.reference(machine).tsc_to_100ns(tsc.wrapping_add(self.skew))
    }

    /// The first count of the machine's counter at which reference time is `time` or later; 0 if it was always,
    /// `u64::MAX` if it never will be.
    #[inline]
    pub const fn due(&self, machine: &RefTime, time: u64) -> u64 {
        match self.reference(machine).tsc_from_100ns(time) {
            u64::MAX => u64::MAX,
            tsc => {
                let tsc = tsc.wrapping_sub(self.skew);
                // Before the machine's counter began.
                if tsc > i64::MAX as u64 { 0 } else { tsc }
            }
        }
    }

    /// `now`, or the moment of the stop.
    pub fn moment(&self, now: u64) -> u64 {
        self.stopped.unwrap_or(now)
    }

    /// What the partition's counter shows.
    pub fn tsc(&self, now: u64) -> u64 {
        self.moment(now).wrapping_add(self.skew)
    }

    /// What its reference time shows.
    pub fn time(&self, machine: &RefTime, now: u64) -> u64 {
        self.at(machine, self.moment(now))
    }

    /// Makes reference time show `time`; the counter goes on.
    pub fn set_time(&mut self, machine: &RefTime, now: u64, time: u64) {
        self.origin = machine.unbounded(self.tsc(now)).wrapping_sub(time);
    }

    /// Makes the counter show `tsc`; reference time goes on.
    pub fn set_tsc(&mut self, machine: &RefTime, now: u64, tsc: u64) {
        let time = self.time(machine, now);
        self.skew = tsc.wrapping_sub(self.moment(now));
        self.set_time(machine, now, time);
    }

    /// Stops both. The partition's processors do not run, or its guest sees more than it should.
    pub fn stop(&mut self, now: u64) {
        self.stopped = Some(self.moment(now));
    }

    /// Lets both go on from where they stopped.
    pub fn resume(&mut self, now: u64) {
        if let Some(since) = self.stopped.take() {
            let length = now.wrapping_sub(since);
            self.paused = self.paused.wrapping_add(length);
            self.skew = self.skew.wrapping_sub(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HZ: u64 = 2_600_000_000;
    /// The counter when the hypervisor started.
    const START: u64 = 5_000_000_000;

    fn machine() -> RefTime {
        RefTime::new(HZ, START, 0)
    }

    /// What a guest computes from its own counter and the page.
    fn page(time: &PartitionTime, tsc: u64) -> u64 {
        let clock = time.reference(&machine());
        let product = (u128::from(tsc) * u128::from(clock.scale())) >> 64;
        (product as u64).wrapping_add(clock.offset() as u64)
    }

    #[test]
    fn a_frozen_partition_sees_no_time_go_by() {
        let machine = machine();
        let mut time = PartitionTime::new();
        let created = START + HZ;
        time.set_time(&machine, created, 0);
        time.stop(created + 100);
        let (shown, tsc) = (time.time(&machine, created + 100), time.tsc(created + 100));
        time.stop(created + HZ);
        assert_eq!((time.time(&machine, created + HZ), time.tsc(created + HZ)), (shown, tsc));
        time.resume(created + 3 * HZ);
        time.resume(created + 4 * HZ);
        assert_eq!(
            (time.time(&machine, created + 3 * HZ), time.tsc(created + 3 * HZ)),
            (shown, tsc)
        );
        assert_eq!(time.paused(), 3 * HZ - 100);
    }

    #[test]
    fn the_counter_can_be_set_and_reference_time_goes_on() {
        let machine = machine();
        let mut time = PartitionTime::new();
        let now = START + 7 * HZ;
        time.set_time(&machine, now, 1_000_000_000);
        for value in [0, 1 << 40, START, u64::MAX / 4] {
            time.set_tsc(&machine, now, value);
            assert_eq!((time.tsc(now), time.time(&machine, now)), (value, 1_000_000_000));
            assert_eq!(time.tsc(now + 5), value + 5);
        }
    }

    #[test]
    fn a_clock_that_is_ahead_of_the_machine_still_has_deadlines() {
        let machine = machine();
        let mut time = PartitionTime::new();
        let now = START + HZ;
        // A snapshot of a guest that ran for a year.
        let year = 365 * 86_400 * 10_000_000;
        time.set_time(&machine, now, year);
        assert_eq!(time.due(&machine, 5), 0);
        let second = time.due(&machine, year + 10_000_000);
        // A unit more or less.
        assert!((now + HZ).abs_diff(second) <= 260, "{second}");
        assert_eq!(time.due(&machine, u64::MAX), u64::MAX);
    }

    proptest! {
        #[test]
        fn page_register_and_deadline_agree(
            shown in 0u64..1 << 50, tsc in proptest::option::of(0u64..1 << 60), pause in 0u64..1 << 45,
            later in 0u64..1 << 45, wait in 0u64..1 << 40,
        ) {
            let machine = machine();
            let mut time = PartitionTime::new();
            let now = START + HZ;
            time.set_time(&machine, now, shown);
            if let Some(tsc) = tsc {
                time.set_tsc(&machine, now, tsc);
            }
            time.stop(now);
            time.resume(now + pause);
            let at = now + pause + later;
            let register = time.time(&machine, at);
            prop_assert!(register >= shown);
            prop_assert_eq!(page(&time, time.tsc(at)), register);
            let due = time.due(&machine, register + wait);
            prop_assert!(time.at(&machine, due) >= register + wait);
            prop_assert!(time.at(&machine, due - 1) < register + wait || due <= at);
        }

        #[test]
        fn any_values_can_be_set(time in any::<u64>(), tsc in any::<u64>(), now in any::<u64>(), then in any::<u64>()) {
            let mut clock = PartitionTime::new();
            clock.set_time(&machine(), now, time);
            clock.set_tsc(&machine(), now, tsc);
            clock.stop(now);
            clock.resume(then);
            let _ = (clock.due(&machine(), time), clock.time(&machine(), then));
        }
    }
}
