//! Opening, closing and moving channels.

use super::channels::{Channel, Stage};
use super::{Action, Handled, OpenRequest, Server, Violation, status};
use vmbusdef::message::{
    ModifyChannel, ModifyChannelResponse, OpenChannel, OpenResult, Relid, TARGET_VP_NONE,
};
use vmbusdef::{MessageNumber, Version};

/// Pages of the smallest ring: its control page and one of data.
const RING_PAGES_MIN: usize = 2;

impl Server {
    pub(super) fn open_channel(&mut self, request: &OpenChannel) -> Handled {
        let OpenChannel { relid, open_id, ring_gpadl, .. } = *request;
        if self
            .channels
            .get(relid)
            .is_some_and(|channel| channel.stage == Stage::Rescinded || channel.leaving)
        {
            // The rescind crossed it.
            return Ok(());
        }
        match self.check_open(request) {
            Ok(open) => {
                if let Some(channel) = self.channels.get_mut(relid) {
                    channel.stage = Stage::Opening { open_id };
                    channel.ring = Some(ring_gpadl);
                }
                self.actions.push_back(Action::Open(open));
            }
            Err(status) => {
                self.post(
                    MessageNumber::OPENCHANNEL_RESULT,
                    &OpenResult { relid, open_id, status },
                );
            }
        }
        Ok(())
    }

    /// The rings that a guest wants to use, or the status it gets.
    fn check_open(&self, request: &OpenChannel) -> Result<OpenRequest, u32> {
        let invalid = status::INVALID_PARAMETER;
        let relid = request.relid;
        let channel = self.channels.get(relid).ok_or(invalid)?;
        if channel.stage != Stage::Closed || !self.is_primary_open(channel) {
            return Err(status::UNSUCCESSFUL);
        }
        let target_vp = self.target_vp(request.target_vp).ok_or(invalid)?;
        let gpadl = self.gpadls.get(relid, request.ring_gpadl).ok_or(invalid)?;
        let gpns = gpadl.whole_pages().ok_or(invalid)?;
        let downstream = usize::try_from(request.downstream_page_offset).map_err(|_| invalid)?;
        let (incoming, outgoing) = gpns.split_at_checked(downstream).ok_or(invalid)?;
        if incoming.len().min(outgoing.len()) < RING_PAGES_MIN {
            return Err(invalid);
        }
        Ok(OpenRequest {
            device: channel.device,
            subchannel: channel.subchannel,
            relid,
            target_vp,
            incoming: incoming.to_vec(),
            outgoing: outgoing.to_vec(),
            user_data: request.user_data,
        })
    }

    /// A sub-channel opens only beside its primary channel.
    fn is_primary_open(&self, channel: &Channel) -> bool {
        let is_primary = |other: &Channel| other.device == channel.device && other.subchannel == 0;
        channel.subchannel == 0
            || self
                .channels
                .iter()
                .any(|(_, other)| is_primary(other) && other.stage == Stage::Open)
    }

    /// `Some(None)` for no interrupts, `None` for a VP that there is not.
    fn target_vp(&self, vp: u32) -> Option<Option<u32>> {
        match vp {
            TARGET_VP_NONE => Some(None),
            vp if vp < self.config.vp_count => Some(Some(vp)),
            _ => None,
        }
    }

    /// The device's answer to [`Action::Open`].
    pub fn opened(&mut self, relid: u32, is_open: bool) {
        let Some(channel) = self.channels.get_mut(relid) else { return };
        // Otherwise it has been told to close in the meantime, and will say so.
        let Stage::Opening { open_id } = channel.stage else { return };
        channel.stage = if is_open { Stage::Open } else { Stage::Closed };
        if !is_open {
            channel.ring = None;
        }
        let status = if is_open { status::SUCCESS } else { status::UNSUCCESSFUL };
        self.post(MessageNumber::OPENCHANNEL_RESULT, &OpenResult { relid, open_id, status });
    }

    pub(super) fn close_channel(&mut self, Relid { relid }: Relid) -> Handled {
        let channel = self.channels.get(relid).ok_or(Violation)?;
        if channel.stage == Stage::Rescinded {
            // Linux says so on its way to RELID_RELEASED.
            return Ok(());
        }
        self.close_with_subchannels(relid);
        Ok(())
    }

    /// Closes a channel. A guest keeps sub-channels until they are rescinded, so those of a primary channel are.
    pub(super) fn close_with_subchannels(&mut self, relid: u32) {
        let Some(channel) = self.channels.get(relid) else { return };
        if channel.subchannel == 0 {
            let others =
                self.channels.of(channel.device).into_iter().filter(|other| *other != relid);
            others.for_each(|other| self.begin_rescind(other));
        }
        self.begin_close(relid);
    }

    /// The device's answer to [`Action::Close`]: it touches no page of the channel's any more.
    pub fn closed(&mut self, relid: u32) {
        let Some(channel) = self.channels.get_mut(relid) else { return };
        if channel.stage != Stage::Closing {
            return;
        }
        channel.stage = Stage::Closed;
        channel.ring = None;
        let leaving = channel.leaving;
        if leaving {
            self.rescind(relid);
        } else {
            self.finish_teardowns(relid);
        }
        self.drop_removed_devices();
        self.finish_disconnect();
    }

    pub(super) fn modify_channel(&mut self, request: ModifyChannel) -> Handled {
        let ModifyChannel { relid, target_vp } = request;
        let channel = self.channels.get(relid).ok_or(Violation)?;
        if channel.stage == Stage::Rescinded {
            return Ok(());
        }
        let is_open = channel.stage == Stage::Open;
        let status = match self.target_vp(target_vp).filter(|_| is_open) {
            Some(vp) => {
                self.actions.push_back(Action::Target { relid, vp });
                status::SUCCESS
            }
            None => status::INVALID_PARAMETER,
        };
        if self.version().is_some_and(|version| version >= Version::WIN10_V5_3) {
            let response = ModifyChannelResponse { relid, status };
            self.post(MessageNumber::MODIFYCHANNEL_RESPONSE, &response);
        }
        Ok(())
    }
}
