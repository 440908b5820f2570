//! One SINT register, and what signalling a SINT means.

/// SINTs per VP.
pub const SINTS: u8 = 16;

/// A SINT register: vector 7:0, masked 16, auto-EOI 17, polling 18, as-intercept 19, proxy 20; the rest is preserved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sint(pub u64);

impl Sint {
    /// Masked, as after creation and reset.
    pub const RESET: Self = Self(1 << 16);

    /// The APIC vector.
    pub const fn vector(self) -> u8 {
        self.0 as u8
    }

    /// No interrupts, and no messages unless polling.
    pub const fn masked(self) -> bool {
        self.0 & 1 << 16 != 0
    }

    /// The interrupt needs no EOI.
    pub const fn auto_eoi(self) -> bool {
        self.0 & 1 << 17 != 0
    }

    /// Unmasked but for the interrupt.
    pub const fn polling(self) -> bool {
        self.0 & 1 << 18 != 0
    }

    /// The event ring of this SINT is announced by a SYNIC_SINT_INTERCEPT message in SINT 0 (root only).
    pub const fn as_intercept(self) -> bool {
        self.0 & 1 << 19 != 0
    }

    /// May a guest write this value? Vectors below 16 only go with the mask: Windows writes 0 that way.
    pub const fn is_valid(self) -> bool {
        self.vector() >= 16 || self.masked()
    }
}

/// How a VP hears of a message, flag or ring entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// By an edge-triggered interrupt.
    Interrupt {
        /// APIC vector.
        vector: u8,
        /// The hypervisor ends the interrupt on delivery; see [`crate::Synic::is_auto_eoi`].
        auto_eoi: bool,
    },
    /// Not at all: the guest polls.
    Polled,
    /// By a SYNIC_SINT_INTERCEPT message naming the SINT: [`crate::RootQueue::push_sint`].
    Intercept,
}

/// Why a SINT takes nothing now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blocked {
    /// There is no such SINT or flag.
    Invalid,
    /// SCONTROL bit 0 is clear.
    SynicDisabled,
    /// The page is not enabled.
    PageDisabled,
    /// The SINT is masked.
    Masked,
}
