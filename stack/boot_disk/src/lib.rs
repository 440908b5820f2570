//! Finds, on a guest's disk, the kernel and the initrd that its own system would start, so that a VM boots what is installed
//! in it and not what somebody once copied out of it.
//!
//! ```text
//!  disk ─▶ partition table (GPT)? ─ no ─▶ the whole disk ─┐
//!                    └─ yes ─▶ each partition ────────────┴─▶ ext2/3/4? ─▶ kernel links, else newest in /boot or /
//! ```
//!
//! What must always hold: the disk is the guest's, so nothing on it is believed. Whatever it contains, the search ends, in
//! files of bounded size or in an [`Error`] that a person understands. Nothing is written; a journal that was left open is
//! read as if it had been replayed.
#![forbid(unsafe_code)]

mod error;
mod kernel;
mod partitions;
mod region;
mod version;

pub use error::Error;
pub use region::ReadAt;

use ext4_view::Ext4;
use std::sync::Arc;

/// Largest kernel that is read, in bytes.
pub const KERNEL_MAX: u64 = 256 << 20;
/// Largest initrd, in bytes.
pub const INITRD_MAX: u64 = 1 << 30;

/// A file of the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootFile {
    /// Its path in the file system that holds it.
    pub path: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// What a disk's system starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootFiles {
    /// The kernel.
    pub kernel: BootFile,
    /// The initrd that belongs to it; `None` if there is none.
    pub initrd: Option<BootFile>,
    /// UUID of the root file system, if that is where they were found (and not a file system for /boot alone).
    pub root_uuid: Option<String>,
}

/// Looks for them.
///
/// # Errors
///
/// [`Error::NoFileSystem`] where there is nothing to look in, [`Error::NoKernel`] where there is no kernel in it, and what is
/// wrong with a file that was found.
pub fn find(disk: &Arc<dyn ReadAt>) -> Result<BootFiles, Error> {
    let mut reasons = Vec::new();
    let mut is_readable = false;
    for region in partitions::candidates(disk) {
        let name = region.name();
        match Ext4::load(Box::new(region)) {
            Ok(fs) => {
                is_readable = true;
                if let Some(found) = kernel::find(&fs)? {
                    return Ok(found);
                }
            }
            Err(reason) => reasons.push(format!("{name}: {reason}")),
        }
    }
    if is_readable { Err(Error::NoKernel) } else { Err(Error::NoFileSystem(reasons.join("; "))) }
}
