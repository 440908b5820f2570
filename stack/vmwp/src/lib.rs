//! The worker process of one VM: its partition, its memory, its processors and its devices.
//!
//! ```text
//!  main ─ cli, logging ─▶ worker ──▶ vm ──┬─▶ memory, acpi, boot     what the guest finds
//!                           │             ├─▶ chipset                ports, IOAPIC, COM1, clock
//!                        console,         ├─▶ vmbus ─▶ storage       devices of the guest's own kind
//!                        signals, remote  └─▶ vp ─▶ emulator         a thread for each VP
//! ```
//!
//! It sits between the management service, which starts it, and `/dev/mshv`, which it reaches only through the crate
//! `vid`; tests put a fake there. What must always hold: it trusts nothing that comes from the guest; an error of the
//! guest's ends at most this VM; the exit status says how it ended.

pub mod acpi;
pub mod boot;
pub mod chipset;
pub mod cli;
pub mod console;
pub mod control;
pub mod disks;
pub mod emulator;
pub mod logging;
pub mod look;
pub mod machine;
pub mod memory;
pub mod remote;
pub mod signals;
pub mod storage;
pub mod vm;
pub mod vmbus;
pub mod vp;
pub mod worker;
