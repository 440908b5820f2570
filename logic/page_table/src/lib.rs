//! Four-level page tables as pure logic.
//!
//! One body of code builds the hypervisor's own tables and the nested (SLAT) tables of the partitions; only the
//! [`Format`] differs. The machine enters through [`Frames`]: where table pages come from and how their entries are
//! read and written, so that the whole of it runs in unit tests.
//!
//! What always holds:
//! * a mapping replaces whatever was there, at any granularity; large leaves are split when a smaller change falls
//!   inside them, and tables that a larger leaf covers go back to [`Frames`];
//! * an operation that runs out of frames reports how far it came, and every address then has either its old or its
//!   new translation, never anything else;
//! * nothing here flushes a TLB: the caller does, because only the caller knows who may hold the translation.
#![no_std]
#![forbid(unsafe_code)]

mod format;
mod table;
#[cfg(test)]
mod tests;

pub use format::{Format, LONG_MODE, NESTED, PageSize, flags};
pub use table::{Frames, Leaf, Table, Truncated};
