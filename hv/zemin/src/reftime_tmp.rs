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
}

impl RefTime {
    /// The clock that shows `time` when the TSC is `tsc`: (now, 0) for a new partition; after a pause or migration
    /// the TSC then and the time at which the partition stopped.
    pub const fn new(tsc_hz: u64, tsc: u64, time: u64) -> Self {
        let scale = scale(tsc_hz);
        Self { scale, offset: time.wrapping_sub(mul_high(tsc, scale)) as i64 }
    }

    /// Scale for the reference TSC page.
    pub const fn scale(&self) -> u64 {
        self.scale
    }

    /// Offset for the reference TSC page.
    pub const fn offset(&self) -> i64 {
        self.offset
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
        let tsc = ((units as u128) << 64).div_ceil(self.scale as u128);
        if tsc > u64::MAX as u128 { u64::MAX } else { tsc as u64 }
    }
}

const fn mul_high(a: u64, b: u64) -> u64 {
    ((a as u128 * b as u128) >> 64) as u64
}

