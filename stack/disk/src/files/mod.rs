//! Whole images as files: made, converted, compacted, repaired. What takes the place of a file is written beside it
//! and renamed when it is complete and flushed; until then nothing has changed.

mod compact;
mod convert;
mod copy;
mod create;
mod replacement;

pub use compact::{compact, repair};
pub use convert::convert;
pub use create::{CreateOptions, create_file};

/// Hears how far long work has come: bytes of the disk done, and of how many. Called at least every few megabytes.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);
