//! SynIC messages: types, header, payloads (TLFS, "Messages" and "Intercepts").
//!
//! A message is 256 bytes: a header of 16 and a payload of up to 240. The same form is used in the slots of a message
//! page, in the intercept message page of a VP and, less the slot, in POST_MESSAGE.

mod intercept;
mod synic;

pub use intercept::{
    AccessType, ApicEoi, CpuidIntercept, ExceptionIntercept, ExecutionState, HypercallIntercept,
    InstructionInfo, InterceptHeader, InterruptionDeliverable, InvalidVpRegisterValue,
    IoPortAccessInfo, IoPortIntercept, MemoryAccessInfo, MemoryIntercept, MsrIntercept,
    SintDeliverable, SipiIntercept, UnsupportedFeature,
};
pub use synic::{
    AsyncCallCompletion, OpaqueIntercept, SintIntercept, TimerExpired, VpSignalBitset, VpSignalPair,
};

use bitfield_struct::bitfield;
use wire::{layout, open_enum, wire};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Bytes of a message with its header.
pub const MESSAGE_SIZE: usize = 256;
/// Most bytes of a payload.
pub const PAYLOAD_MAX: usize = 240;

open_enum! {
    /// TLFS `HV_MESSAGE_TYPE`. Types from 0x80000000 are the hypervisor's own.
    pub struct MessageType(u32) {
        /// The slot is free.
        NONE = 0x0000_0000;
        /// The only type VMBus uses.
        VMBUS = 0x0000_0001;
        /// Access to a GPA without memory.
        UNMAPPED_GPA = 0x8000_0000;
        /// Access that the mapping of the GPA does not allow.
        GPA_INTERCEPT = 0x8000_0001;
        /// A synthetic timer expired.
        TIMER_EXPIRED = 0x8000_0010;
        /// A register holds what the processor does not take.
        INVALID_VP_REGISTER_VALUE = 0x8000_0020;
        /// Triple fault.
        UNRECOVERABLE_EXCEPTION = 0x8000_0021;
        /// The VP did what the hypervisor cannot virtualize.
        UNSUPPORTED_FEATURE = 0x8000_0022;
        /// A VP stopped; its intercept message page tells why.
        OPAQUE_INTERCEPT = 0x8000_003F;
        /// A trace buffer is full.
        EVENTLOG_BUFFER_COMPLETE = 0x8000_0040;
        /// A hypercall that its parent wants to see.
        HYPERCALL_INTERCEPT = 0x8000_0050;
        /// Event on a SINT in proxy mode.
        SYNIC_EVENT_INTERCEPT = 0x8000_0060;
        /// An event ring has entries.
        SYNIC_SINT_INTERCEPT = 0x8000_0061;
        /// Message slots are free again.
        SYNIC_SINT_DELIVERABLE = 0x8000_0062;
        /// A hypercall that answered CALL_PENDING is done.
        ASYNC_CALL_COMPLETION = 0x8000_0070;
        /// VPs have something to do (root scheduler).
        SCHEDULER_VP_SIGNAL_BITSET = 0x8000_0100;
        /// VPs have something to do (root scheduler).
        SCHEDULER_VP_SIGNAL_PAIR = 0x8000_0101;
        /// IN, OUT, INS, OUTS.
        X64_IO_PORT_INTERCEPT = 0x8001_0000;
        /// RDMSR, WRMSR.
        X64_MSR_INTERCEPT = 0x8001_0001;
        /// CPUID.
        X64_CPUID_INTERCEPT = 0x8001_0002;
        /// An exception.
        X64_EXCEPTION_INTERCEPT = 0x8001_0003;
        /// End of a level-triggered interrupt.
        X64_APIC_EOI = 0x8001_0004;
        /// FERR.
        X64_LEGACY_FP_ERROR = 0x8001_0005;
        /// A page request of an IOMMU.
        X64_IOMMU_PRQ = 0x8001_0006;
        /// HLT.
        X64_HALT = 0x8001_0007;
        /// An interrupt, exception or NMI could be delivered now.
        X64_INTERRUPTION_DELIVERABLE = 0x8001_0008;
        /// A start-up IPI.
        X64_SIPI_INTERCEPT = 0x8001_0009;
    }
}

impl MessageType {
    /// Whether only the hypervisor may send it.
    pub const fn is_hypervisor(self) -> bool {
        self.0 >> 31 != 0
    }
}

/// TLFS `HV_MESSAGE_FLAGS`.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct MessageFlags {
    /// Another message waits for this slot: the guest writes EOM once it is free.
    pub message_pending: bool,
    #[bits(7)]
    __: u8,
}

wire! {
    /// TLFS `HV_MESSAGE_HEADER`, the first 16 bytes of every slot.
    pub struct MessageHeader {
        /// Stored last by the sender and cleared by the receiver: this field is the hand-over.
        pub message_type: MessageType,
        /// Bytes of the payload.
        pub payload_size: u8,
        /// Flags.
        pub flags: MessageFlags,
        /// 0.
        pub reserved: [u8; 2],
        /// Partition that sent it, or port id it came through.
        pub sender: u64,
    }

    /// TLFS `HV_MESSAGE`.
    pub struct Message {
        /// What and how much.
        pub header: MessageHeader,
        /// Defined by the type, as far as the header says.
        pub payload: [u8; PAYLOAD_MAX],
    }
}
layout!(
    MessageHeader, 16, message_type @ 0, payload_size @ 4, flags @ 5, reserved @ 6, sender @ 8
);
layout!(Message, 256, header @ 0, payload @ 16);

impl Message {
    /// A message with `payload` at its beginning and zeros after it.
    ///
    /// `None` if the payload is longer than [`PAYLOAD_MAX`].
    pub fn new(message_type: MessageType, sender: u64, payload: &[u8]) -> Option<Self> {
        let mut message = Self {
            header: MessageHeader {
                message_type,
                payload_size: u8::try_from(payload.len()).ok()?,
                flags: MessageFlags::new(),
                reserved: [0; 2],
                sender,
            },
            payload: [0; PAYLOAD_MAX],
        };
        message.payload.get_mut(..payload.len())?.copy_from_slice(payload);
        Some(message)
    }

    /// A message whose payload is `value`. One too large does not compile.
    pub fn of<T: IntoBytes + Immutable>(message_type: MessageType, sender: u64, value: &T) -> Self {
        const { assert!(size_of::<T>() <= PAYLOAD_MAX) };
        let mut message = Self::new_zeroed();
        message.header.message_type = message_type;
        message.header.payload_size = size_of::<T>() as u8;
        message.header.sender = sender;
        for (to, from) in message.payload.iter_mut().zip(value.as_bytes()) {
            *to = *from;
        }
        message
    }

    /// As much of the payload as the header announces, at most all of it.
    pub fn payload(&self) -> &[u8] {
        self.payload.get(..usize::from(self.header.payload_size)).unwrap_or(&self.payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_carries_its_payload_and_nothing_else() {
        let message = Message::new(MessageType::OPAQUE_INTERCEPT, 7, &[1, 2, 3]).unwrap();
        assert_eq!(message.payload(), [1, 2, 3]);
        assert!(message.payload[3..].iter().all(|&byte| byte == 0));
        assert_eq!(message.as_bytes()[..6], [0x3F, 0, 0, 0x80, 3, 0]);
        assert_eq!(message.as_bytes()[8], 7);
    }

    #[test]
    fn a_typed_payload_is_found_again() {
        let sent = OpaqueIntercept { vp_index: crate::VpIndex(3) };
        let message = Message::of(MessageType::OPAQUE_INTERCEPT, 7, &sent);
        assert_eq!(message.header.payload_size, 4);
        assert_eq!(OpaqueIntercept::read_from_bytes(message.payload()), Ok(sent));
        assert_eq!(Some(message), Message::new(MessageType::OPAQUE_INTERCEPT, 7, sent.as_bytes()));
    }

    #[test]
    fn a_payload_that_is_too_long_makes_no_message() {
        assert!(Message::new(MessageType::VMBUS, 0, &[0; PAYLOAD_MAX]).is_some());
        assert!(Message::new(MessageType::VMBUS, 0, &[0; PAYLOAD_MAX + 1]).is_none());
    }

    #[test]
    fn a_header_that_announces_too_much_yields_the_whole_payload() {
        let mut message = Message::new(MessageType::VMBUS, 0, &[]).unwrap();
        message.header.payload_size = 255;
        assert_eq!(message.payload().len(), PAYLOAD_MAX);
    }
}
