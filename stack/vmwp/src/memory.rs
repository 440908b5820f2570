//! The guest's physical address space: what lies where, and the memory behind it.

pub mod layout;
pub mod ram;

pub use layout::{LayoutError, MemoryLayout, Range};
pub use ram::{GuestRam, RamError};
