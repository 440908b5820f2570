//! TLFS `HV_VP_SET`: which VPs of a partition, in several inputs.

use wire::{layout, open_enum, wire};

open_enum! {
    /// TLFS `HV_GENERIC_SET_FORMAT`.
    pub struct VpSetFormat(u64) {
        /// Banks of 64 VPs follow, one for each bit of the mask.
        SPARSE_4K = 0;
        /// All VPs; nothing follows.
        ALL = 1;
    }
}

wire! {
    /// The fixed part of a VP set. One u64 follows for each bit of the mask, in ascending order; bit `v` of the one for
    /// bank `b` stands for VP `64 * b + v`.
    ///
    /// Whether the mask counts as variable header differs between calls: in device interrupts it does.
    pub struct VpSetHeader {
        /// How to read the rest.
        pub format: VpSetFormat,
        /// Which banks follow.
        pub valid_bank_mask: u64,
    }
}
layout!(VpSetHeader, 16, format @ 0, valid_bank_mask @ 8);
