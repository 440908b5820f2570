//! Channel messages (Linux `enum vmbus_channel_message_type` and the structures by it).
//!
//! A message is the payload of a SynIC message: a [`MessageHeader`] and what its number says, 240 bytes at most. The
//! structures here are what follows the header. Those of a GPADL are in [`crate::gpadl`], the offer in [`crate::offer`].

use crate::guid::Guid;
use crate::offer::USER_DATA_SIZE;
use crate::version::{FeatureFlags, MessageTarget, Version};
use wire::{layout, open_enum, wire};

/// Most bytes of a message, its header included.
pub const MESSAGE_MAX: usize = 240;

open_enum! {
    /// What a message is. H→G from the server, G→H from the guest.
    pub struct MessageNumber(u32) {
        /// Never sent.
        INVALID = 0;
        /// H→G: a device is there.
        OFFERCHANNEL = 1;
        /// H→G: it goes away.
        RESCIND_CHANNELOFFER = 2;
        /// G→H: all offers, please.
        REQUESTOFFERS = 3;
        /// H→G: these were all.
        ALLOFFERS_DELIVERED = 4;
        /// G→H: the rings are ready.
        OPENCHANNEL = 5;
        /// H→G: answer.
        OPENCHANNEL_RESULT = 6;
        /// G→H: no answer.
        CLOSECHANNEL = 7;
        /// G→H: pages to share.
        GPADL_HEADER = 8;
        /// G→H: more of them.
        GPADL_BODY = 9;
        /// H→G: answer to the last of them.
        GPADL_CREATED = 10;
        /// G→H: the guest wants them back.
        GPADL_TEARDOWN = 11;
        /// H→G: it has them back.
        GPADL_TORNDOWN = 12;
        /// G→H: a rescinded channel's number is free.
        RELID_RELEASED = 13;
        /// G→H: the first message.
        INITIATE_CONTACT = 14;
        /// H→G: its answer.
        VERSION_RESPONSE = 15;
        /// G→H: the end of all channels.
        UNLOAD = 16;
        /// H→G: all are ended.
        UNLOAD_RESPONSE = 17;
        /// G→H: open by identifier.
        OPENRESERVEDCHANNEL = 18;
        /// G→H: close by identifier.
        CLOSERESERVEDCHANNEL = 19;
        /// H→G: answer.
        CLOSERESERVEDCHANNEL_RESPONSE = 20;
        /// G→H: connect to a socket of the host's.
        TL_CONNECT_REQUEST = 21;
        /// G→H: interrupt another VP.
        MODIFYCHANNEL = 22;
        /// H→G: answer to 21.
        TL_CONNECT_RESULT = 23;
        /// H→G: answer to 22, from version 5.3 on.
        MODIFYCHANNEL_RESPONSE = 24;
    }
}

/// `target_vp` of MODIFYCHANNEL and OPENCHANNEL: no interrupts.
pub const TARGET_VP_NONE: u32 = u32::MAX;

wire! {
    /// The first 8 bytes of every message.
    pub struct MessageHeader {
        /// What it is.
        pub number: MessageNumber,
        /// 0.
        pub padding: u32,
    }

    /// INITIATE_CONTACT.
    pub struct InitiateContact {
        /// What the guest would like to speak.
        pub version: Version,
        /// VP that gets all messages.
        pub target_vp: u32,
        /// Before version 5.0 the GPA of the interrupt page.
        pub target: MessageTarget,
        /// GPA of the monitor page that the guest reads.
        pub parent_to_child_monitor: u64,
        /// GPA of the monitor page that the guest writes.
        pub child_to_parent_monitor: u64,
    }

    /// VERSION_RESPONSE.
    pub struct VersionResponse {
        /// 1: agreed.
        pub version_supported: u8,
        /// 0 successful, 1 low resources, 2 failure.
        pub connection_state: u8,
        /// 0.
        pub reserved: u16,
        /// From version 5.0 on the connection id of all further messages; before, the version.
        pub connection_id: u32,
    }

    /// VERSION_RESPONSE from version 6.0 on.
    pub struct VersionResponse6 {
        /// As ever.
        pub response: VersionResponse,
        /// What the server agrees to.
        pub supported_features: FeatureFlags,
    }

    /// OPENCHANNEL.
    pub struct OpenChannel {
        /// Channel.
        pub relid: u32,
        /// Echoed in the answer.
        pub open_id: u32,
        /// List with both rings.
        pub ring_gpadl: u32,
        /// VP that the channel interrupts.
        pub target_vp: u32,
        /// Page of the list at which the ring towards the guest begins.
        pub downstream_page_offset: u32,
        /// For the device.
        pub user_data: [u8; USER_DATA_SIZE],
    }

    /// OPENCHANNEL_RESULT.
    pub struct OpenResult {
        /// Channel.
        pub relid: u32,
        /// Of the request.
        pub open_id: u32,
        /// 0: open.
        pub status: u32,
    }

    /// CLOSECHANNEL, RESCIND_CHANNELOFFER, RELID_RELEASED.
    pub struct Relid {
        /// Channel.
        pub relid: u32,
    }

    /// MODIFYCHANNEL.
    pub struct ModifyChannel {
        /// Channel.
        pub relid: u32,
        /// VP that it is to interrupt.
        pub target_vp: u32,
    }

    /// MODIFYCHANNEL_RESPONSE.
    pub struct ModifyChannelResponse {
        /// Channel.
        pub relid: u32,
        /// 0: no interrupt goes to the old VP any more.
        pub status: u32,
    }

    /// TL_CONNECT_REQUEST.
    pub struct TlConnectRequest {
        /// The guest's end.
        pub endpoint: Guid,
        /// The host's end.
        pub service: Guid,
    }

    /// TL_CONNECT_RESULT.
    pub struct TlConnectResult {
        /// The guest's end.
        pub endpoint: Guid,
        /// The host's end.
        pub service: Guid,
        /// NTSTATUS.
        pub status: u32,
    }
}
layout!(MessageHeader, 8, number @ 0, padding @ 4);
layout!(
    InitiateContact, 32, version @ 0, target_vp @ 4, target @ 8, parent_to_child_monitor @ 16,
    child_to_parent_monitor @ 24
);
layout!(VersionResponse, 8, version_supported @ 0, connection_state @ 1, connection_id @ 4);
layout!(VersionResponse6, 12, response @ 0, supported_features @ 8);
layout!(
    OpenChannel, 140, relid @ 0, open_id @ 4, ring_gpadl @ 8, target_vp @ 12, downstream_page_offset @ 16,
    user_data @ 20
);
layout!(OpenResult, 12, relid @ 0, open_id @ 4, status @ 8);
layout!(Relid, 4, relid @ 0);
layout!(ModifyChannel, 8, relid @ 0, target_vp @ 4);
layout!(ModifyChannelResponse, 8, relid @ 0, status @ 4);
layout!(TlConnectRequest, 32, endpoint @ 0, service @ 16);
layout!(TlConnectResult, 36, endpoint @ 0, service @ 16, status @ 32);

/// NTSTATUS values that appear on VMBus. Linux takes everything but 0 for a failure.
pub mod status {
    /// It worked.
    pub const SUCCESS: u32 = 0;
    /// The device cannot.
    pub const UNSUCCESSFUL: u32 = 0xC000_0001;
    /// A number or a length makes no sense.
    pub const INVALID_PARAMETER: u32 = 0xC000_000D;
    /// Too much.
    pub const INSUFFICIENT_RESOURCES: u32 = 0xC000_009A;
    /// Nobody listens there.
    pub const CONNECTION_REFUSED: u32 = 0xC000_0236;
}
