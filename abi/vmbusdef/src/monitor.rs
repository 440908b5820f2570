//! Monitor pages (Linux `struct hv_monitor_page`): signals that may be late, without a hypercall.
//!
//! A channel whose offer says that a monitor is allocated signals by setting bit `id % 32` of group `id / 32`; the other
//! side looks now and then. No current guest needs it.

use wire::{layout, wire};

/// Groups of 32 triggers.
pub const GROUPS: usize = 4;

wire! {
    /// Triggers of 32 channels.
    pub struct TriggerGroup {
        /// Bit: a signal waits.
        pub pending: u32,
        /// Bit: a signal was asked for.
        pub armed: u32,
    }

    /// What a trigger stands for.
    pub struct MonitorParameter {
        /// Where the signal goes.
        pub connection_id: u32,
        /// Which flag.
        pub flag_number: u16,
        /// 0.
        pub reserved: u16,
    }

    /// The page.
    pub struct MonitorPage {
        /// Bits 3:0: which groups are in use.
        pub trigger_state: u32,
        /// 0.
        pub reserved_4: u32,
        /// Triggers.
        pub trigger_groups: [TriggerGroup; GROUPS],
        /// 0.
        pub reserved_40: [u64; 3],
        /// When to look next.
        pub next_check_time: [[u32; 32]; GROUPS],
        /// How late a signal may be, in 100 ns.
        pub latency: [[u16; 32]; GROUPS],
        /// 0.
        pub reserved_832: [u64; 32],
        /// By trigger.
        pub parameters: [[MonitorParameter; 32]; GROUPS],
        /// 0.
        pub reserved_2112: [u8; 1984],
    }
}
layout!(TriggerGroup, 8, pending @ 0, armed @ 4);
layout!(MonitorParameter, 8, connection_id @ 0, flag_number @ 4, reserved @ 6);
layout!(
    MonitorPage, 4096, trigger_state @ 0, trigger_groups @ 8, next_check_time @ 64, latency @ 576, parameters @ 1088
);
