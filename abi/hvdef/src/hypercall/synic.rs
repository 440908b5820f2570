//! Ports, connections, messages, events (TLFS, "Inter-Partition Communication"; doorbells and direct calls from Linux
//! `hvhdk.h` and the published VMM crates).

use crate::id::{ProximityDomain, Vtl};
use crate::message::{MESSAGE_SIZE, MessageType, PAYLOAD_MAX};
use crate::synic::{ConnectionId, PortId};
use crate::{PartitionId, VpIndex};
use bitfield_struct::bitfield;
use wire::{layout, open_enum, wire};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

wire! {
    /// [`POST_MESSAGE`](super::HypercallCode::POST_MESSAGE).
    pub struct PostMessage {
        /// Through which connection.
        pub connection_id: ConnectionId,
        /// 0.
        pub reserved: u32,
        /// Not a type of the hypervisor's.
        pub message_type: MessageType,
        /// Bytes of the payload, at most [`PAYLOAD_MAX`].
        pub payload_size: u32,
        /// Payload.
        pub payload: [u8; PAYLOAD_MAX],
    }

    /// [`SIGNAL_EVENT`](super::HypercallCode::SIGNAL_EVENT), as a rule a fast call.
    pub struct SignalEvent {
        /// Through which connection.
        pub connection_id: ConnectionId,
        /// Which of the connection's flags.
        pub flag_number: u16,
        /// 0.
        pub reserved: u16,
    }

    /// [`CREATE_PORT`](super::HypercallCode::CREATE_PORT).
    pub struct CreatePort {
        /// Who receives.
        pub port_partition_id: PartitionId,
        /// Id for the new port.
        pub port_id: PortId,
        /// Virtual trust level of the port.
        pub port_vtl: u8,
        /// Lowest level that may connect.
        pub min_connection_vtl: u8,
        /// 0.
        pub padding: u16,
        /// Who may connect.
        pub connection_partition_id: PartitionId,
        /// Kind and target.
        pub port_info: PortInfo,
        /// Ignored.
        pub proximity: ProximityDomain,
    }

    /// TLFS `HV_PORT_INFO`.
    pub struct PortInfo {
        /// Kind.
        pub port_type: PortType,
        /// 0.
        pub padding: u32,
        /// Which SINT.
        pub target_sint: u32,
        /// Which VP; [`VpIndex::ANY`] leaves it to the hypervisor.
        pub target_vp: VpIndex,
        /// Of an event port: first flag.
        pub base_flag_number: u16,
        /// Of an event port: how many flags.
        pub flag_count: u16,
        /// 0.
        pub reserved: u32,
    }

    /// [`DELETE_PORT`](super::HypercallCode::DELETE_PORT), a fast call.
    pub struct DeletePort {
        /// Whose port.
        pub port_partition_id: PartitionId,
        /// Which.
        pub port_id: PortId,
        /// 0.
        pub reserved: u32,
    }

    /// [`CONNECT_PORT`](super::HypercallCode::CONNECT_PORT).
    pub struct ConnectPort {
        /// Who sends.
        pub connection_partition_id: PartitionId,
        /// Id for the new connection.
        pub connection_id: ConnectionId,
        /// Virtual trust level of the connection.
        pub connection_vtl: u8,
        /// 0.
        pub reserved_13: [u8; 3],
        /// Whose port.
        pub port_partition_id: PartitionId,
        /// Which.
        pub port_id: PortId,
        /// 0.
        pub reserved_28: u32,
        /// Kind and trigger.
        pub connection_info: ConnectionInfo,
        /// Ignored.
        pub proximity: ProximityDomain,
    }

    /// TLFS `HV_CONNECTION_INFO`. All but the type is for doorbells.
    pub struct ConnectionInfo {
        /// The port's kind.
        pub port_type: PortType,
        /// 0.
        pub padding: u32,
        /// A write here rings. Any alignment.
        pub gpa: u64,
        /// If it writes this.
        pub trigger_value: u64,
        /// Size and whether the value matters.
        pub flags: DoorbellFlags,
    }

    /// [`DISCONNECT_PORT`](super::HypercallCode::DISCONNECT_PORT), a fast call.
    pub struct DisconnectPort {
        /// Whose connection.
        pub connection_partition_id: PartitionId,
        /// Which.
        pub connection_id: ConnectionId,
        /// Bit 0: the id is that of a doorbell; those are counted apart from others.
        pub is_doorbell: u32,
    }

    /// [`NOTIFY_PORT_RING_EMPTY`](super::HypercallCode::NOTIFY_PORT_RING_EMPTY), a fast call.
    pub struct NotifyPortRingEmpty {
        /// Which ring of the calling VP.
        pub sint_index: u32,
        /// 0.
        pub reserved: u32,
    }

    /// [`SIGNAL_EVENT_DIRECT`](super::HypercallCode::SIGNAL_EVENT_DIRECT).
    pub struct SignalEventDirect {
        /// To which partition.
        pub target_partition: PartitionId,
        /// To which VP.
        pub target_vp: VpIndex,
        /// Virtual trust level.
        pub target_vtl: Vtl,
        /// Which SINT.
        pub target_sint: u8,
        /// Which flag.
        pub flag_number: u16,
    }

    /// Output of [`SignalEventDirect`].
    pub struct SignalEventDirectOutput {
        /// 1 if the flag was clear before.
        pub newly_signaled: u8,
        /// 0.
        pub reserved: [u8; 7],
    }

    /// [`POST_MESSAGE_DIRECT`](super::HypercallCode::POST_MESSAGE_DIRECT), in the form that VMMs send; the TLFS has the
    /// SINT at 13 and the message at 16.
    pub struct PostMessageDirect {
        /// To which partition.
        pub target_partition: PartitionId,
        /// To which VP.
        pub target_vp: VpIndex,
        /// Virtual trust level.
        pub target_vtl: Vtl,
        /// 0.
        pub padding_13: [u8; 3],
        /// Which SINT.
        pub target_sint: u8,
        /// 0.
        pub padding_17: [u8; 3],
        /// A [`Message`](crate::message::Message).
        pub message: [u8; MESSAGE_SIZE],
        /// 0.
        pub padding_276: u32,
    }
}

layout!(PostMessage, 256, connection_id @ 0, message_type @ 8, payload_size @ 12, payload @ 16);
layout!(SignalEvent, 8, connection_id @ 0, flag_number @ 4);
layout!(
    CreatePort, 56, port_partition_id @ 0, port_id @ 8, port_vtl @ 12, min_connection_vtl @ 13, padding @ 14,
    connection_partition_id @ 16, port_info @ 24, proximity @ 48
);
layout!(PortInfo, 24, port_type @ 0, target_sint @ 8, target_vp @ 12, base_flag_number @ 16, flag_count @ 18);
layout!(DeletePort, 16, port_partition_id @ 0, port_id @ 8);
layout!(
    ConnectPort, 72, connection_partition_id @ 0, connection_id @ 8, connection_vtl @ 12, port_partition_id @ 16,
    port_id @ 24, connection_info @ 32, proximity @ 64
);
layout!(ConnectionInfo, 32, port_type @ 0, gpa @ 8, trigger_value @ 16, flags @ 24);
layout!(DisconnectPort, 16, connection_partition_id @ 0, connection_id @ 8, is_doorbell @ 12);
layout!(NotifyPortRingEmpty, 8, sint_index @ 0);
layout!(
    SignalEventDirect, 16, target_partition @ 0, target_vp @ 8, target_vtl @ 12, target_sint @ 13, flag_number @ 14
);
layout!(SignalEventDirectOutput, 8, newly_signaled @ 0);
layout!(
    PostMessageDirect, 280, target_partition @ 0, target_vp @ 8, target_vtl @ 12, target_sint @ 16, message @ 20,
    padding_276 @ 276
);

open_enum! {
    /// TLFS `HV_PORT_TYPE`.
    pub struct PortType(u32) {
        /// Messages.
        MESSAGE = 1;
        /// Event flags.
        EVENT = 2;
        /// A monitored page.
        MONITOR = 3;
        /// Writes to a GPA; for the root.
        DOORBELL = 4;
    }
}

/// Flags of a doorbell.
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct DoorbellFlags {
    /// 0 any, else 1 more than the binary logarithm of the bytes; see [`Self::bytes`].
    #[bits(3)]
    pub size: u8,
    #[bits(28)]
    __: u32,
    /// The value does not matter.
    pub any_value: bool,
    __: u32,
}

impl DoorbellFlags {
    /// How many bytes a write must have: `Some(0)` for any number, `None` for an encoding that is none.
    pub const fn bytes(self) -> Option<u8> {
        match self.size() {
            0 => Some(0),
            size @ 1..=4 => Some(1 << (size - 1)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doorbell_names_the_size_of_the_write() {
        assert_eq!(DoorbellFlags::from_bits(0x8000_0000).bytes(), Some(0));
        assert!(DoorbellFlags::from_bits(0x8000_0000).any_value());
        assert_eq!(DoorbellFlags::from_bits(1).bytes(), Some(1));
        assert_eq!(DoorbellFlags::from_bits(4).bytes(), Some(8));
        assert_eq!(DoorbellFlags::from_bits(5).bytes(), None);
    }
}
