//! What the firmware says of the machine in its ACPI tables, as far as a hypervisor has to know.
//!
//! ```text
//! find_rsdp ──► XSDT or RSDT ──┬─► MADT   logical processors, I/O APICs, overrides, NMIs
//!                              ├─► FADT   PM timer, PM1 control, reset register
//!                              ├─► HPET, MCFG
//!                              └─► everything else: listed, not read
//! ```
//!
//! [`Acpi::scan`] reads physical memory through [`boot_plan::PhysRead`]; the parent's kernel reads the same tables
//! later, with an AML interpreter that the hypervisor does not have. [`hide_table`] and [`hide_processors`] say how to keep things from it.
//!
//! What must always hold: no table makes this panic or run on without end; lengths and checksums are checked before
//! contents are believed; a fault in a table that the boot needs is an error that names signature, address and fault,
//! a fault in another one is a remark in [`Acpi::faults`].
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod error;
mod fadt;
mod hide;
mod hpet;
mod madt;
mod mcfg;
mod root;
mod rsdp;
mod scan;
mod table;
#[cfg(test)]
mod tests;

pub use error::{Fault, ScanError, TableFault};
pub use fadt::{Fixed, Register, Reset};
pub use hide::{Edit, hide_processors, hide_table};
pub use hpet::Hpet;
pub use madt::{
    IoApic, LogicalProcessor, MAX_IO_APICS, MAX_LPS, MAX_NMIS, MAX_OVERRIDES, Madt, Nmi, NmiInput,
    Override,
};
pub use mcfg::{ConfigSpace, MAX_SEGMENTS};
pub use rsdp::{Rsdp, RsdpHints, find_rsdp};
pub use scan::{Acpi, MAX_FAULTS, MAX_TABLES};
pub use table::Table;
