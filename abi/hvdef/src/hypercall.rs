//! Hypercalls: codes, control and result word, and what each call reads and writes (TLFS, "Hypercall Interface" and the
//! chapters of the calls).
//!
//! A memory-based call names a GPA for its input and one for its output; a fast call has the first 8 or 16 bytes of its
//! input in registers, in the same layout. An input is a fixed header, a variable header (VP banks, page lists) in
//! units of 8 bytes, then the list of a rep call. Structures here are the fixed headers and the list's elements.

mod code;
mod control;
mod vp_set;

pub mod intercept;
pub mod interrupt;
pub mod memory;
pub mod partition;
pub mod synic;
pub mod system;
pub mod tlb;
pub mod vp;

pub use code::HypercallCode;
pub use control::{HypercallInput, HypercallOutput};
pub use vp_set::{VpSetFormat, VpSetHeader};
