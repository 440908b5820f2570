//! Devices of the root and their interrupts, as MAP_DEVICE_INTERRUPT names them (Linux `hvhdk_mini.h`,
//! `union hv_device_id`, `struct hv_interrupt_entry`).

use bitfield_struct::bitfield;
use wire::{layout, open_enum, wire};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What a [`DeviceId`] names, its bits 63:62.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeviceType {
    /// A number of the hypervisor's.
    Logical,
    /// A PCI function, see [`PciDeviceId`].
    Pci,
    /// An I/O APIC, see [`DeviceId::ioapic_id`].
    IoApic,
    /// A device of an ACPI table.
    Acpi,
}

/// TLFS `HV_DEVICE_ID`.
#[repr(transparent)]
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
pub struct DeviceId(pub u64);

impl DeviceId {
    /// A PCI function.
    pub const fn from_pci(pci: PciDeviceId) -> Self {
        Self(pci.into_bits() & u64::MAX >> 2 | 1 << 62)
    }

    /// The I/O APIC with this id.
    pub const fn from_ioapic_id(id: u8) -> Self {
        Self(2 << 62 | id as u64)
    }

    /// What it names.
    pub const fn device_type(self) -> DeviceType {
        match self.0 >> 62 {
            0 => DeviceType::Logical,
            1 => DeviceType::Pci,
            2 => DeviceType::IoApic,
            _ => DeviceType::Acpi,
        }
    }

    /// The PCI function, if it names one.
    pub const fn pci(self) -> Option<PciDeviceId> {
        match self.device_type() {
            DeviceType::Pci => Some(PciDeviceId::from_bits(self.0)),
            _ => None,
        }
    }

    /// Id of the I/O APIC as the MADT has it, if it names one.
    pub const fn ioapic_id(self) -> Option<u8> {
        match self.device_type() {
            DeviceType::IoApic => Some(self.0 as u8),
            _ => None,
        }
    }
}

/// A [`DeviceId`] that names a PCI function.
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PciDeviceId {
    /// Function number.
    #[bits(3)]
    pub function: u8,
    /// Device number.
    #[bits(5)]
    pub device: u8,
    /// Bus number.
    pub bus: u8,
    /// Segment group.
    pub segment: u16,
    /// Subordinate bus of the bridge in front, with `source_shadow`.
    pub subordinate_bus: u8,
    /// Secondary bus of the bridge in front, with `source_shadow`.
    pub secondary_bus: u8,
    /// 0.
    #[bits(2)]
    pub phantom_function_bits: u8,
    /// Behind a bridge in PCI-X mode, which may replace the requester id by those of its buses.
    pub source_shadow: bool,
    #[bits(11)]
    __: u16,
    /// 1; see [`DeviceType::Pci`].
    #[bits(2)]
    pub device_type: u8,
}

open_enum! {
    /// TLFS `HV_INTERRUPT_SOURCE`.
    pub struct InterruptSource(u32) {
        /// Message-signalled.
        MSI = 1;
        /// Pin of an I/O APIC. Linux unmaps such an interrupt only if the entry is not 0.
        IO_APIC = 2;
    }
}

wire! {
    /// TLFS `HV_INTERRUPT_ENTRY`: what the device or the pin has to be programmed with.
    pub struct InterruptEntry {
        /// Kind of source.
        pub source: InterruptSource,
        /// 0.
        pub reserved: u32,
        /// MSI: address in the low half, data in the high half. I/O APIC: the redirection entry.
        pub data: u64,
    }
}
layout!(InterruptEntry, 16, source @ 0, reserved @ 4, data @ 8);

impl InterruptEntry {
    /// A message to `address` (below 4 GiB) with `data`.
    pub const fn msi(address: u32, data: u32) -> Self {
        Self {
            source: InterruptSource::MSI,
            reserved: 0,
            data: address as u64 | (data as u64) << 32,
        }
    }

    /// A redirection entry.
    pub const fn ioapic(rte: u64) -> Self {
        Self { source: InterruptSource::IO_APIC, reserved: 0, data: rte }
    }

    /// Address and data, if it is a message.
    pub const fn as_msi(&self) -> Option<(u32, u32)> {
        match self.source {
            InterruptSource::MSI => Some((self.data as u32, (self.data >> 32) as u32)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pci_function_is_found_in_its_device_id() {
        // 0001:02:03.4
        let id = DeviceId(0x4000_0000_0001_021C);
        assert_eq!(id.device_type(), DeviceType::Pci);
        let pci = id.pci().unwrap();
        assert_eq!((pci.segment(), pci.bus(), pci.device(), pci.function()), (1, 2, 3, 4));
        assert_eq!(DeviceId::from_pci(pci.with_device_type(0)), id);
        assert_eq!(id.ioapic_id(), None);
    }

    #[test]
    fn an_ioapic_is_found_in_its_device_id() {
        let id = DeviceId::from_ioapic_id(9);
        assert_eq!(id.0, 0x8000_0000_0000_0009);
        assert_eq!(id.ioapic_id(), Some(9));
        assert_eq!(id.pci(), None);
    }

    #[test]
    fn a_message_keeps_address_and_data_apart() {
        assert_eq!(InterruptEntry::msi(0xFEE0_1000, 0x31).as_msi(), Some((0xFEE0_1000, 0x31)));
        assert_eq!(InterruptEntry::ioapic(0x31).as_msi(), None);
    }
}
