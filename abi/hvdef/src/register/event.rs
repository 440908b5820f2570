//! Registers about events and about whether the VP runs.

use bitfield_struct::bitfield;
use wire::open_enum;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

open_enum! {
    /// TLFS `HV_X64_PENDING_INTERRUPTION_TYPE`.
    pub struct InterruptionType(u8) {
        /// External interrupt.
        INTERRUPT = 0;
        /// Non-maskable interrupt.
        NMI = 2;
        /// Hardware exception.
        EXCEPTION = 3;
        /// INT n.
        SOFTWARE_INTERRUPT = 4;
        /// INT1.
        PRIVILEGED_SOFTWARE_EXCEPTION = 5;
        /// INT3, INTO.
        SOFTWARE_EXCEPTION = 6;
    }
}

/// [`PENDING_INTERRUPTION`](super::RegisterName::PENDING_INTERRUPTION): the event under way when the VP stopped, to be
/// delivered when it goes on.
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PendingInterruption {
    /// There is one.
    pub pending: bool,
    /// An [`InterruptionType`]; see [`Self::kind`].
    #[bits(3)]
    pub interruption_type: u8,
    /// With error code.
    pub deliver_error_code: bool,
    /// Of the instruction that caused it, for software ones.
    #[bits(4)]
    pub instruction_length: u8,
    /// It came from the nested level.
    pub nested: bool,
    #[bits(6)]
    __: u8,
    /// Vector.
    pub vector: u16,
    /// Error code.
    pub error_code: u32,
}

impl PendingInterruption {
    /// Kind of event.
    pub const fn kind(self) -> InterruptionType {
        InterruptionType(self.interruption_type())
    }
}

/// [`INTERRUPT_STATE`](super::RegisterName::INTERRUPT_STATE).
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct InterruptState {
    /// After STI or a load of SS.
    pub interrupt_shadow: bool,
    /// Between an NMI and its IRET.
    pub nmi_masked: bool,
    #[bits(62)]
    __: u64,
}

/// [`PENDING_EVENT0`](super::RegisterName::PENDING_EVENT0) as an exception (type 0). It is an u128.
#[bitfield(u128)]
#[derive(PartialEq, Eq)]
pub struct ExceptionEvent {
    /// There is one.
    pub pending: bool,
    /// 0 exception, 1 memory, 2 SynIC intercept, 5 SEV.
    #[bits(3)]
    pub event_type: u8,
    #[bits(4)]
    __: u8,
    /// With error code.
    pub deliver_error_code: bool,
    #[bits(7)]
    __: u8,
    /// Vector.
    pub vector: u16,
    /// Error code.
    pub error_code: u32,
    /// CR2 of a page fault, DR6 of a debug exception.
    pub parameter: u64,
}

/// [`EXPLICIT_SUSPEND`](super::RegisterName::EXPLICIT_SUSPEND), INTERCEPT_SUSPEND and DISPATCH_SUSPEND.
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Suspend {
    /// The VP does not run for this reason.
    pub suspended: bool,
    #[bits(63)]
    __: u64,
}

/// [`INTERNAL_ACTIVITY_STATE`](super::RegisterName::INTERNAL_ACTIVITY_STATE).
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct InternalActivity {
    /// Waits for a start-up IPI.
    pub startup_suspend: bool,
    /// Halted.
    pub halt_suspend: bool,
    /// Idle by the guest idle MSR.
    pub idle_suspend: bool,
    #[bits(61)]
    __: u64,
}

/// [`DELIVERABILITY_NOTIFICATIONS`](super::RegisterName::DELIVERABILITY_NOTIFICATIONS): send a message when one of these
/// could be delivered. A bit clears itself with its message.
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Deliverability {
    /// An NMI.
    pub nmi: bool,
    /// An interrupt.
    pub interrupt: bool,
    /// Above this priority.
    #[bits(4)]
    pub interrupt_priority: u8,
    #[bits(42)]
    __: u64,
    /// A message to one of these SINTs.
    pub sints: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_page_fault_is_taken_apart() {
        let pending = PendingInterruption::from_bits(0x0000_0002_000E_0017);
        assert!(pending.pending() && pending.deliver_error_code());
        assert_eq!(pending.kind(), InterruptionType::EXCEPTION);
        assert_eq!((pending.vector(), pending.error_code()), (14, 2));
    }

    #[test]
    fn an_exception_event_has_its_parameter_in_the_upper_half() {
        let event = ExceptionEvent::new()
            .with_pending(true)
            .with_deliver_error_code(true)
            .with_vector(14)
            .with_error_code(2)
            .with_parameter(0xDEAD_B000);
        assert_eq!(event.into_bits(), 0xDEAD_B000 << 64 | 0x0000_0002_000E_0101);
    }

    #[test]
    fn deliverability_has_the_sints_on_top() {
        let sint2 = Deliverability::from_bits(0x0004_0000_0000_0002);
        assert!(sint2.interrupt() && !sint2.nmi());
        assert_eq!(sint2.sints(), 1 << 2);
    }
}
