//! The table of channels, by number.

use super::DeviceId;
use vmbusdef::{Guid, RELID_MAX};

/// Where in its life a channel is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// Offered.
    Closed,
    /// The device has been told; the guest waits.
    Opening { open_id: u32 },
    /// Rings in use.
    Open,
    /// The device has been told to stop.
    Closing,
    /// Withdrawn; only RELID_RELEASED may come.
    Rescinded,
}

/// A channel that has been offered.
#[derive(Clone, Debug)]
pub(super) struct Channel {
    pub(super) device: DeviceId,
    pub(super) instance: Guid,
    pub(super) subchannel: u16,
    pub(super) stage: Stage,
    /// To be rescinded as soon as it is closed.
    pub(super) leaving: bool,
    /// GPADL with the rings, unless closed.
    pub(super) ring: Option<u32>,
}

impl Channel {
    pub(super) fn new(device: DeviceId, instance: Guid, subchannel: u16) -> Self {
        Self { device, instance, subchannel, stage: Stage::Closed, leaving: false, ring: None }
    }

    /// Whether the device may be touching its pages.
    pub(super) fn is_in_use(&self) -> bool {
        matches!(self.stage, Stage::Opening { .. } | Stage::Open | Stage::Closing)
    }
}

/// Channels by relid: number n is at index n - 1.
#[derive(Default)]
pub(super) struct Channels(Vec<Option<Channel>>);

impl Channels {
    fn index(relid: u32) -> Option<usize> {
        usize::try_from(relid).ok()?.checked_sub(1)
    }

    /// An offered channel, rescinded or not.
    pub(super) fn get(&self, relid: u32) -> Option<&Channel> {
        self.0.get(Self::index(relid)?)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, relid: u32) -> Option<&mut Channel> {
        self.0.get_mut(Self::index(relid)?)?.as_mut()
    }

    /// Gives the lowest free number: guests scan flags up to the highest. `None` if all are taken.
    pub(super) fn insert(&mut self, channel: Channel) -> Option<u32> {
        let index = self.0.iter().position(Option::is_none).unwrap_or(self.0.len());
        let relid = u32::try_from(index + 1).ok().filter(|relid| *relid <= RELID_MAX)?;
        if index == self.0.len() {
            self.0.push(None);
        }
        self.0.get_mut(index)?.replace(channel);
        Some(relid)
    }

    /// Frees a number.
    pub(super) fn remove(&mut self, relid: u32) {
        if let Some(slot) = Self::index(relid).and_then(|index| self.0.get_mut(index)) {
            *slot = None;
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// All that were offered, with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Channel)> {
        let numbered = (1u32..).zip(&self.0);
        numbered.filter_map(|(relid, channel)| Some((relid, channel.as_ref()?)))
    }

    /// Those of a device that have not been rescinded: the sub-channels from the last, then the primary channel.
    pub(super) fn of(&self, device: DeviceId) -> Vec<u32> {
        let live =
            |channel: &Channel| channel.device == device && channel.stage != Stage::Rescinded;
        let mut found: Vec<_> = self
            .iter()
            .filter(|(_, channel)| live(channel))
            .map(|(relid, channel)| (channel.subchannel, relid))
            .collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        found.into_iter().map(|(_, relid)| relid).collect()
    }
}
