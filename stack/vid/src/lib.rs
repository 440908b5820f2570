//! The one door of the virtualization stack to the hypervisor.
//!
//! Everything above (the worker's run loop, its devices, the VMBus server) speaks to the traits [`Partition`] and [`Vp`]
//! and never to `/dev/mshv`. Two things stand behind them:
//!
//! ```text
//!                      ┌── mshv::MshvPartition ── mshv-ioctls ── /dev/mshv ── hypervisor
//!  worker ── traits ───┤
//!                      └── fake::FakePartition ── a test's thread that plays the guest
//! ```
//!
//! What must always hold: nothing here is special to our own worker, it asks only what any client of `/dev/mshv` may
//! ask; an answer of the hypervisor that is not success reaches the caller as [`VidError`] with the call's name and the
//! exact status; an intercept message is read once, checked for its length, and then is a plain value ([`Exit`]).
//!
//! The facts are those of Linux `include/uapi/linux/mshv.h`, `drivers/hv/mshv_*.c` and of the TLFS.

pub mod cpu;
pub mod error;
pub mod exit;
pub mod fake;
pub mod interrupt;
pub mod mshv;
pub mod partition;
pub mod vp;

pub use cpu::{CpuState, Gpr};
pub use error::{VidError, VidResult};
pub use exit::Exit;
pub use interrupt::{DeliveryType, InterruptRequest, MsiRoute};
pub use partition::{MemoryMapping, Partition, PartitionConfig};
pub use vp::Vp;

pub use hvdef::property::PartitionProperty;
pub use hvdef::register::{RegisterName, RegisterValue, SegmentRegister, TableRegister};
pub use hvdef::{Gpa, HvStatus, VpIndex};
pub use vmm_sys_util::eventfd::EventFd;
