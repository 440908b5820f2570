//! Pages of the synthetic interrupt controller (TLFS, "Synthetic Interrupt Controller"; the event ring from Linux
//! `hvhdk.h`).
//!
//! Each VP has one of each; each has a row of 256 bytes for every SINT. Both sides read and write them at any time: the
//! structures here tell where things are, they are not to be laid over shared memory.

use crate::message::Message;
use crate::msr::SINT_COUNT;
use bitfield_struct::bitfield;
use wire::layout;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of a SINT's row in any of the pages.
pub const ROW_SIZE: usize = 256;

/// The message page (SIMP).
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct MessagePage {
    /// A slot for each SINT: free while its message type is 0.
    pub slots: [Message; SINT_COUNT],
}
layout!(MessagePage, 4096, slots @ 0);

/// Event flags of a SINT.
pub const FLAGS_PER_SINT: usize = ROW_SIZE * 8;

/// The event flags page (SIEFP).
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct EventFlagsPage {
    /// Flag `n` of a SINT is bit `n % 64` of word `n / 64`. Set by the hypervisor, cleared by the guest, both atomically.
    pub flags: [[u64; FLAGS_PER_SINT / 64]; SINT_COUNT],
}
layout!(EventFlagsPage, 4096, flags @ 0);

/// Entries of a SINT's event ring.
pub const RING_ENTRIES: usize = 63;

/// One event ring: doorbells of the root.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct EventRing {
    /// Not 0: the consumer is at work, do not signal. Set by the producer, cleared by the consumer at the end.
    pub signal_masked: u8,
    /// Not 0: entries were kept back; the consumer calls NOTIFY_PORT_RING_EMPTY.
    pub ring_full: u8,
    /// 0.
    pub reserved: [u8; 2],
    /// Port ids, 0 for a free entry. Filled and emptied in order, the last is followed by the first.
    pub entries: [u32; RING_ENTRIES],
}
layout!(EventRing, 256, signal_masked @ 0, ring_full @ 1, entries @ 4);

/// The event ring page (SIRBP).
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct EventRingPage {
    /// A ring for each SINT.
    pub rings: [EventRing; SINT_COUNT],
}
layout!(EventRingPage, 4096, rings @ 0);

/// TLFS `HV_PORT_ID` and `HV_CONNECTION_ID`.
#[bitfield(u32)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PortId {
    /// Number.
    #[bits(24)]
    pub id: u32,
    /// 0.
    pub reserved: u8,
}

/// A connection is named as a port is.
pub type ConnectionId = PortId;
