//! The Hyper-V ABI: what the public Hypervisor Top-Level Functional Specification (TLFS) lays down between a
//! hypervisor and the partitions above it.
//!
//! Used by the hypervisor, by the logic crates it is made of and by the tools that look at it. Layout, constants and
//! names only: no decisions. One module per chapter:
//!
//! ```text
//! status      HV_STATUS                          cpuid             leaves from 0x40000000
//! hypercall   codes, control and result word,    msr               numbers from 0x40000000
//!             inputs and outputs of each call    register          names and formats of VP registers
//! message     header and payloads                synic             message, event flags, event ring pages
//! vp          pages and state of one VP          property          of partitions and of the system
//! stats       statistics pages                   device_interrupt  device ids, interrupt entries
//! id          partition, VP, LP                  address           GPA, SPA and their page numbers
//! ```
//!
//! What must always hold: a structure is exactly as large as its specification says, reserved fields are spelled out,
//! and every value another party may write is *open*: a number nobody here knows is carried, never undefined. Sizes
//! and offsets are asserted beside each type, in decimal bytes. All of it is little-endian x86-64.
//!
//! Where Linux and the TLFS differ, Linux is followed, for it is Linux that calls; the field says so.
#![no_std]
#![forbid(unsafe_code)]

pub mod address;
pub mod cpuid;
pub mod device_interrupt;
pub mod hypercall;
pub mod id;
pub mod message;
pub mod msr;
pub mod property;
pub mod register;
pub mod stats;
pub mod status;
pub mod synic;
pub mod vp;

pub use address::{Gpa, Gpn, PAGE_SHIFT, PAGE_SIZE, Spa, Spn};
pub use hypercall::{HypercallCode, HypercallInput, HypercallOutput};
pub use id::{LpIndex, PartitionId, VpIndex, Vtl};
pub use status::HvStatus;
