//! The decisions of the boot, without the machine: from what a boot loader left in memory to where the parent's kernel
//! goes.
//!
//! ```text
//! Multiboot 1 or 2 ──► BootInfo ──┬─► command_line   the hypervisor's options
//!                                 ├─► MemoryMap      carve the hypervisor out, cap the parent, e820
//!                                 └─► LoadPlan       bzImage, initrd, zero page: what to copy where, in which order
//! ```
//!
//! The hypervisor's boot code hands in physical memory through [`PhysRead`] and carries a plan out; everything that can
//! be wrong with a loader's or a user's input is found here and said in one line ([`core::fmt::Display`] of the errors).
//!
//! What must always hold: no input makes this panic; nothing is allocated; large results are built in place, for the
//! boot stack is small ([`BootInfo`] and [`LoadPlan`] belong into statics).
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod boot_info;
mod boot_params;
mod bzimage;
pub mod command_line;
pub mod handover;
mod list;
mod load_plan;
mod memory_map;
mod multiboot1;
mod multiboot2;
mod phys;
mod place;
mod range;
#[cfg(test)]
mod tests;
mod text;

pub use boot_info::{
    BootInfo, BootInfoError, CommandString, Framebuffer, MODULES_MAX, Module, Protocol, RsdpCopy,
    STRING_MAX, Screen,
};
pub use bzimage::{BadKernel, FileKind, Kernel};
pub use list::{Full, List};
pub use load_plan::{Copy, LoadError, LoadPlan, LoadRequest};
pub use memory_map::{CarveError, End, Kind, MemoryMap, Region, Search};
pub use phys::{OutOfRange, PhysRead, read_as};
pub use range::{PAGE, PhysRange};
pub use text::Text;
