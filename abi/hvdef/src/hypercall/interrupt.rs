//! Interrupts: of devices, between VPs, and from a parent to its child (TLFS, "Virtual Interrupt Control"; Linux
//! `hvhdk_mini.h` for device interrupts).

use super::VpSetHeader;
use crate::PartitionId;
use crate::device_interrupt::{DeviceId, InterruptEntry};
use crate::id::Vtl;
use bitfield_struct::bitfield;
use wire::{layout, open_enum, wire};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

wire! {
    /// [`MAP_DEVICE_INTERRUPT`](super::HypercallCode::MAP_DEVICE_INTERRUPT). The variable header begins at
    /// `vp_set.valid_bank_mask`, which counts, and goes on with the banks.
    pub struct MapDeviceInterrupt {
        /// Whose device.
        pub partition_id: PartitionId,
        /// Which device.
        pub device_id: DeviceId,
        /// 0.
        pub flags: u32,
        /// 0: the hypervisor chooses the remapping entry.
        pub base_irt_index: u32,
        /// For logical devices; 0.
        pub logical_interrupt_entry: InterruptEntry,
        /// What the VP is to receive and where.
        pub descriptor: InterruptDescriptor,
    }

    /// TLFS `HV_DEVICE_INTERRUPT_DESCRIPTOR`.
    pub struct InterruptDescriptor {
        /// Kind of interrupt.
        pub interrupt_type: InterruptType,
        /// 0 edge, 1 level.
        pub trigger_mode: u32,
        /// Consecutive vectors; 1.
        pub vector_count: u32,
        /// 0.
        pub reserved: u32,
        /// Where to.
        pub target: InterruptTarget,
    }

    /// TLFS `HV_DEVICE_INTERRUPT_TARGET`, with a processor set.
    pub struct InterruptTarget {
        /// The VP's vector.
        pub vector: u32,
        /// How to read the rest.
        pub flags: InterruptTargetFlags,
        /// Which VPs. With `processor_set` clear the format's place holds a mask of VPs 0 to 63.
        pub vp_set: VpSetHeader,
    }

    /// Output of [`MapDeviceInterrupt`].
    pub struct MapDeviceInterruptOutput {
        /// What to write into the device or the I/O APIC pin.
        pub interrupt_entry: InterruptEntry,
        /// 0.
        pub deprecated: [u64; 5],
    }

    /// [`RETARGET_DEVICE_INTERRUPT`](super::HypercallCode::RETARGET_DEVICE_INTERRUPT). Variable header as in
    /// [`MapDeviceInterrupt`].
    pub struct RetargetDeviceInterrupt {
        /// Whose device.
        pub partition_id: PartitionId,
        /// Which device, by the bytes of its VMBus instance id.
        pub device_id: u64,
        /// Which interrupt.
        pub interrupt_entry: InterruptEntry,
        /// 0.
        pub reserved: u64,
        /// Where to.
        pub target: InterruptTarget,
    }

    /// [`SEND_IPI`](super::HypercallCode::SEND_IPI), a fast call.
    pub struct SendIpi {
        /// 0x10 to 0xFF.
        pub vector: u32,
        /// 0.
        pub reserved: u32,
        /// VPs 0 to 63.
        pub processor_mask: u64,
    }

    /// [`SEND_IPI_EX`](super::HypercallCode::SEND_IPI_EX): banks follow as variable header.
    pub struct SendIpiEx {
        /// 0x10 to 0xFF.
        pub vector: u32,
        /// 0.
        pub reserved: u32,
        /// To whom. The bank mask does not count as variable header.
        pub vp_set: VpSetHeader,
    }

    /// [`ASSERT_VIRTUAL_INTERRUPT`](super::HypercallCode::ASSERT_VIRTUAL_INTERRUPT).
    pub struct AssertVirtualInterrupt {
        /// To which partition.
        pub partition_id: PartitionId,
        /// Kind and addressing.
        pub control: InterruptControl,
        /// APIC id, or logical destination.
        pub destination: u64,
        /// Vector.
        pub vector: u32,
        /// Virtual trust level.
        pub target_vtl: Vtl,
        /// 0.
        pub reserved: [u8; 3],
    }

    /// [`CLEAR_VIRTUAL_INTERRUPT`](super::HypercallCode::CLEAR_VIRTUAL_INTERRUPT), a fast call.
    pub struct ClearVirtualInterrupt {
        /// Of which partition.
        pub partition_id: PartitionId,
    }
}

/// [`UNMAP_DEVICE_INTERRUPT`](super::HypercallCode::UNMAP_DEVICE_INTERRUPT). Packed: it ends after its flags.
#[repr(C, packed(4))]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct UnmapDeviceInterrupt {
    /// Whose device.
    pub partition_id: PartitionId,
    /// Which device.
    pub device_id: DeviceId,
    /// What [`MapDeviceInterruptOutput`] said.
    pub interrupt_entry: InterruptEntry,
    /// 0.
    pub flags: u32,
}

layout!(
    MapDeviceInterrupt, 80, partition_id @ 0, device_id @ 8, flags @ 16, base_irt_index @ 20,
    logical_interrupt_entry @ 24, descriptor @ 40
);
layout!(
    InterruptDescriptor, 40, interrupt_type @ 0, trigger_mode @ 4, vector_count @ 8, reserved @ 12, target @ 16
);
layout!(InterruptTarget, 24, vector @ 0, flags @ 4, vp_set @ 8);
layout!(MapDeviceInterruptOutput, 56, interrupt_entry @ 0, deprecated @ 16);
layout!(UnmapDeviceInterrupt, 36, partition_id @ 0, device_id @ 8, interrupt_entry @ 16, flags @ 32);
layout!(RetargetDeviceInterrupt, 64, device_id @ 8, interrupt_entry @ 16, reserved @ 32, target @ 40);
layout!(SendIpi, 16, vector @ 0, processor_mask @ 8);
layout!(SendIpiEx, 24, vector @ 0, reserved @ 4, vp_set @ 8);
layout!(AssertVirtualInterrupt, 32, partition_id @ 0, control @ 8, destination @ 16, vector @ 24, target_vtl @ 28);
layout!(ClearVirtualInterrupt, 8, partition_id @ 0);

open_enum! {
    /// TLFS `HV_INTERRUPT_TYPE` (x64).
    pub struct InterruptType(u32) {
        /// The vector, at every target.
        FIXED = 0x0000;
        /// The vector, at the target of lowest priority.
        LOWEST_PRIORITY = 0x0001;
        /// System management interrupt.
        SMI = 0x0002;
        /// Remote read.
        REMOTE_READ = 0x0003;
        /// Non-maskable interrupt.
        NMI = 0x0004;
        /// INIT.
        INIT = 0x0005;
        /// Start-up; the vector is the page number.
        SIPI = 0x0006;
        /// The vector comes from the interrupt controller (8259).
        EXT_INT = 0x0007;
        /// As local interrupt pin 0.
        LOCAL_INT0 = 0x0008;
        /// As local interrupt pin 1.
        LOCAL_INT1 = 0x0009;
    }
}

/// Flags of [`InterruptTarget`].
#[bitfield(u32)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct InterruptTargetFlags {
    /// To each VP of the set rather than to one of them.
    pub multicast: bool,
    /// A VP set follows rather than a mask.
    pub processor_set: bool,
    #[bits(30)]
    __: u32,
}

/// TLFS `HV_INTERRUPT_CONTROL`.
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct InterruptControl {
    /// An [`InterruptType`]; see [`Self::kind`].
    pub interrupt_type: u32,
    /// Level-triggered: the parent hears of the end of interrupt.
    pub level_triggered: bool,
    /// The destination is a logical one.
    pub logical_destination: bool,
    /// Clients set one of these (bit 62, "long mode"): not checked.
    #[bits(30)]
    pub ignored: u32,
}

impl InterruptControl {
    /// Kind of interrupt.
    pub const fn kind(self) -> InterruptType {
        InterruptType(self.interrupt_type())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device_interrupt::DeviceType;
    use crate::hypercall::VpSetFormat;

    #[test]
    fn what_linux_passes_for_an_msi_is_understood() {
        let words: [u64; 10] = [
            u64::MAX,              // own partition
            0x4000_0000_0000_0018, // 00:03.0
            0,
            0,
            0,
            0,             // fixed, edge
            1,             // one vector
            0x2_0000_0031, // vector 0x31, processor set
            0,             // sparse
            1,             // one bank
        ];
        let input: MapDeviceInterrupt = zerocopy::transmute!(words);
        assert_eq!(input.partition_id, PartitionId::SELF);
        assert_eq!(input.device_id.device_type(), DeviceType::Pci);
        assert_eq!(input.device_id.pci().map(|pci| pci.device()), Some(3));
        let descriptor = input.descriptor;
        assert_eq!((descriptor.interrupt_type, descriptor.trigger_mode), (InterruptType::FIXED, 0));
        assert_eq!((descriptor.vector_count, descriptor.target.vector), (1, 0x31));
        assert!(descriptor.target.flags.processor_set() && !descriptor.target.flags.multicast());
        assert_eq!(descriptor.target.vp_set.format, VpSetFormat::SPARSE_4K);
        assert_eq!(descriptor.target.vp_set.valid_bank_mask, 1);
    }

    #[test]
    fn the_control_word_of_an_assertion_has_flags_in_its_upper_half() {
        let control = InterruptControl::from_bits(1 << 62 | 1 << 33 | 1 << 32 | 7);
        assert_eq!(control.kind(), InterruptType::EXT_INT);
        assert!(control.level_triggered() && control.logical_destination());
    }
}
