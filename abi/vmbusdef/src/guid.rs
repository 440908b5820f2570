//! Globally unique identifiers, and those of the device classes.

use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A GUID as it lies in memory: the first three groups of its text form are little-endian.
#[repr(transparent)]
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// All zero: no identifier.
    pub const ZERO: Self = Self([0; 16]);

    /// From its text form's groups; the last two as one number each.
    pub const fn new(first: u32, second: u16, third: u16, fourth: u16, last: u64) -> Self {
        let [a0, a1, a2, a3] = first.to_le_bytes();
        let [b0, b1] = second.to_le_bytes();
        let [c0, c1] = third.to_le_bytes();
        let [d0, d1] = fourth.to_be_bytes();
        let [_, _, e0, e1, e2, e3, e4, e5] = last.to_be_bytes();
        Self([a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, e0, e1, e2, e3, e4, e5])
    }

    /// From its text form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`; `None` if it is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut groups = text.split('-');
        let mut group = |digits: usize| {
            let group = groups.next()?;
            let hex = group.bytes().all(|byte| byte.is_ascii_hexdigit());
            (hex && group.len() == digits).then(|| u64::from_str_radix(group, 16).ok())?
        };
        let [first, second, third, fourth, last] =
            [group(8)?, group(4)?, group(4)?, group(4)?, group(12)?];
        let half = |value: u64| value as u16;
        let guid = Self::new(first as u32, half(second), half(third), half(fourth), last);
        groups.next().is_none().then_some(guid)
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, &index) in
            [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15].iter().enumerate()
        {
            if matches!(place, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{:02x}", self.0.get(index).copied().unwrap_or(0))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Classes of devices: the interface type in an offer, by which a guest chooses the driver.
pub mod class {
    use super::Guid;

    /// SCSI controller.
    pub const SCSI: Guid = Guid::new(0xba61_63d9, 0x04a1, 0x4d29, 0xb605, 0x72e2_ffb1_dc7f);
    /// IDE disk: one channel for each.
    pub const IDE: Guid = Guid::new(0x3241_2632, 0x86cb, 0x44a2, 0x9b5c, 0x50d1_4173_54f5);
    /// Fibre Channel host bus adapter.
    pub const FIBRE_CHANNEL: Guid =
        Guid::new(0x2f9b_cc4a, 0x0069, 0x4af3, 0xb76b, 0x6fd0_be52_8cda);
    /// Network adapter.
    pub const NETWORK: Guid = Guid::new(0xf861_5163, 0xdf3e, 0x46c5, 0x913f, 0xf2d2_f965_ed0e);
    /// Bus with passed-through PCI functions.
    pub const PCI: Guid = Guid::new(0x44c4_f61d, 0x4444, 0x4400, 0x9d52, 0x802e_27ed_e19f);
    /// Screen.
    pub const VIDEO: Guid = Guid::new(0xda0a_7802, 0xe377, 0x4aac, 0x8e77, 0x0558_eb10_73f8);
    /// Keyboard.
    pub const KEYBOARD: Guid = Guid::new(0xf912_ad6d, 0x2b17, 0x48ea, 0xbd65, 0xf927_a61c_7684);
    /// Mouse.
    pub const MOUSE: Guid = Guid::new(0xcfa8_b69e, 0x5b4a, 0x4cc0, 0xb98b, 0x8ba1_a1f3_f95a);
    /// Orderly shutdown.
    pub const SHUTDOWN: Guid = Guid::new(0x0e0b_6031, 0x5213, 0x4934, 0x818b, 0x38d9_0ced_39db);
    /// Wall-clock time.
    pub const TIME_SYNC: Guid = Guid::new(0x9527_e630, 0xd0ae, 0x497b, 0xadce, 0xe80a_b017_5caf);
    /// Heartbeat.
    pub const HEARTBEAT: Guid = Guid::new(0x5716_4f39, 0x9115, 0x4e78, 0xab55, 0x382f_3bd5_422d);
    /// Exchange of keys and values.
    pub const KVP: Guid = Guid::new(0xa9a0_f4e7, 0x5a45, 0x4d96, 0xb827, 0x8a84_1e8c_03e6);
    /// Freezing of file systems.
    pub const VSS: Guid = Guid::new(0x35fa_2e29, 0xea23, 0x4236, 0x96ae, 0x3a6e_bacb_a440);
    /// Dynamic memory.
    pub const BALLOON: Guid = Guid::new(0x5250_74dc, 0x8985, 0x46e2, 0x8057, 0xa307_dc18_a502);
    /// File copy.
    pub const FILE_COPY: Guid = Guid::new(0x34d1_4be3, 0xdee4, 0x41c8, 0x9ae7, 0x6b17_4977_c192);
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn text_and_memory_differ_in_the_first_three_groups() {
        let text = "ba6163d9-04a1-4d29-b605-72e2ffb1dc7f";
        assert_eq!(Guid::parse(text), Some(class::SCSI));
        assert_eq!(class::SCSI.to_string(), text);
        // From a VM's /sys/bus/vmbus, as the offer carried it.
        assert_eq!(class::SCSI.0[..8], [0xd9, 0x63, 0x61, 0xba, 0xa1, 0x04, 0x29, 0x4d]);
        assert_eq!(class::SCSI.0[8..], [0xb6, 0x05, 0x72, 0xe2, 0xff, 0xb1, 0xdc, 0x7f]);
    }

    #[test]
    fn what_is_not_a_guid_is_refused() {
        for text in [
            "",
            "ba6163d9",
            "ba6163d9-04a1-4d29-b605-72e2ffb1dc7g",
            "+a6163d9-04a1-4d29-b605-72e2ffb1dc7f",
        ] {
            assert_eq!(Guid::parse(text), None, "{text}");
        }
        assert_eq!(Guid::parse("ba6163d9-04a1-4d29-b605-72e2ffb1dc7f-0"), None);
    }
}
