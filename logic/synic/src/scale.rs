//! One clock's ticks as another's: a multiplication and a shift, no division.

/// Nanoseconds in a second.
const NS: u64 = 1_000_000_000;

/// `a` / `b` times 2^32, rounded down; `b` is not 0.
pub const fn ratio(a: u64, b: u64) -> u64 {
    (((a as u128) << 32) / b as u128) as u64
}

/// `value` times a [`ratio`], rounded down; the largest number if it is more.
#[inline]
pub const fn scaled(value: u64, ratio: u64) -> u64 {
    let product = (value as u128 * ratio as u128) >> 32;
    if product > u64::MAX as u128 { u64::MAX } else { product as u64 }
}

/// Nanoseconds by the TSC, from some moment on. As long as it ticks evenly, nobody compares it with other clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NsClock {
    start: u64,
    /// Nanoseconds per tick.
    ns: u64,
    /// Ticks per nanosecond.
    ticks: u64,
}

impl NsClock {
    /// The clock that shows 0 when the TSC, of `tsc_hz` (not 0), is `start`, and before.
    pub const fn new(tsc_hz: u64, start: u64) -> Self {
        Self { start, ns: ratio(NS, tsc_hz), ticks: ratio(tsc_hz, NS) }
    }

    /// Nanoseconds at `tsc`. Monotonic in `tsc`.
    #[inline]
    pub const fn at(&self, tsc: u64) -> u64 {
        scaled(tsc.saturating_sub(self.start), self.ns)
    }

    /// Ticks in `ns`.
    #[inline]
    pub const fn ticks(&self, ns: u64) -> u64 {
        scaled(ns, self.ticks)
    }

    /// A value of the TSC at which the clock shows at least `ns` more than at `tsc`, which is not before the start; later than necessary by
    /// what rounding may take, some nanoseconds and a millionth of `ns`.
    #[inline]
    pub const fn tsc_in(&self, tsc: u64, ns: u64) -> u64 {
        let ns = ns.saturating_add((ns >> 24) + 1);
        tsc.saturating_add(self.ticks(ns)).saturating_add(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_second_is_a_second() {
        for hz in [1_000_000, 999_999_000, NS, 2_399_998_000, 5_000_000_000] {
            let clock = NsClock::new(hz, 7);
            assert!((NS - 1000..=NS).contains(&clock.at(7 + hz)), "{hz}");
            assert!((hz - 1..=hz).contains(&clock.ticks(NS)), "{hz}");
        }
    }

    #[test]
    fn what_is_too_much_is_the_largest_number() {
        assert_eq!(scaled(u64::MAX, ratio(2, 1)), u64::MAX);
        assert_eq!(NsClock::new(NS, 9).tsc_in(10, u64::MAX), u64::MAX);
        assert_eq!(NsClock::new(NS, 9).at(8), 0);
    }

    proptest! {
        #[test]
        fn a_moment_is_not_early_and_hardly_late(hz in 1_000_000u64..1 << 36, start in 0u64..1 << 50,
                                                 since in 0u64..1 << 50, ns in 0u64..NS) {
            let clock = NsClock::new(hz, start);
            let tsc = start + since;
            let then = clock.tsc_in(tsc, ns);
            let shown = clock.at(then) - clock.at(tsc);
            prop_assert!(shown >= ns);
            let tick = NS.div_ceil(hz);
            prop_assert!(shown <= ns + 3 + 4 * tick + (ns >> 20));
        }
    }
}
