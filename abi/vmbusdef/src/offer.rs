//! What a device says of itself to a guest.

use crate::guid::Guid;
use bitfield_struct::bitfield;
use wire::{layout, wire};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of user-defined data in an offer and in OPENCHANNEL.
pub const USER_DATA_SIZE: usize = 120;

/// Linux `VMBUS_CHANNEL_*`: properties of an offer.
#[bitfield(u16)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct OfferFlags {
    /// The device is enumerated by the guest's plug and play.
    pub enumerate_device_interface: bool,
    /// Ring in encrypted memory. Linux drops such an offer without confidential VMBus.
    pub confidential_ring: bool,
    /// GPA-direct memory may be encrypted. As above.
    pub confidential_external_memory: bool,
    /// GPA-direct memory is to be pinned.
    pub pinned_memory: bool,
    /// Pipe framing.
    pub named_pipe_mode: bool,
    #[bits(3)]
    __: u8,
    /// Loops back.
    pub loopback_offer: bool,
    /// Offered by a parent.
    pub parent_offer: bool,
    /// A monitor is wanted.
    pub request_monitored_notification: bool,
    #[bits(2)]
    __: u8,
    /// hv_sock.
    pub tlnpi_provider_offer: bool,
    #[bits(2)]
    __: u8,
}

wire! {
    /// OFFERCHANNEL behind its header (Linux `struct vmbus_channel_offer_channel`).
    pub struct Offer {
        /// Class of the device: chooses the driver.
        pub interface_type: Guid,
        /// This device. No two primary channels have the same, of whatever class.
        pub interface_instance: Guid,
        /// 0.
        pub reserved: [u8; 16],
        /// Properties.
        pub flags: OfferFlags,
        /// Space in the VMBus windows that the device wants, in MiB.
        pub mmio_megabytes: u16,
        /// For the driver.
        pub user_data: [u8; USER_DATA_SIZE],
        /// 0 for the primary channel of a device.
        pub subchannel_index: u16,
        /// 0.
        pub mmio_megabytes_optional: u16,
        /// The channel's number and its event flag.
        pub relid: u32,
        /// Bit in the monitor pages, if `monitor_allocated`.
        pub monitor_id: u8,
        /// Bit 0: the guest signals through the monitor page.
        pub monitor_allocated: u8,
        /// Bit 0: the channel interrupts the VP it names, and has a connection of its own.
        pub is_dedicated_interrupt: u16,
        /// Where the guest signals.
        pub connection_id: u32,
    }
}
layout!(
    Offer, 188, interface_type @ 0, interface_instance @ 16, reserved @ 32, flags @ 48, mmio_megabytes @ 50,
    user_data @ 52, subchannel_index @ 172, mmio_megabytes_optional @ 174, relid @ 176, monitor_id @ 180,
    monitor_allocated @ 181, is_dedicated_interrupt @ 182, connection_id @ 184
);
