//! What the state machine wants done.

use super::{DeviceId, Gpadl};
use std::fmt;
use std::sync::Arc;
use vmbusdef::MessageNumber;
use vmbusdef::message::{MESSAGE_MAX, MessageHeader, TlConnectRequest};
use vmbusdef::offer::USER_DATA_SIZE;
use zerocopy::{Immutable, IntoBytes};

/// A channel message to the guest.
#[derive(Clone, PartialEq, Eq)]
pub struct ChannelMessage {
    bytes: [u8; MESSAGE_MAX],
    length: usize,
}

impl ChannelMessage {
    /// Number and body. One too large does not compile.
    pub(super) fn new<T: IntoBytes + Immutable>(number: MessageNumber, body: &T) -> Self {
        const { assert!(size_of::<MessageHeader>() + size_of::<T>() <= MESSAGE_MAX) };
        let header = MessageHeader { number, padding: 0 };
        let mut bytes = [0; MESSAGE_MAX];
        let all = header.as_bytes().iter().chain(body.as_bytes());
        let length = bytes.iter_mut().zip(all).map(|(to, from)| *to = *from).count();
        Self { bytes, length }
    }

    /// As it is posted.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&self.bytes)
    }
}

impl fmt::Debug for ChannelMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x?}", self.as_bytes())
    }
}

/// A channel whose rings the guest has made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenRequest {
    /// Whose.
    pub device: DeviceId,
    /// 0 for the primary channel.
    pub subchannel: u16,
    /// Number of the channel and its event flag.
    pub relid: u32,
    /// VP to interrupt; `None` for no interrupts.
    pub target_vp: Option<u32>,
    /// Pages of the ring from the guest, at least 2.
    pub incoming: Vec<u64>,
    /// Pages of the ring to the guest, at least 2.
    pub outgoing: Vec<u64>,
    /// For the device.
    pub user_data: [u8; USER_DATA_SIZE],
}

/// One thing to do. They are done in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Post to the guest, on [`SINT`](vmbusdef::SINT).
    Post {
        /// Which VP.
        vp: u32,
        /// What.
        message: ChannelMessage,
    },
    /// Open the rings, then call [`opened`](super::Server::opened).
    Open(OpenRequest),
    /// Stop touching the rings and every GPADL of the channel, then call [`closed`](super::Server::closed).
    Close {
        /// Whose.
        device: DeviceId,
        /// Which of its channels.
        subchannel: u16,
        /// The same.
        relid: u32,
    },
    /// Interrupt another VP from now on, and none any more by the old way when the next action is taken.
    Target {
        /// Which channel.
        relid: u32,
        /// `None` for no interrupts.
        vp: Option<u32>,
    },
    /// The guest shares pages with an open or closed channel.
    GpadlCreated {
        /// Whose.
        relid: u32,
        /// Its name.
        gpadl: u32,
        /// What.
        pages: Arc<Gpadl>,
    },
    /// Stop touching these pages, then call [`gpadl_released`](super::Server::gpadl_released).
    ReleaseGpadl {
        /// Whose.
        device: DeviceId,
        /// Which of its channels.
        relid: u32,
        /// What.
        gpadl: u32,
    },
    /// The guest wants to connect to a socket. Answer with [`refuse_connect`](super::Server::refuse_connect) or an offer.
    Connect(TlConnectRequest),
    /// A removed device is no longer known to the guest.
    Removed(DeviceId),
    /// A reset or an UNLOAD is complete: no channel is open.
    Disconnected,
}
