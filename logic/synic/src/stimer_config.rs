//! The configuration register of a synthetic timer.

/// STIMERx_CONFIG: enable 0, periodic 1, lazy 2, auto-enable 3, APIC vector 11:4, direct mode 12, SINT 19:16.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StimerConfig(pub u64);

impl StimerConfig {
    /// Bits that must be zero.
    pub(crate) const RESERVED: u64 = !0xf_1fff;

    /// The timer runs (once COUNT is not 0).
    pub const fn enabled(self) -> bool {
        self.0 & 1 != 0
    }

    /// COUNT is a period and not a time.
    pub const fn periodic(self) -> bool {
        self.0 & 2 != 0
    }

    /// Missed periods are skipped rather than made up for.
    pub const fn lazy(self) -> bool {
        self.0 & 4 != 0
    }

    /// Writing COUNT enables the timer.
    pub const fn auto_enable(self) -> bool {
        self.0 & 8 != 0
    }

    /// Vector of direct mode.
    pub const fn vector(self) -> u8 {
        (self.0 >> 4) as u8
    }

    /// Expiry raises a vector instead of sending a message.
    pub const fn direct(self) -> bool {
        self.0 & 1 << 12 != 0
    }

    /// SINT of message mode.
    pub const fn sint(self) -> u8 {
        (self.0 >> 16 & 0xf) as u8
    }

    /// With the enable bit set or cleared.
    pub(crate) const fn with_enabled(self, enabled: bool) -> Self {
        Self(self.0 & !1 | enabled as u64)
    }

    /// Can the timer announce anything? Not with SINT 0 (TLFS: such a timer is disabled at once), nor with a vector
    /// below 16.
    pub(crate) const fn has_target(self) -> bool {
        if self.direct() { self.vector() >= 16 } else { self.sint() != 0 }
    }
}
