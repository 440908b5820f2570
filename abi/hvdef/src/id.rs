//! Who is who: partitions, virtual and logical processors, virtual trust levels.

use bitfield_struct::bitfield;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// TLFS `HV_PARTITION_ID`.
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
pub struct PartitionId(pub u64);

impl PartitionId {
    /// No partition: never given to one.
    pub const INVALID: Self = Self(0);
    /// The caller's own partition.
    pub const SELF: Self = Self(u64::MAX);
}

/// TLFS `HV_VP_INDEX`: a VP within its partition.
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
pub struct VpIndex(pub u32);

impl VpIndex {
    /// Any VP, or all of them, as the call has it.
    pub const ANY: Self = Self(u32::MAX);
    /// The calling VP.
    pub const SELF: Self = Self(u32::MAX - 1);
    /// In an APIC-less context: no VP.
    pub const NULL: Self = Self(u32::MAX - 2);
}

/// TLFS `HV_LOGICAL_PROCESSOR_INDEX`: a hardware thread of the machine.
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
pub struct LpIndex(pub u32);

/// TLFS `HV_INPUT_VTL`: which virtual trust level of the VP a call means. A VP here has level 0 only.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Vtl {
    /// The level, if `use_target` is set.
    #[bits(4)]
    pub target: u8,
    /// Use `target` rather than the caller's own level.
    pub use_target: bool,
    #[bits(3)]
    __: u8,
}

/// TLFS `HV_PROXIMITY_DOMAIN_INFO`: where memory should come from. All zero when the caller does not care.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ProximityDomain {
    /// Number of the domain as ACPI has it.
    pub domain_id: u32,
    /// Bit 0: preferred, not required. Bit 31: the structure says something.
    pub flags: u32,
}
wire::layout!(ProximityDomain, 8, domain_id @ 0, flags @ 4);
