//! Wire formats of the hand-over: what a boot loader gives the hypervisor, and what the hypervisor gives the parent's
//! kernel.
//!
//! * [`multiboot1`]: QEMU's `-kernel` and older loaders (Multiboot Specification 0.6.96);
//! * [`multiboot2`]: GRUB, on BIOS and UEFI (Multiboot2 Specification 2.0);
//! * [`linux`]: the x86 boot protocol's zero page and setup header (Linux `Documentation/arch/x86/boot.rst`,
//!   `zero-page.rst`).
//!
//! Layout and constants only, no decisions: those are in `boot_plan`. All integers are little-endian and unaligned, so
//! that a structure can be read from any byte offset; addresses are physical.
#![no_std]
#![forbid(unsafe_code)]

pub mod linux;
pub mod multiboot1;
pub mod multiboot2;
