//! ACPI tables as they lie in memory: those that a hypervisor reads to learn of processors, interrupt controllers and
//! the few fixed registers it shares with the parent.
//!
//! Source: ACPI Specification 6.5, chapter 5; the HPET and PCI Firmware specifications for their tables. Layout and
//! constants only; `acpi_scan` finds and validates. All integers are little-endian and unaligned, addresses physical.
#![no_std]
#![forbid(unsafe_code)]

pub mod fadt;
pub mod gas;
pub mod hpet;
pub mod madt;
pub mod mcfg;
pub mod rsdp;
pub mod sdt;
