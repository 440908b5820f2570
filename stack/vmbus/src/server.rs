//! The server's state machine: what the guest posts and what devices report goes in, [`Action`]s come out.
//!
//! ```text
//!                 INITIATE_CONTACT          REQUESTOFFERS
//!  Disconnected ───────────────────> Connected ──────> offers; then, for each channel:
//!       ^                                │
//!       │  all channels closed           │ UNLOAD, INITIATE_CONTACT, reset
//!       └──────────── Disconnecting <────┘
//!
//!           OPENCHANNEL            opened()              CLOSECHANNEL, teardown of its ring,
//!  Closed ─────────────> Opening ────────────> Open ───┐ rescind, disconnect
//!    ^ │                    └─────────────────────────>├──> Closing
//!    │ │ rescind                                       │       │ closed()
//!    └─┼───────────────────────────────────────────────┼───────┘
//!      └──> Rescinded ── RELID_RELEASED ──> (number is free)
//! ```
//!
//! What must always hold: a guest is told that its pages are its own again (GPADL_TORNDOWN, RESCIND, UNLOAD_RESPONSE, a
//! new contact) only after the device has said that it no longer touches them; every request has its defined answer,
//! silence only where the protocol has it so; nothing the guest posts makes this panic or grow beyond [`Limits`].

mod action;
mod channels;
mod contact;
mod devices;
mod gpadl;
mod open;
#[cfg(test)]
mod tests;

pub use action::{Action, ChannelMessage, OpenRequest};
pub use devices::{AddDeviceError, DeviceId, OfferParams, connection_id};
pub use gpadl::{Gpadl, GpadlRange};

use channels::Channels;
use contact::Connection;
use devices::Devices;
use gpadl::Gpadls;
use std::collections::VecDeque;
use vmbusdef::message::{MessageHeader, status};
use vmbusdef::{MessageNumber, Version};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What one guest may make us keep.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// GPADLs, those not yet complete included.
    pub gpadls: usize,
    /// Pages in all of them.
    pub gpadl_pages: usize,
    /// Sub-channels of one device.
    pub subchannels: u16,
}

impl Default for Limits {
    fn default() -> Self {
        // Two network adapters with 16 MiB buffers and 64 channels each are about 30,000 pages.
        Self { gpadls: 4096, gpadl_pages: 1 << 18, subchannels: 64 }
    }
}

/// What the server has to know about its guest.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// VPs have numbers below this.
    pub vp_count: u32,
    /// The newest version to agree to.
    pub version_max: Version,
    /// Bounds.
    pub limits: Limits,
}

impl Config {
    /// For a guest of `vp_count` VPs.
    pub fn new(vp_count: u32) -> Self {
        Self { vp_count, version_max: Version::COPPER, limits: Limits::default() }
    }
}

/// The VMBus server of one guest.
pub struct Server {
    config: Config,
    is_ram: Box<dyn Fn(u64) -> bool + Send>,
    connection: Connection,
    devices: Devices,
    channels: Channels,
    gpadls: Gpadls,
    actions: VecDeque<Action>,
    violations: u64,
}

/// What the guest must not have sent; it is counted, and otherwise nothing happens.
struct Violation;

type Handled = Result<(), Violation>;

impl Server {
    /// A server without devices, for a guest whose pages are known by `is_ram`.
    pub fn new(config: Config, is_ram: impl Fn(u64) -> bool + Send + 'static) -> Self {
        Self {
            config,
            is_ram: Box::new(is_ram),
            connection: Connection::Disconnected,
            devices: Devices::default(),
            channels: Channels::default(),
            gpadls: Gpadls::new(config.limits),
            actions: VecDeque::new(),
            violations: 0,
        }
    }

    /// A channel message of the guest's.
    pub fn handle(&mut self, message: &[u8]) {
        if self.dispatch(message).is_err() {
            self.violations += 1;
            tracing::debug!(?message, "a channel message that makes no sense now");
        }
    }

    /// What is to be done next.
    pub fn action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Messages that made no sense.
    pub fn violations(&self) -> u64 {
        self.violations
    }

    /// The version agreed on, while connected.
    pub fn version(&self) -> Option<Version> {
        self.connection.contact().map(|contact| contact.version)
    }

    fn dispatch(&mut self, message: &[u8]) -> Handled {
        let (header, body) = MessageHeader::read_from_prefix(message).map_err(|_| Violation)?;
        match header.number {
            MessageNumber::INITIATE_CONTACT => return self.initiate_contact(&read(body)?),
            MessageNumber::UNLOAD => return self.unload(),
            _ => self.connection.contact().ok_or(Violation)?,
        };
        match header.number {
            MessageNumber::REQUESTOFFERS => self.request_offers(),
            MessageNumber::OPENCHANNEL => self.open_channel(&read(body)?),
            MessageNumber::CLOSECHANNEL => self.close_channel(read(body)?),
            MessageNumber::MODIFYCHANNEL => self.modify_channel(read(body)?),
            MessageNumber::GPADL_HEADER => self.gpadl_header(body),
            MessageNumber::GPADL_BODY => self.gpadl_body(body),
            MessageNumber::GPADL_TEARDOWN => self.gpadl_teardown(read(body)?),
            MessageNumber::RELID_RELEASED => self.relid_released(read(body)?),
            MessageNumber::TL_CONNECT_REQUEST => self.connect_request(read(body)?),
            _ => Err(Violation),
        }
    }

    /// Sends to the VP that the guest named when it made contact.
    fn post<T: IntoBytes + Immutable>(&mut self, number: MessageNumber, body: &T) {
        if let Some(vp) = self.connection.vp() {
            self.post_to(vp, number, body);
        }
    }

    fn post_to<T: IntoBytes + Immutable>(&mut self, vp: u32, number: MessageNumber, body: &T) {
        let message = ChannelMessage::new(number, body);
        self.actions.push_back(Action::Post { vp, message });
    }
}

/// The body of a message, which may be longer.
fn read<T: FromBytes + KnownLayout + Immutable>(body: &[u8]) -> Result<T, Violation> {
    T::read_from_prefix(body).map(|(value, _)| value).map_err(|_| Violation)
}
