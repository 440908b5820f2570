//! Partition reference time: 100 ns units since the partition was created, derived from the TSC.
//!
//! The same formula serves the reference TSC page (guests compute it themselves) and MSR TIME_REF_COUNT, so the two
//! agree to the unit: `time = ((tsc × scale) >> 64) + offset` (TLFS 12.7.3).

/// Units of reference time per second.
pub const HZ: u64 = 10_000_000;

/// The scale of a TSC of `tsc_hz`: 2^64 × 10^7 / Hz, rounded down.
///
/// The format cannot express a TSC of 10 MHz or less; such a frequency gives the largest scale, i.e. one unit per tick.
pub const fn scale(tsc_hz: u64) -> u64 {
    if tsc_hz <= HZ {
        return u64::MAX;
    }
    (((HZ as u128) << 64) / tsc_hz as u128) as u64
}

/// The reference clock of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RefTime {
    scale: u64,
    offset: i64,
    /// Ticks per unit times 2^64, rounded down.
    inverse: u128,
}

impl RefTime {
    /// The clock that shows `time` when the TSC is `tsc`: (now, 0) for a new partition; after a pause or migration
    /// the TSC then and the time at which the partition stopped.
    pub const fn new(tsc_hz: u64, tsc: u64, time: u64) -> Self {
        let scale = scale(tsc_hz);
        let offset = time.wrapping_sub(mul_high(tsc, scale)) as i64;
        Self { scale, offset, inverse: u128::MAX / scale as u128 }
    }

    /// Scale for the reference TSC page.
    pub const fn scale(&self) -> u64 {
        self.scale
    }

    /// Offset for the reference TSC page.
    pub const fn offset(&self) -> i64 {
        self.offset
    }

    /// The clock that shows `units` less at every count.
    #[inline]
    pub const fn later_by(&self, units: u64) -> Self {
        Self { offset: self.offset.wrapping_sub_unsigned(units), ..*self }
    }

    /// Reference time at `tsc`, modulo 2^64.
    pub const fn unbounded(&self, tsc: u64) -> u64 {
        mul_high(tsc, self.scale).wrapping_add_signed(self.offset)
    }

    /// Reference time at `tsc`; 0 where it would be negative. Monotonic in `tsc`.
    #[inline]
    pub const fn tsc_to_100ns(&self, tsc: u64) -> u64 {
        mul_high(tsc, self.scale).saturating_add_signed(self.offset)
    }

    /// The first TSC value whose reference time is `time` or later; `u64::MAX` if the TSC never gets there.
    #[inline]
    pub const fn tsc_from_100ns(&self, time: u64) -> u64 {
        let units = time as i128 - self.offset as i128;
        if units <= 0 {
            return 0;
        }
        // More units than 64 bits: beyond what a TSC can count, as the scale is below 1.
        if units > u64::MAX as i128 {
            return u64::MAX;
        }
        let units = units as u64;
        // `units * 2^64 / scale`, without a division. What rounding took is less than a tick each, so that this is up to two
        // ticks early, never late.
        let whole = (self.inverse >> 64) * units as u128;
        let tsc = whole + mul_high(self.inverse as u64, units) as u128;
        if tsc > u64::MAX as u128 {
            return u64::MAX;
        }
        let mut tsc = tsc as u64;
        while tsc < u64::MAX && mul_high(tsc, self.scale) < units {
            tsc += 1;
        }
        tsc
    }
}

const fn mul_high(a: u64, b: u64) -> u64 {
    ((a as u128 * b as u128) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_second_of_ticks_is_one_second() {
        for hz in [10_000_001, 1_000_000_000, 2_399_998_000, 5_000_000_000, 1 << 40] {
            let clock = RefTime::new(hz, 0, 0);
            assert!((HZ - 1..=HZ).contains(&clock.tsc_to_100ns(hz)), "{hz}");
            let day = clock.tsc_to_100ns(hz * 86_400);
            assert!((HZ * 86_400 - 1..=HZ * 86_400).contains(&day), "{hz}");
        }
    }

    #[test]
    fn a_tsc_too_slow_for_the_format_counts_ticks() {
        for hz in [0, 1, HZ] {
            assert_eq!(RefTime::new(hz, 0, 0).tsc_to_100ns(1 << 32), (1 << 32) - 1);
        }
    }

    #[test]
    fn time_goes_on_where_it_stopped() {
        let before = RefTime::new(3_000_000_000, 1_000, 0);
        let stopped = before.tsc_to_100ns(9_000_000_000_000);
        let after = RefTime::new(2_000_000_000, 77, stopped);
        assert_eq!(after.tsc_to_100ns(77), stopped);
        assert!((HZ - 1..=HZ).contains(&(after.tsc_to_100ns(77 + 2_000_000_000) - stopped)));
    }

    proptest! {
        #[test]
        fn time_is_monotonic_and_matches_the_page(hz in 10_000_001u64..1 << 36, origin in 0u64..1 << 60,
                                                  start in 0u64..1 << 60, a in 0u64..1 << 60, b in 0u64..1 << 60) {
            let clock = RefTime::new(hz, origin, start);
            let (a, b) = (origin + a.min(b), origin + a.max(b));
            prop_assert!(clock.tsc_to_100ns(a) <= clock.tsc_to_100ns(b));
            prop_assert_eq!(clock.tsc_to_100ns(origin), start);
            let page = ((u128::from(a) * u128::from(clock.scale())) >> 64) as u64;
            prop_assert_eq!(clock.tsc_to_100ns(a), page.wrapping_add(clock.offset() as u64));
        }

        #[test]
        fn the_inverse_is_the_first_tick(hz in 10_000_001u64..1 << 36, origin in any::<u64>(), start in any::<u64>(),
                                         time in any::<u64>()) {
            let clock = RefTime::new(hz, origin, start);
            let tsc = clock.tsc_from_100ns(time);
            if tsc != u64::MAX {
                prop_assert!(clock.tsc_to_100ns(tsc) >= time);
            }
            if tsc != 0 {
                prop_assert!(clock.tsc_to_100ns(tsc - 1) < time);
            }
        }
    }
}
