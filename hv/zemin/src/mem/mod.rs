//! Memory of the hypervisor: where physical memory appears, the frame pool, its own address space.
//!
//! Address space:
//!
//! | from                  | what                                                              |
//! |-----------------------|-------------------------------------------------------------------|
//! | `0xffff800000000000`  | direct map of RAM, read-write, never executable, without the image |
//! | `0xffffff0000000000`  | stacks, one slot per LP, with unmapped pages around each           |
//! | `0xfffffffe00000000`  | device registers: the local APIC                                   |
//! | `0xffffffff80200000`  | the image: text read-execute, rodata read-only, data read-write    |

pub mod frames;
pub mod phys;
pub mod space;

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// Where the image appears: virtual minus physical address.
pub const IMAGE_OFFSET: u64 = 0xFFFF_FFFF_8000_0000;
