//! Contact and its end: versions, UNLOAD, reset.

use super::channels::Stage;
use super::{Action, Handled, Server, Violation};
use vmbusdef::message::{InitiateContact, VersionResponse, VersionResponse6};
use vmbusdef::version::FeatureFlags;
use vmbusdef::{MESSAGE_CONNECTION_ID_V5, MessageNumber, SINT, Version};

/// Every version there is from the first on with which channels interrupt the VP they name.
const VERSIONS: [Version; 9] = [
    Version::WIN8,
    Version::WIN8_1,
    Version::WIN10,
    Version::WIN10_V4_1,
    Version::WIN10_V5,
    Version::WIN10_V5_1,
    Version::WIN10_V5_2,
    Version::WIN10_V5_3,
    Version::COPPER,
];

/// A guest that speaks to us.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contact {
    pub(super) version: Version,
    /// Gets all messages.
    pub(super) vp: u32,
    pub(super) offers_requested: bool,
}

/// What to do when all channels are closed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Then {
    /// A reset: nothing.
    Nothing,
    /// Answer an UNLOAD.
    AnswerUnload { vp: u32 },
    /// Go on with a new kernel.
    Contact(InitiateContact),
}

/// Whether anybody is there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Connection {
    Disconnected,
    Connected(Contact),
    Disconnecting(Then),
}

impl Connection {
    pub(super) fn contact(&self) -> Option<&Contact> {
        match self {
            Self::Connected(contact) => Some(contact),
            _ => None,
        }
    }

    pub(super) fn vp(&self) -> Option<u32> {
        self.contact().map(|contact| contact.vp)
    }
}

impl Server {
    /// A kernel begins. If there was one before, it is gone, and with it whatever it had opened.
    pub(super) fn initiate_contact(&mut self, request: &InitiateContact) -> Handled {
        if request.target_vp >= self.config.vp_count {
            return Err(Violation);
        }
        match self.connection {
            Connection::Disconnected => self.negotiate(request),
            Connection::Connected(_) => self.disconnect(Then::Contact(*request)),
            // The last word counts.
            Connection::Disconnecting(_) => {
                self.connection = Connection::Disconnecting(Then::Contact(*request));
            }
        }
        Ok(())
    }

    fn negotiate(&mut self, request: &InitiateContact) {
        let (version, vp) = (request.version, request.target_vp);
        if !self.is_accepted(request) {
            let refusal = VersionResponse {
                version_supported: 0,
                connection_state: 0,
                reserved: 0,
                connection_id: 0,
            };
            return self.post_to(vp, MessageNumber::VERSION_RESPONSE, &refusal);
        }
        tracing::debug!(%version, vp, "contact");
        self.connection = Connection::Connected(Contact { version, vp, offers_requested: false });
        let is_new = version >= Version::WIN10_V5;
        let connection_id = if is_new { MESSAGE_CONNECTION_ID_V5 } else { version.0 };
        let response = VersionResponse {
            version_supported: 1,
            connection_state: 0,
            reserved: 0,
            connection_id,
        };
        if version >= Version::COPPER {
            let supported_features = FeatureFlags::new();
            let response = VersionResponse6 { response, supported_features };
            self.post(MessageNumber::VERSION_RESPONSE, &response);
        } else {
            self.post(MessageNumber::VERSION_RESPONSE, &response);
        }
    }

    fn is_accepted(&self, request: &InitiateContact) -> bool {
        let target = request.target;
        let is_known = VERSIONS.contains(&request.version);
        let is_ours =
            request.version < Version::WIN10_V5 || (target.sint == SINT && target.vtl == 0);
        is_known && is_ours && request.version <= self.config.version_max
    }

    /// The guest leaves.
    pub(super) fn unload(&mut self) -> Handled {
        let vp = self.connection.vp().ok_or(Violation)?;
        self.disconnect(Then::AnswerUnload { vp });
        Ok(())
    }

    /// The VM starts anew: everything is closed without a word to the guest, then [`Action::Disconnected`] follows.
    pub fn reset(&mut self) {
        self.disconnect(Then::Nothing);
    }

    fn disconnect(&mut self, then: Then) {
        self.connection = Connection::Disconnecting(then);
        let in_use: Vec<_> = self.channels.iter().map(|(relid, _)| relid).collect();
        in_use.into_iter().for_each(|relid| self.begin_close(relid));
        self.finish_disconnect();
    }

    /// Goes on once no device touches the guest's pages any more.
    pub(super) fn finish_disconnect(&mut self) {
        let Connection::Disconnecting(then) = self.connection else { return };
        if self.channels.iter().any(|(_, channel)| channel.is_in_use()) {
            return;
        }
        self.channels.clear();
        self.gpadls.clear();
        self.connection = Connection::Disconnected;
        self.drop_removed_devices();
        self.actions.push_back(Action::Disconnected);
        match then {
            Then::Nothing => {}
            Then::AnswerUnload { vp } => self.post_to(vp, MessageNumber::UNLOAD_RESPONSE, &()),
            Then::Contact(request) => self.negotiate(&request),
        }
    }

    /// Tells the device of a channel in use to stop.
    pub(super) fn begin_close(&mut self, relid: u32) {
        let Some(channel) = self.channels.get_mut(relid) else { return };
        if matches!(channel.stage, Stage::Open | Stage::Opening { .. }) {
            channel.stage = Stage::Closing;
            let (device, subchannel) = (channel.device, channel.subchannel);
            self.actions.push_back(Action::Close { device, subchannel, relid });
        }
    }
}
