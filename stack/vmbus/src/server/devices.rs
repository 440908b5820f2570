//! Devices: offers, sub-channels, rescinds.

use super::channels::{Channel, Stage};
use super::{Action, Handled, Server, Violation};
use std::collections::BTreeMap;
use thiserror::Error;
use vmbusdef::message::{Relid, TlConnectRequest, TlConnectResult, status};
use vmbusdef::offer::{Offer, OfferFlags, USER_DATA_SIZE};
use vmbusdef::{Guid, MessageNumber, SINT};

/// A device, as long as it is there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DeviceId(pub u32);

/// What a device tells the guest of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OfferParams {
    /// Class, see [`vmbusdef::guid::class`].
    pub class: Guid,
    /// This device; the same at every start of the VM, and unlike any other of the VM's.
    pub instance: Guid,
    /// Properties.
    pub flags: OfferFlags,
    /// Address space it wants, in MiB.
    pub mmio_megabytes: u16,
    /// For the driver.
    pub user_data: [u8; USER_DATA_SIZE],
}

impl OfferParams {
    /// A device without anything special.
    pub fn new(class: Guid, instance: Guid) -> Self {
        let flags = OfferFlags::new().with_enumerate_device_interface(true);
        Self { class, instance, flags, mmio_megabytes: 0, user_data: [0; USER_DATA_SIZE] }
    }
}

/// Why a device cannot be added.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum AddDeviceError {
    /// A guest would confuse them.
    #[error("there is a device with instance id {0} already")]
    DuplicateInstance(Guid),
    /// There are as many as channels can have numbers.
    #[error("too many devices")]
    TooMany,
}

pub(super) struct Device {
    params: OfferParams,
    /// To be forgotten when its channels are rescinded.
    leaving: bool,
}

#[derive(Default)]
pub(super) struct Devices {
    all: BTreeMap<DeviceId, Device>,
    next: u32,
}

/// Where the guest signals for channel `relid`. Never one of those for messages.
pub fn connection_id(relid: u32) -> u32 {
    relid | u32::from(SINT) << 12
}

impl Server {
    /// A new device. It is offered when the guest asks for offers, or now if it has.
    pub fn add_device(&mut self, params: OfferParams) -> Result<DeviceId, AddDeviceError> {
        let same = |device: &Device| device.params.instance == params.instance && !device.leaving;
        if self.devices.all.values().any(same) {
            return Err(AddDeviceError::DuplicateInstance(params.instance));
        }
        if self.devices.all.len() >= vmbusdef::RELID_MAX as usize {
            return Err(AddDeviceError::TooMany);
        }
        let id = DeviceId(self.devices.next);
        self.devices.next = self.devices.next.wrapping_add(1);
        self.devices.all.insert(id, Device { params, leaving: false });
        self.offer_all();
        Ok(id)
    }

    /// Takes a device away, closing its channels first. [`Action::Removed`] follows.
    pub fn remove_device(&mut self, id: DeviceId) {
        let Some(device) = self.devices.all.get_mut(&id) else { return };
        device.leaving = true;
        let channels = self.channels.of(id);
        channels.into_iter().for_each(|relid| self.begin_rescind(relid));
        self.drop_removed_devices();
    }

    /// Forgets leaving devices of which the guest knows nothing any more.
    pub(super) fn drop_removed_devices(&mut self) {
        let is_gone =
            |id: &DeviceId, device: &Device| device.leaving && self.channels.of(*id).is_empty();
        let gone: Vec<_> = self
            .devices
            .all
            .iter()
            .filter(|(id, device)| is_gone(id, device))
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            self.devices.all.remove(&id);
            self.actions.push_back(Action::Removed(id));
        }
    }

    pub(super) fn request_offers(&mut self) -> Handled {
        let super::Connection::Connected(contact) = &mut self.connection else {
            return Err(Violation);
        };
        contact.offers_requested = true;
        self.offer_all();
        self.post(MessageNumber::ALLOFFERS_DELIVERED, &());
        Ok(())
    }

    /// Offers every device that the guest may know and does not.
    fn offer_all(&mut self) {
        if !self.connection.contact().is_some_and(|contact| contact.offers_requested) {
            return;
        }
        let waiting: Vec<_> = self
            .devices
            .all
            .iter()
            .filter(|(_, device)| {
                !device.leaving && !self.is_instance_known(&device.params.instance)
            })
            .map(|(id, device)| (*id, device.params))
            .collect();
        for (id, params) in waiting {
            self.offer(id, &params, 0);
        }
    }

    /// Whether the guest has a primary channel of this name, be it one that it has yet to release.
    fn is_instance_known(&self, instance: &Guid) -> bool {
        self.channels
            .iter()
            .any(|(_, channel)| channel.instance == *instance && channel.subchannel == 0)
    }

    fn offer(&mut self, device: DeviceId, params: &OfferParams, subchannel: u16) {
        let channel = Channel::new(device, params.instance, subchannel);
        let Some(relid) = self.channels.insert(channel) else {
            tracing::warn!(instance = %params.instance, "no channel number is free");
            return;
        };
        let offer = Offer {
            interface_type: params.class,
            interface_instance: params.instance,
            reserved: [0; 16],
            flags: params.flags,
            mmio_megabytes: params.mmio_megabytes,
            user_data: params.user_data,
            subchannel_index: subchannel,
            mmio_megabytes_optional: 0,
            relid,
            monitor_id: 0,
            monitor_allocated: 0,
            is_dedicated_interrupt: 1,
            connection_id: connection_id(relid),
        };
        self.post(MessageNumber::OFFERCHANNEL, &offer);
    }

    /// Offers `count` more channels of a device whose primary channel is open; how many were offered.
    pub fn offer_subchannels(&mut self, id: DeviceId, count: u16) -> u16 {
        let Some(device) = self.devices.all.get(&id).filter(|device| !device.leaving) else {
            return 0;
        };
        let params = device.params;
        let (mut used, mut is_open) = (Vec::new(), false);
        for relid in self.channels.of(id) {
            let Some(channel) = self.channels.get(relid) else { continue };
            used.push(channel.subchannel);
            is_open |= channel.subchannel == 0 && channel.stage == Stage::Open;
        }
        let free = (1..=self.config.limits.subchannels).filter(|index| !used.contains(index));
        let new: Vec<_> = free.take(if is_open { count.into() } else { 0 }).collect();
        new.iter().for_each(|index| self.offer(id, &params, *index));
        new.len() as u16
    }

    /// Withdraws a channel, after closing it.
    pub(super) fn begin_rescind(&mut self, relid: u32) {
        let Some(channel) = self.channels.get_mut(relid) else { return };
        match channel.stage {
            Stage::Rescinded => {}
            Stage::Closed => self.rescind(relid),
            Stage::Opening { .. } | Stage::Open | Stage::Closing => {
                channel.leaving = true;
                self.begin_close(relid);
            }
        }
    }

    /// Tells the guest that a closed channel is gone. It frees the channel's pages without another word.
    pub(super) fn rescind(&mut self, relid: u32) {
        let Some(channel) = self.channels.get_mut(relid) else { return };
        channel.stage = Stage::Rescinded;
        self.gpadls.drop_of(relid);
        self.post(MessageNumber::RESCIND_CHANNELOFFER, &Relid { relid });
    }

    pub(super) fn relid_released(&mut self, Relid { relid }: Relid) -> Handled {
        let channel = self.channels.get(relid).ok_or(Violation)?;
        if channel.stage != Stage::Rescinded {
            return Err(Violation);
        }
        self.channels.remove(relid);
        // A device with the same name may have been waiting for this.
        self.offer_all();
        Ok(())
    }

    pub(super) fn connect_request(&mut self, request: TlConnectRequest) -> Handled {
        self.actions.push_back(Action::Connect(request));
        Ok(())
    }

    /// Nobody listens where the guest wanted to connect.
    pub fn refuse_connect(&mut self, request: &TlConnectRequest) {
        let TlConnectRequest { endpoint, service } = *request;
        let result = TlConnectResult { endpoint, service, status: status::CONNECTION_REFUSED };
        self.post(MessageNumber::TL_CONNECT_RESULT, &result);
    }
}
