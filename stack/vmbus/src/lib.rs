//! The VMBus of one guest: the server that its `hv_vmbus` speaks to, and what devices behind it stand on.
//!
//! ```text
//!   guest's POST_MESSAGE ──> bus ──> server       offers, GPADLs, channels: a state machine without I/O
//!                             │
//!   guest's SIGNAL_EVENT ─────┼────> channel ──┬─ ring      packets, in pages shared with the guest
//!                             │                └─ packet    one packet, taken apart
//!   hypervisor <── transport ─┘                memory       shared pages and data buffers in guest RAM
//! ```
//!
//! It sits in the worker, between the VPs' exits and the devices (storage, network, …), each of which implements
//! [`bus::Device`]. What must always hold: nothing the guest posts, or writes into memory at any moment, leads to a
//! panic, to unbounded growth, or to any memory but the pages it shared; and pages given back are not touched again.
//! Channels, doorbells and GPADLs of one guest are reachable through its own [`bus::Bus`] only.
//!
//! The facts are those of Linux `drivers/hv` and `include/linux/hyperv.h`; the formats are in the crate `vmbusdef`.

pub mod bus;
pub mod channel;
pub mod memory;
pub mod packet;
pub mod quiet;
pub mod ring;
pub mod server;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod transport;
