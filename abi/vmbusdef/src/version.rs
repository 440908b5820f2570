//! Versions of the channel protocol.

use bitfield_struct::bitfield;
use core::fmt;
use wire::wire;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Major number in the upper half, minor in the lower (`VERSION_*` in Linux).
#[repr(transparent)]
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Version(pub u32);

impl Version {
    /// 0.13: Windows Server 2008, and Linux before 2021.
    pub const WS2008: Self = Self(0x0000_000D);
    /// 1.1: Windows 7; several CPUs, connection ids in offers.
    pub const WIN7: Self = Self(0x0001_0001);
    /// 2.4: Windows 8; the oldest with which channels interrupt the VP they name.
    pub const WIN8: Self = Self(0x0002_0004);
    /// 3.0: Windows 8.1.
    pub const WIN8_1: Self = Self(0x0003_0000);
    /// 4.0: Windows 10.
    pub const WIN10: Self = Self(0x0004_0000);
    /// 4.1: MODIFYCHANNEL.
    pub const WIN10_V4_1: Self = Self(0x0004_0001);
    /// 5.0: message connection id and SINT are negotiated.
    pub const WIN10_V5: Self = Self(0x0005_0000);
    /// 5.1.
    pub const WIN10_V5_1: Self = Self(0x0005_0001);
    /// 5.2.
    pub const WIN10_V5_2: Self = Self(0x0005_0002);
    /// 5.3: MODIFYCHANNEL is answered.
    pub const WIN10_V5_3: Self = Self(0x0005_0003);
    /// 6.0: feature flags are answered.
    pub const COPPER: Self = Self(0x0006_0000);

    /// Major number.
    pub const fn major(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// Minor number.
    pub const fn minor(self) -> u16 {
        self.0 as u16
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major(), self.minor())
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What may be agreed on from version 5.3 and 6.0 on.
#[bitfield(u32)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FeatureFlags {
    /// The guest chooses event flag and connection of a channel.
    pub guest_specified_signal_parameters: bool,
    /// Channels without interrupts.
    pub channel_interrupt_redirection: bool,
    /// MODIFY_CONNECTION.
    pub modify_connection: bool,
    /// INITIATE_CONTACT carries an identifier.
    pub client_id: bool,
    /// Confidential channels.
    pub confidential_channels: bool,
    /// PAUSE and RESUME.
    pub pause_resume: bool,
    /// Monitor pages of the server's.
    pub server_specified_monitor_pages: bool,
    #[bits(25)]
    __: u32,
}

wire! {
    /// What INITIATE_CONTACT has in place of the interrupt page from version 5.0 on.
    pub struct MessageTarget {
        /// Where the guest wants channel messages.
        pub sint: u8,
        /// Virtual trust level of the guest.
        pub vtl: u8,
        /// 0.
        pub reserved: u16,
        /// What the guest asks for.
        pub feature_flags: FeatureFlags,
    }
}
wire::layout!(MessageTarget, 8, sint @ 0, vtl @ 1, reserved @ 2, feature_flags @ 4);

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::format;

    #[test]
    fn versions_are_ordered_by_age_and_print_as_numbers() {
        let all = [
            Version::WS2008,
            Version::WIN7,
            Version::WIN8,
            Version::WIN8_1,
            Version::WIN10,
            Version::WIN10_V4_1,
            Version::WIN10_V5,
            Version::WIN10_V5_3,
            Version::COPPER,
        ];
        assert!(all.is_sorted());
        assert_eq!(format!("{} {:?}", Version::WS2008, Version::WIN10_V5_3), "0.13 5.3");
    }
}
