//! One composed answer.

use crate::Registers;

/// All zeros.
pub(crate) const ZERO: Registers = Registers { eax: 0, ebx: 0, ecx: 0, edx: 0 };

/// What in an answer depends on the VP and changes as it runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Dynamic {
    Nothing,
    /// APIC id, OSXSAVE, APIC enabled.
    Basic1,
    /// The APIC id in EDX.
    Topology,
    /// Size of the enabled XSAVE components.
    XsaveSize,
    /// Size of the enabled components, compacted.
    CompactedSize,
    /// APIC enabled, as AMD repeats it.
    Ext1,
    /// Invariant TSC, once the guest has asked for it.
    Ext7,
    /// APIC id and core.
    AmdTopology,
}

/// One composed answer: 28 bytes of the storage that a [`crate::Policy`] is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    pub(crate) leaf: u32,
    pub(crate) subleaf: u32,
    pub(crate) registers: Registers,
    pub(crate) dynamic: Dynamic,
    /// The subleaf counts.
    pub(crate) indexed: bool,
}

impl Entry {
    /// Fills storage that was not used yet.
    pub const EMPTY: Self =
        Self { leaf: 0, subleaf: 0, registers: ZERO, dynamic: Dynamic::Nothing, indexed: false };
}
