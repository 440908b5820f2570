//! Packets in a ring (Linux `struct vmpacket_descriptor` and `enum vmbus_packet_type`).
//!
//! ```text
//! | descriptor 16 | by type: ranges … | payload, padded to 8 | trailer 8 |
//! 0               16                  data_offset8 × 8       length8 × 8
//! ```

use bitfield_struct::bitfield;
use wire::{layout, open_enum, wire};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

open_enum! {
    /// What lies between descriptor and payload.
    pub struct PacketType(u16) {
        /// Nothing.
        IN_BAND = 6;
        /// Ranges of a buffer named by a set id.
        TRANSFER_PAGES = 7;
        /// Ranges of a GPADL.
        GPADL = 8;
        /// Ranges of guest memory.
        GPA_DIRECT = 9;
        /// Nothing.
        CANCEL = 10;
        /// Nothing: the answer to a packet that asked for one.
        COMPLETION = 11;
    }
}

/// Flags of a packet.
#[bitfield(u16)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PacketFlags {
    /// The sender waits for a completion with the same transaction id.
    pub completion_requested: bool,
    #[bits(15)]
    __: u16,
}

wire! {
    /// The first 16 bytes of every packet.
    pub struct PacketDescriptor {
        /// What follows.
        pub packet_type: PacketType,
        /// Where the payload begins, in 8 bytes.
        pub data_offset8: u16,
        /// Where the packet ends, in 8 bytes, without the trailer.
        pub length8: u16,
        /// Flags.
        pub flags: PacketFlags,
        /// Of the sender; echoed in the completion.
        pub transaction_id: u64,
    }

    /// Behind the descriptor of a GPA_DIRECT packet. Ranges follow, each a [`GpaRange`](crate::gpadl::GpaRange) and its
    /// page numbers.
    pub struct GpaDirect {
        /// 0.
        pub reserved: u32,
        /// Ranges.
        pub range_count: u32,
    }

    /// Behind the descriptor of a TRANSFER_PAGES packet. Ranges follow, each a [`TransferRange`].
    pub struct TransferPages {
        /// Which buffer.
        pub set_id: u16,
        /// Who frees it.
        pub sender_owns_set: u8,
        /// 0.
        pub reserved: u8,
        /// Ranges.
        pub range_count: u32,
    }

    /// A range of a buffer that both know.
    pub struct TransferRange {
        /// Bytes.
        pub byte_count: u32,
        /// Bytes from the start of the buffer.
        pub byte_offset: u32,
    }

    /// First 8 bytes of a payload with pipe framing.
    pub struct PipeHeader {
        /// 1: data.
        pub packet_type: u32,
        /// Bytes of data that follow.
        pub data_size: u32,
    }
}
layout!(
    PacketDescriptor, 16, packet_type @ 0, data_offset8 @ 2, length8 @ 4, flags @ 6, transaction_id @ 8
);
layout!(GpaDirect, 8, reserved @ 0, range_count @ 4);
layout!(TransferPages, 8, set_id @ 0, sender_owns_set @ 2, reserved @ 3, range_count @ 4);
layout!(TransferRange, 8, byte_count @ 0, byte_offset @ 4);
layout!(PipeHeader, 8, packet_type @ 0, data_size @ 4);

/// [`PipeHeader::packet_type`] of data.
pub const PIPE_DATA: u32 = 1;
