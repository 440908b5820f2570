//! Guest physical address descriptor lists: pages that a guest shares with a device until further notice.
//!
//! A list is told in one GPADL_HEADER and as many GPADL_BODY as it takes. It consists of ranges, each 8 bytes of
//! [`GpaRange`] followed by the 8-byte numbers of its pages; in messages these are aligned to 4 bytes only.

use wire::{layout, wire};

/// Page numbers that fit into a GPADL_HEADER with one range.
pub const HEADER_PAGES_MAX: usize = 26;
/// Page numbers that fit into a GPADL_BODY.
pub const BODY_PAGES_MAX: usize = 28;

wire! {
    /// A run of bytes over pages that need not be neighbours (Linux `struct gpa_range`). Page numbers follow.
    pub struct GpaRange {
        /// Bytes.
        pub byte_count: u32,
        /// Bytes before the first, in the first page.
        pub byte_offset: u32,
    }

    /// GPADL_HEADER behind its message header. The list begins behind it.
    pub struct GpadlHeader {
        /// Channel.
        pub relid: u32,
        /// Chosen by the guest.
        pub gpadl: u32,
        /// Bytes of the whole list.
        pub range_buffer_length: u16,
        /// Ranges in it.
        pub range_count: u16,
    }

    /// GPADL_BODY behind its message header. More of the list follows it.
    pub struct GpadlBody {
        /// Linux leaves it 0.
        pub message_number: u32,
        /// Which list.
        pub gpadl: u32,
    }

    /// GPADL_CREATED behind its header.
    pub struct GpadlCreated {
        /// Channel.
        pub relid: u32,
        /// List.
        pub gpadl: u32,
        /// 0: it may be used.
        pub status: u32,
    }

    /// GPADL_TEARDOWN behind its header.
    pub struct GpadlTeardown {
        /// Channel.
        pub relid: u32,
        /// List.
        pub gpadl: u32,
    }

    /// GPADL_TORNDOWN behind its header.
    pub struct GpadlTorndown {
        /// List.
        pub gpadl: u32,
    }
}
layout!(GpaRange, 8, byte_count @ 0, byte_offset @ 4);
layout!(GpadlHeader, 12, relid @ 0, gpadl @ 4, range_buffer_length @ 8, range_count @ 10);
layout!(GpadlBody, 8, message_number @ 0, gpadl @ 4);
layout!(GpadlCreated, 12, relid @ 0, gpadl @ 4, status @ 8);
layout!(GpadlTeardown, 8, relid @ 0, gpadl @ 4);
layout!(GpadlTorndown, 4, gpadl @ 0);
