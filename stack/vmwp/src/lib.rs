//! The worker process of one VM: its partition, its memory, its processors and its devices.
pub mod acpi;
pub mod boot;
pub mod chipset;
pub mod cli;
pub mod console;
pub mod control;
pub mod memory;
