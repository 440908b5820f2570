//! A question to CPUID.

/// Leaves that have a slot of their own, in three groups of 64: basic, the hypervisor's, extended.
pub(crate) const SLOTS: usize = 192;
/// The slot of all others.
const OTHER: u8 = 255;

/// Leaf and subleaf, and where to look.
#[derive(Clone, Copy)]
pub(crate) struct Query {
    pub leaf: u32,
    pub subleaf: u32,
    pub slot: u8,
}

impl Query {
    #[inline]
    pub const fn new(leaf: u32, subleaf: u32) -> Self {
        Self { leaf, subleaf, slot: slot(leaf) }
    }
}

/// The slot of a leaf.
#[inline]
pub(crate) const fn slot(leaf: u32) -> u8 {
    // Bits 31:30 name the group: 0, 1, 2.
    if leaf & 0x3FFF_FFC0 != 0 || leaf >> 30 == 3 {
        OTHER
    } else {
        (leaf >> 30 << 6 | leaf & 0x3F) as u8
    }
}
