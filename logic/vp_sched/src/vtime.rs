//! Virtual time: time run, divided by weight.

use crate::share::Share;

/// A point in virtual time. It wraps; two points are compared by their distance, which stays small.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VTime(pub u64);

impl VTime {
    /// Whether `self` comes before `other`.
    pub const fn is_before(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() < 0
    }

    /// The later of two.
    pub const fn max(self, other: Self) -> Self {
        if self.is_before(other) { other } else { self }
    }

    /// The earlier of two.
    pub const fn min(self, other: Self) -> Self {
        if other.is_before(self) { other } else { self }
    }

    /// `span` later.
    pub const fn after(self, span: u64) -> Self {
        Self(self.0.wrapping_add(span))
    }

    /// `span` earlier.
    pub const fn back(self, span: u64) -> Self {
        Self(self.0.wrapping_sub(span))
    }

    /// Moved into the range from `from` to `to`.
    pub const fn clamp(self, from: Self, to: Self) -> Self {
        self.max(from).min(to)
    }
}

/// What `ns` of running cost one of the share's VPs in virtual time: 64 units per nanosecond at weight 1, divided by
/// the weight, times the number of VPs among which the weight is divided. At least 1.
pub(crate) fn cost(share: &Share, ns: u64) -> u64 {
    // 18 minutes, so that the product stays below 2^54.
    const LONGEST: u64 = 1 << 40;
    let vps = u64::from(share.active().clamp(1, 256));
    (ns.min(LONGEST) * 64 * vps / u64::from(share.weight())).max(1)
}

/// The weight of one of the share's VPs, in 1/256.
pub(crate) fn load(share: &Share) -> u64 {
    u64::from(share.weight()) * 256 / u64::from(share.active().clamp(1, 256))
}
