//! The first page of a ring (Linux `struct hv_ring_buffer`). Both sides write it at any time.

use wire::{layout, wire};

/// Bytes of the control page.
pub const CONTROL_SIZE: u32 = 4096;

wire! {
    /// What is in the control page. The data begins behind the page.
    pub struct RingControl {
        /// Where the producer goes on: bytes into the data, a multiple of 8.
        pub write_index: u32,
        /// Where the consumer goes on. Equal to `write_index`: empty.
        pub read_index: u32,
        /// Of the consumer: 1 = no signal for new data, please.
        pub interrupt_mask: u32,
        /// Of the producer: bytes it waits for; 0 = none.
        pub pending_send_size: u32,
        /// 0.
        pub reserved: [u32; 12],
        /// Bit 0: the consumer signals when it has freed `pending_send_size`.
        pub feature_bits: u32,
    }
}
layout!(
    RingControl, 68, write_index @ 0, read_index @ 4, interrupt_mask @ 8, pending_send_size @ 12, reserved @ 16,
    feature_bits @ 64
);

/// Both sides understand `pending_send_size`.
pub const FEATURE_PENDING_SEND_SIZE: u32 = 1;

/// Bytes behind each packet: 0, then the write index before it, each 4 bytes.
pub const TRAILER_SIZE: u32 = 8;
