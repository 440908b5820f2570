//! Ports, connections and doorbells of partitions (TLFS, "Inter-Partition Communication").
//!
//! A *port* belongs to the partition that receives, and says who may connect and where what arrives goes. A
//! *connection* belongs to the partition that sends. A *doorbell* is a connection whose trigger is a write to a GPA
//! rather than a hypercall. Each partition has one [`Ports`] and one [`Connections`]; this crate decides what the
//! hypercalls CREATE_PORT, CONNECT_PORT, DISCONNECT_PORT, DELETE_PORT, SIGNAL_EVENT and POST_MESSAGE mean for them and
//! where a signal, a message or a write goes. `synic` delivers it.
//!
//! ```text
//!   child                                  Connections of the child              port's partition (the parent)
//!   SIGNAL_EVENT ──> signal() ──┬─ event connection ──> event flag of a SINT of a VP
//!                               ├─ doorbell at signal_gpa(connection id) ──┐
//!                               └─ nothing: Unknown ──> intercept, if the  │
//!                                                       parent asked       ├──> port id into a VP's event ring
//!   write to a GPA ──> Doorbells::find() ──────────────────────────────────┘
//!   POST_MESSAGE ──> post() ─────── message connection ──> message slot of a SINT of a VP
//! ```
//!
//! # Signals without a detour
//!
//! Existing VMMs serve a child's VMBus signals as intercepts: the hypercall stops the VP, and the worker completes it. A
//! worker that knows Zemin registers an ioeventfd at [`signal_gpa`]`(connection id)`:
//!
//! ```text
//!   GPA = 0x000F_FFFF_F000_0000 + 8 × connection id          (ids have 24 bits: a window of 128 MiB)
//! ```
//!
//! A SIGNAL_EVENT whose connection id no port serves then counts as a write of its flag number, 8 bytes wide, to that
//! address: the doorbell rings, the call succeeds, and the VP runs on. The window is below 2^52, as far as a physical
//! address can reach, and above 2^48, as far as a child's memory can, so nothing else is ever there. Zemin's CPUID leaf
//! announces it (`zemindef::cpuid::Features::SIGNAL_DOORBELLS`).
//!
//! # What must always hold
//!
//! * Ids of ports, of connections and of doorbells are three name spaces; each is unique in its partition.
//! * Storage is pages that the parent deposited, handed in as [`Slots`]. A full table answers INSUFFICIENT_MEMORY, and
//!   the call may be repeated after it has grown; what no deposit can cure gets another answer.
//! * Finding is O(log n), adding and removing O(n) moves of one entry; n is bounded by the storage.
//! * Where a connection leads is copied into it. So whoever deletes a port also calls [`Connections::sever`] of the one
//!   partition that could connect to it, before the id can be used again.
#![no_std]
#![forbid(unsafe_code)]

mod connections;
mod doorbell;
mod port;
mod sorted;
#[cfg(test)]
mod tests;

pub use connections::{Connection, Connections, EventTarget, MessageTarget, Signal};
pub use doorbell::{Doorbell, Doorbells, SIGNAL_BASE, Write, signal_gpa};
pub use port::{Port, Ports, Target};
pub use sorted::Slots;
