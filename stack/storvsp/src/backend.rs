//! Stores of disks.

pub mod memory;
