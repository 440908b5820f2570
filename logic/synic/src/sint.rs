//! What signalling a SINT means.

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
