//! Four-level page tables as pure logic.
//!
//! One body of code builds the hypervisor's own tables and the second-level (SLAT) ones of the partitions; only the
//! [`Format`] differs. The machine enters through [`Frames`]: where table pages come from and how their entries are
//! read and written, so that the whole of it runs in unit tests.
//!
//! ```text
//! table    map, unmap, mark: Table::change, one entry at a time
//! walk     what is there: translate, find
//! access   accessed and dirty bits, page by page even inside large leaves
//! fold     one large leaf again where all parts of a split one mean the same
//! teardown giving table pages back, at once or in steps
//! ```
//!
//! What always holds:
//! * a mapping replaces whatever was there, at any granularity; large leaves are split when a smaller change falls
//!   inside them, and tables that a larger entry covers go back to [`Frames`];
//! * an operation that runs out of frames reports how far it came, and every address then has either its old or its
//!   new translation, never anything else;
//! * an entry that is not present is empty or *marked*, which means what the caller wants it to mean; a table that
//!   a change has made all empty or all marked goes back, so a marked range costs no memory whatever its size;
//! * nothing here flushes a TLB: the caller does, because only the caller knows who may hold the translation. Until
//!   then processors may still walk tables that went back to [`Frames::free`], so they must not be used before.
#![no_std]
#![forbid(unsafe_code)]

mod access;
mod fold;
mod format;
mod table;
mod teardown;
#[cfg(test)]
mod tests;
mod walk;

pub use access::{AccessChange, AccessState};
pub use format::{EXTENDED, Format, LONG_MODE, NESTED, PageSize, ept, flags};
pub use table::{Change, Frames, Table, Truncated};
pub use walk::{Found, Leaf};
