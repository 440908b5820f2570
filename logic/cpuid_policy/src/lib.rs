//! What CPUID tells a child partition.
//!
//! ```text
//!   the processor (HostCpuid) ──┐
//!   what the hypervisor can do ─┼─> Effective ──> Policy::build ──> one page of answers
//!   what the parent switched off┘                                        │
//!                                       CPUID exit: Policy::answer ──────┤ look up, O(1)
//!                                                                        ├ put in what changes as the VP runs (VpView)
//!                                                                        └ put in what the parent registered (Overrides)
//! ```
//!
//! A leaf is composed once, when the partition starts; an exit looks it up by a direct index and adjusts a few bits. That
//! is a few dozen instructions for the leaves that matter.
//!
//! What must always hold:
//! * a bit that this crate does not know is not passed on: new features of processors stay hidden until somebody has
//!   thought about the state they need;
//! * nothing the parent disabled, or the hypervisor cannot save and restore, appears, and neither does what depends on
//!   it (AVX-512 without AVX, AVX without XSAVE);
//! * the same features decide the hypervisor's own leaves and the rights to what they announce ([`privileges`],
//!   [`msr_rights`]);
//! * no answer depends on the LP the VP happens to run on.
//!
//! Sources: TLFS "Feature and Interface Discovery", SDM vol. 2 and APM vol. 3 (CPUID), Linux `hvhdk.h` for the order of
//! processor features; that of XSAVE features is the one Windows publishes.
#![no_std]
#![forbid(unsafe_code)]

mod config;
mod entry;
mod feature;
mod features;
mod msr;
mod overrides;
mod policy;
mod query;
mod standard;
mod synthetic;
#[cfg(test)]
mod tests;
mod topology;
mod view;
mod words;
mod xsave;

pub use config::{Config, HostCpuid, Limits};
pub use entry::Entry;
pub use feature::Feature;
pub use features::Effective;
pub use hvdef::hypercall::intercept::CpuidRegisters as Registers;
pub use msr::{ALL_MSR_RIGHTS, msr_rights};
pub use overrides::{Override, Overrides};
pub use policy::Policy;
pub use synthetic::privileges;
pub use topology::Topology;
pub use view::VpView;
