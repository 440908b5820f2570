//! The storage VSP: what a guest's `storvsc` speaks to.
//!
//! ```text
//!   guest's storvsc <── ring ──> worker ──┬─ protocol    set-up of a channel
//!                                         ├─ scsi        commands of disks and DVD drives, pure
//!   VMM ──> controller: LUNs ────────────>┤
//!                                         └─ block ──> backend    files, by io_uring or threads; memory
//! ```
//!
//! It sits in the worker, on the crate `vmbus`. What must always hold: every command is answered, once; data moves
//! straight between the guest's pages and the store; a command under way holds the guest's pages only until its channel
//! is closed, which waits for it; nothing in a packet, a CDB or a parameter list leads to a panic, an allocation without
//! bound or an access outside the disk.

pub mod backend;
pub mod block;
pub mod controller;
pub mod lun;
pub mod protocol;
pub mod scsi;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod trace;
mod worker;
