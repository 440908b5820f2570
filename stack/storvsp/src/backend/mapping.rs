//! Where the bytes of a disk are.

use super::direct::Alignment;
use crate::block::{DiskInfo, IoError};
pub use disk::{Extent, Place};
use std::os::fd::BorrowedFd;

/// A file to move data from and to.
#[derive(Clone, Copy, Debug)]
pub struct FileRef<'a> {
    /// Open as long as the mapping.
    pub fd: BorrowedFd<'a>,
    /// Of buffers and offsets, if the file was opened with O_DIRECT.
    pub alignment: Option<Alignment>,
}

/// A disk as pieces of files. Its methods are called by several threads at once; those that say so may block.
pub trait Mapping: Send + Sync + 'static {
    /// Keeps extents valid while they are read.
    type ReadGuard: Send;
    /// Keeps extents valid while they are written.
    type WriteGuard: Send;

    /// Properties.
    fn info(&self) -> DiskInfo;

    /// A file that extents are in.
    fn file(&self, number: u16) -> Option<FileRef<'_>>;

    /// Fills `extents`, which is empty, with where a range is. Together they are as long as the range.
    fn map_read(
        &self,
        offset: u64,
        length: u64,
        extents: &mut Vec<Extent>,
    ) -> Result<Self::ReadGuard, IoError>;

    /// Makes room for a range and says where to write it. No extent is [`Place::Zero`].
    fn map_write(
        &self,
        offset: u64,
        length: u64,
        extents: &mut Vec<Extent>,
    ) -> Result<Self::WriteGuard, IoError>;

    /// The data of a range has been written.
    fn written(&self, guard: Self::WriteGuard) -> Result<(), IoError>;

    /// The file whose fdatasync is all that [`Self::flush`] would do now, if that is so.
    fn flush_file(&self) -> Option<u16>;

    /// Makes everything written durable. Blocks.
    fn flush(&self) -> Result<(), IoError>;

    /// Makes a range zero and gives its space back where possible. Blocks.
    fn discard(&self, offset: u64, length: u64) -> Result<(), IoError>;

    /// Makes a range zero. Blocks.
    fn write_zeros(&self, offset: u64, length: u64) -> Result<(), IoError> {
        self.discard(offset, length)
    }
}
