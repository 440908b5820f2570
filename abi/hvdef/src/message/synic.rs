//! Payloads of messages that a SynIC slot carries (TLFS, "Synthetic Timers"; Linux `hvhdk.h`).

use crate::{HvStatus, PartitionId, VpIndex};
use wire::{layout, wire};

wire! {
    /// [`TIMER_EXPIRED`](super::MessageType::TIMER_EXPIRED).
    pub struct TimerExpired {
        /// Which of the VP's timers.
        pub timer_index: u32,
        /// 0.
        pub reserved: u32,
        /// Reference time it was set to.
        pub expiration_time: u64,
        /// Reference time of delivery.
        pub delivery_time: u64,
    }

    /// [`OPAQUE_INTERCEPT`](super::MessageType::OPAQUE_INTERCEPT). The sender is the VP's partition.
    pub struct OpaqueIntercept {
        /// Which VP stopped.
        pub vp_index: VpIndex,
    }

    /// [`SYNIC_SINT_INTERCEPT`](super::MessageType::SYNIC_SINT_INTERCEPT).
    pub struct SintIntercept {
        /// Whose ring has entries.
        pub sint_index: u32,
    }

    /// [`ASYNC_CALL_COMPLETION`](super::MessageType::ASYNC_CALL_COMPLETION).
    pub struct AsyncCallCompletion {
        /// About which partition the call was.
        pub partition_id: PartitionId,
        /// How it ended, an [`HvStatus`]; see [`Self::hv_status`].
        pub status: u32,
        /// Reps done.
        pub completion_count: u32,
        /// More about it.
        pub sub_status: u64,
    }

    /// [`SCHEDULER_VP_SIGNAL_BITSET`](super::MessageType::SCHEDULER_VP_SIGNAL_BITSET).
    pub struct VpSignalBitset {
        /// Whose VPs.
        pub partition_id: PartitionId,
        /// Signals that did not fit.
        pub overflow_count: u32,
        /// VPs in the set.
        pub vp_count: u16,
        /// 0.
        pub reserved: u16,
        /// A sparse VP set: format, bank mask, at most 16 banks.
        pub vp_set: [u64; 18],
    }

    /// [`SCHEDULER_VP_SIGNAL_PAIR`](super::MessageType::SCHEDULER_VP_SIGNAL_PAIR).
    pub struct VpSignalPair {
        /// Signals that did not fit.
        pub overflow_count: u32,
        /// Pairs that are valid.
        pub vp_count: u8,
        /// 0.
        pub reserved_5: [u8; 3],
        /// Partitions.
        pub partition_ids: [PartitionId; 19],
        /// VPs in them.
        pub vp_indexes: [VpIndex; 19],
        /// 0.
        pub reserved_236: u32,
    }
}

layout!(TimerExpired, 24, timer_index @ 0, expiration_time @ 8, delivery_time @ 16);
layout!(OpaqueIntercept, 4);
layout!(SintIntercept, 4);
layout!(AsyncCallCompletion, 24, partition_id @ 0, status @ 8, completion_count @ 12, sub_status @ 16);
layout!(VpSignalBitset, 160, partition_id @ 0, overflow_count @ 8, vp_count @ 12, vp_set @ 16);
layout!(VpSignalPair, 240, overflow_count @ 0, vp_count @ 4, partition_ids @ 8, vp_indexes @ 160, reserved_236 @ 236);

impl AsyncCallCompletion {
    /// How the call ended.
    pub const fn hv_status(&self) -> HvStatus {
        HvStatus(self.status as u16)
    }
}
