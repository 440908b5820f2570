//! Partitions: life cycle and properties (TLFS, "Partition Management").

use crate::PartitionId;
use crate::id::ProximityDomain;
use crate::property::PartitionProperty;
use bitfield_struct::bitfield;
use wire::{layout, wire};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

wire! {
    /// [`CREATE_PARTITION`](super::HypercallCode::CREATE_PARTITION).
    pub struct CreatePartition {
        /// What kind of partition.
        pub flags: CreationFlags,
        /// Where its memory should come from; ignored.
        pub proximity: ProximityDomain,
        /// Major version in bits 15:8, minor in 7:0; Linux passes 0x0609.
        pub compatibility_version: u32,
        /// 0.
        pub padding: u32,
        /// Processor features the partition is not to have, in the order of
        /// [`PartitionProperty::PROCESSOR_FEATURES0`] and its successor.
        pub disabled_processor_features: [u64; 2],
        /// XSAVE features it is not to have.
        pub disabled_xsave_features: u64,
        /// Isolation from its host.
        pub isolation: IsolationProperties,
    }

    /// Output of [`CreatePartition`].
    pub struct CreatePartitionOutput {
        /// The new partition.
        pub partition_id: PartitionId,
    }

    /// Input of INITIALIZE_PARTITION, FINALIZE_PARTITION, DELETE_PARTITION, all fast calls.
    pub struct PartitionInput {
        /// Which partition.
        pub partition_id: PartitionId,
    }

    /// Output of [`GET_PARTITION_ID`](super::HypercallCode::GET_PARTITION_ID).
    pub struct GetPartitionIdOutput {
        /// The caller's.
        pub partition_id: PartitionId,
    }

    /// [`GET_PARTITION_PROPERTY`](super::HypercallCode::GET_PARTITION_PROPERTY).
    pub struct GetPartitionProperty {
        /// Of which partition.
        pub partition_id: PartitionId,
        /// Which.
        pub property: PartitionProperty,
        /// 0.
        pub padding: u32,
    }

    /// Output of [`GetPartitionProperty`].
    pub struct GetPartitionPropertyOutput {
        /// Value.
        pub value: u64,
    }

    /// [`SET_PARTITION_PROPERTY`](super::HypercallCode::SET_PARTITION_PROPERTY).
    pub struct SetPartitionProperty {
        /// Of which partition.
        pub partition_id: PartitionId,
        /// Which.
        pub property: PartitionProperty,
        /// 0.
        pub padding: u32,
        /// Value.
        pub value: u64,
    }

    /// [`GET_PARTITION_PROPERTY_EX`](super::HypercallCode::GET_PARTITION_PROPERTY_EX). The output is the value.
    pub struct GetPartitionPropertyEx {
        /// Of which partition.
        pub partition_id: PartitionId,
        /// Which.
        pub property: PartitionProperty,
        /// 0.
        pub padding: u32,
        /// Argument of the property; a VP index in bits 31:0 for those about a VP.
        pub argument: u64,
    }
}

/// Most bytes of a property that [`GetPartitionPropertyEx`] returns.
pub const PROPERTY_EX_MAX: usize = crate::PAGE_SIZE - size_of::<GetPartitionPropertyEx>();

layout!(
    CreatePartition, 56, flags @ 0, proximity @ 8, compatibility_version @ 16, padding @ 20,
    disabled_processor_features @ 24, disabled_xsave_features @ 40, isolation @ 48
);
layout!(CreatePartitionOutput, 8);
layout!(PartitionInput, 8);
layout!(GetPartitionIdOutput, 8);
layout!(GetPartitionProperty, 16, partition_id @ 0, property @ 8, padding @ 12);
layout!(GetPartitionPropertyOutput, 8);
layout!(SetPartitionProperty, 24, partition_id @ 0, property @ 8, value @ 16);
layout!(GetPartitionPropertyEx, 24, partition_id @ 0, property @ 8, argument @ 16);
const _: () = assert!(PROPERTY_EX_MAX == 4072);

/// TLFS `HV_PARTITION_CREATION_FLAGS`, those that Linux knows.
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CreationFlags {
    /// The guest sees hardware threads.
    pub smt_enabled_guest: bool,
    /// The guest may run a hypervisor.
    pub nested_virtualization_capable: bool,
    #[bits(2)]
    __: u8,
    /// Large pages may be mapped.
    pub gpa_super_pages: bool,
    #[bits(3)]
    __: u8,
    /// The parent handles intercepts. Linux sets it always.
    pub exo_partition: bool,
    #[bits(4)]
    __: u8,
    /// The hypervisor emulates the local APIC.
    pub lapic_enabled: bool,
    #[bits(5)]
    __: u8,
    /// Intercepts go to a mapped page, the message is opaque. Linux sets it always.
    pub intercept_message_page: bool,
    #[bits(2)]
    __: u8,
    /// The local APIC has x2APIC mode.
    pub x2apic_capable: bool,
    #[bits(41)]
    __: u64,
}

/// TLFS `HV_PARTITION_ISOLATION_PROPERTIES`.
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct IsolationProperties {
    /// 0 none, 2 SNP, 3 TDX.
    #[bits(5)]
    pub isolation_type: u8,
    /// 0 none, 1 hardware.
    #[bits(2)]
    pub host_type: u8,
    #[bits(5)]
    __: u8,
    /// First page number of shared memory.
    #[bits(52)]
    pub shared_gpa_boundary: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn creation_flags_have_the_values_linux_passes() {
        assert_eq!(CreationFlags::new().with_gpa_super_pages(true).into_bits(), 1 << 4);
        assert_eq!(CreationFlags::new().with_exo_partition(true).into_bits(), 1 << 8);
        assert_eq!(CreationFlags::new().with_lapic_enabled(true).into_bits(), 1 << 13);
        assert_eq!(CreationFlags::new().with_intercept_message_page(true).into_bits(), 1 << 19);
        assert_eq!(CreationFlags::new().with_x2apic_capable(true).into_bits(), 1 << 22);
    }
}
