//! What a partition is entitled to.

use crate::field::Half;
use crate::params::{PERIOD, RESERVABLE};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A fraction of one LP in units of 1/65536, as CPU_RESERVE and CPU_CAP have it (TLFS, partition properties).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Fraction(pub u32);

impl Fraction {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// A whole LP.
    pub const ONE: Self = Self(0x1_0000);

    /// That fraction of an accounting period, in nanoseconds.
    const fn of_period(self) -> u64 {
        self.0 as u64 * PERIOD / Self::ONE.0 as u64
    }
}

/// Whose VPs these are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The parent's: high priority, each bound to its LP.
    Parent,
    /// A child's.
    Child,
}

/// The scheduling parameters of one partition. They may be changed at any time, by anybody.
#[derive(Debug)]
pub struct Share {
    role: Role,
    weight: Half,
    reserve: Half,
    limit: Half,
    /// VPs that are queued or running.
    active: AtomicU32,
}

impl Share {
    /// Weight of a partition of which nothing was said.
    pub const DEFAULT_WEIGHT: u32 = 100;
    /// Highest weight.
    pub const MAX_WEIGHT: u32 = 10_000;

    /// The default weight, no reserve, no limit.
    pub const fn new(role: Role) -> Self {
        Self {
            role,
            weight: Half::new(Self::DEFAULT_WEIGHT),
            reserve: Half::new(0),
            limit: Half::new(Fraction::ONE.0),
            active: AtomicU32::new(0),
        }
    }

    /// Whose VPs these are.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The weight, 1 to [`Self::MAX_WEIGHT`].
    pub fn weight(&self) -> u32 {
        self.weight.get()
    }

    /// Sets the weight; false, and nothing changes, if it is out of range.
    pub fn set_weight(&self, weight: u32) -> bool {
        let valid = (1..=Self::MAX_WEIGHT).contains(&weight);
        if valid {
            self.weight.set(weight);
        }
        valid
    }

    /// What each VP gets if it wants it.
    pub fn reserve(&self) -> Fraction {
        Fraction(self.reserve.get())
    }

    /// Sets the reserve; false if it is more than a whole LP. Whether all reserves together fit the machine, with 5 %
    /// of each LP for the parent, is the caller's to check.
    pub fn set_reserve(&self, reserve: Fraction) -> bool {
        let valid = reserve <= Fraction::ONE;
        if valid {
            self.reserve.set(reserve.0);
        }
        valid
    }

    /// What each VP gets at most.
    pub fn limit(&self) -> Fraction {
        Fraction(self.limit.get())
    }

    /// Sets the limit; false if it is 0 or more than a whole LP.
    pub fn set_limit(&self, limit: Fraction) -> bool {
        let valid = limit > Fraction::ZERO && limit <= Fraction::ONE;
        if valid {
            self.limit.set(limit.0);
        }
        valid
    }

    /// VPs that are queued or running.
    pub fn active(&self) -> u32 {
        self.active.load(Relaxed)
    }

    pub(crate) fn add_active(&self) {
        self.active.fetch_add(1, Relaxed);
    }

    pub(crate) fn remove_active(&self) {
        self.active.fetch_sub(1, Relaxed);
    }

    /// Nanoseconds per period that each VP may run, if there is a limit.
    pub(crate) fn limit_ns(&self) -> Option<i64> {
        let limit = self.limit();
        (limit < Fraction::ONE).then(|| limit.of_period().cast_signed())
    }

    /// Nanoseconds per period that each VP is owed.
    pub(crate) fn reserve_ns(&self) -> i64 {
        self.reserve().of_period().min(RESERVABLE).cast_signed()
    }
}
