//! What Zemin adds to the Hyper-V interface, shared by the hypervisor and the tools that read it.
//!
//! Everything here is out of the way of the TLFS: CPUID leaves from 0x40005A00 and partition property codes from
//! 0x005A0000. A parent that does not know them loses nothing. The prose version is `docs/abi/zemin-extensions.md`.
//!
//! ```text
//! cpuid      is this Zemin, which version, which of the following does it have
//! property   codes and fixed-layout outputs of GET_PARTITION_PROPERTY_EX
//!   ├─ log        records and the ring that keeps the newest of them
//!   ├─ counters   what each LP counts
//!   └─ info       one page about the hypervisor as a whole
//! crash      the record that a crashed hypervisor leaves in memory
//! ```
//!
//! What must always hold: numbers and offsets never change meaning, they are only added to. A reader meets a writer of
//! another version, so every output says how much of it there is, and unknown values are shown rather than refused.
//! Nothing here allocates or panics; decoders take any bytes.
#![no_std]
#![forbid(unsafe_code)]

pub mod counters;
pub mod cpuid;
pub mod crash;
pub mod info;
pub mod log;
pub mod property;
