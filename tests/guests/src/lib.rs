//! Bare test kernels: checks from inside a partition what the hypervisor promises, and what it must survive.
//!
//! One freestanding kernel holds all tests; its command line selects. It is built as an ELF file that PVH loaders take as
//! it is, and packed into a bzImage that the hypervisor starts in the parent's place (`tests/guests/README.md`).
//!
//! ```text
//! boot ─> memory, tables, serial ─> apic, smp ─> the tests of main.rs ─> report ─> exit port
//! ```
//!
//! What always holds: a test may do anything to its machine, so instruction wrappers are safe functions even where they
//! would not be in a kernel with something to lose; an exception that a test did not expect is that test's failure and
//! the next one runs; every wait has an end.
#![cfg_attr(target_os = "none", no_std)]

pub mod args;
pub mod rng;

#[cfg(not(target_os = "none"))]
pub mod pack;

#[cfg(target_os = "none")]
pub mod acpi;
#[cfg(target_os = "none")]
pub mod apic;
#[cfg(target_os = "none")]
pub mod boot;
#[cfg(target_os = "none")]
pub mod clock;
#[cfg(target_os = "none")]
pub mod cpu;
#[cfg(target_os = "none")]
pub mod hypercall;
#[cfg(target_os = "none")]
pub mod memory;
#[cfg(target_os = "none")]
pub mod paging;
#[cfg(target_os = "none")]
pub mod report;
#[cfg(target_os = "none")]
pub mod serial;
#[cfg(target_os = "none")]
pub mod smp;
#[cfg(target_os = "none")]
pub mod sync;
#[cfg(target_os = "none")]
pub mod tables;
#[cfg(target_os = "none")]
pub mod trap;
#[cfg(target_os = "none")]
pub mod user;
