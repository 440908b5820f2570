//! Partition properties of Zemin, read with GET_PARTITION_PROPERTY_EX (hypercall 0x0101).
//!
//! Input: partition id (`self`), u32 property code, u32 0, u64 argument. Only the root may read them: anybody else, and
//! any other partition id, gets ACCESS_DENIED; an argument out of range gets INVALID_PARAMETER. The output is at most
//! [`OUTPUT_MAX`] bytes, and bytes past what a header announces are undefined.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Code of the hypercall GET_PARTITION_PROPERTY_EX.
pub const HYPERCALL: u16 = 0x0101;
/// Most bytes an output has: a page less the call's input (Linux `HV_PARTITION_PROPERTY_EX_MAX_VAR_SIZE`).
pub const OUTPUT_MAX: usize = 4072;

/// The log. Argument: position in the stream to read from. Output: [`LogChunk`] and that many bytes of whole records.
pub const LOG: u32 = 0x005A_0001;
/// One LP's counters. Argument: LP index. Output: [`CountersHeader`] and that many u64, in the order of
/// [`crate::counters::Counter`].
pub const LP_COUNTERS: u32 = 0x005A_0002;
/// The hypervisor as a whole. Argument: 0. Output: [`crate::info::HvInfo`].
pub const STATUS: u32 = 0x005A_0003;
/// Hypercalls by code. Argument: first code to report. Output: [`HypercallsHeader`] and that many [`HypercallEntry`].
pub const HYPERCALL_COUNTERS: u32 = 0x005A_0004;

/// Starts the output of [`LOG`]; `len` bytes of whole records follow.
///
/// Reading on means passing `next` as the next argument. `len` 0 means that there is nothing newer.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct LogChunk {
    /// Position of the first byte returned. Greater than the argument when the ring has overwritten what was asked for.
    pub first: u64,
    /// Position after the last byte returned: `first + len`.
    pub next: u64,
    /// Bytes that follow.
    pub len: u32,
    /// 0.
    pub reserved: u32,
}
const _: () = assert!(size_of::<LogChunk>() == 24);

/// Most bytes of records in one output of [`LOG`].
pub const LOG_BYTES_MAX: usize = OUTPUT_MAX - size_of::<LogChunk>();

/// Starts the output of [`LP_COUNTERS`]; `count` values of u64 follow.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CountersHeader {
    /// Number of values.
    pub count: u32,
    /// Number of LPs: valid arguments are 0 to this less 1.
    pub lp_count: u32,
}
const _: () = assert!(size_of::<CountersHeader>() == 8);

/// Most counters that fit one output of [`LP_COUNTERS`].
pub const COUNTERS_MAX: usize = (OUTPUT_MAX - size_of::<CountersHeader>()) / 8;

/// Starts the output of [`HYPERCALL_COUNTERS`]; `count` entries follow, ascending by code, only codes called so far.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HypercallsHeader {
    /// First code that this output does not cover, the next argument; [`HypercallsHeader::END`] when there are no more.
    pub next: u32,
    /// Number of entries.
    pub count: u32,
}
const _: () = assert!(size_of::<HypercallsHeader>() == 8);

impl HypercallsHeader {
    /// One past the highest code there can be.
    pub const END: u32 = 0x1_0000;
}

/// What became of the calls of one hypercall, on all LPs and from all partitions.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HypercallEntry {
    /// Call code.
    pub code: u16,
    /// `HV_STATUS` of the last call that failed; 0 if none did.
    pub last_error_status: u16,
    /// 0.
    pub reserved: u32,
    /// Calls, failed ones included. A call that was continued counts once for each time it was entered.
    pub calls: u64,
    /// Calls that ended with a status other than success.
    pub errors: u64,
}
const _: () = assert!(size_of::<HypercallEntry>() == 24);

/// Most entries in one output of [`HYPERCALL_COUNTERS`].
pub const HYPERCALL_ENTRIES_MAX: usize =
    (OUTPUT_MAX - size_of::<HypercallsHeader>()) / size_of::<HypercallEntry>();
