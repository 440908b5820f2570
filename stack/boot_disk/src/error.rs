//! Why a disk cannot be booted from.

use thiserror::Error;

/// What is wrong with the disk.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// No partition, nor the disk as a whole, has a file system that can be read.
    #[error("there is no ext2, ext3 or ext4 file system ({0})")]
    NoFileSystem(String),
    /// File systems are there, and no kernel in them.
    #[error("there is no kernel: neither /vmlinuz nor /boot/vmlinuz nor vmlinuz-* in /boot or /")]
    NoKernel,
    /// A file cannot be read.
    #[error("cannot read {path} on the disk: {reason}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        reason: String,
    },
    /// A file is larger than any that can be meant.
    #[error("{path} on the disk has {size} bytes, more than the {limit} that are read")]
    TooLarge {
        /// Which.
        path: String,
        /// Its size.
        size: u64,
        /// The most.
        limit: u64,
    },
}
