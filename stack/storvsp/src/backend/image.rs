//! Disks in image files: VHDX, VHD, and raw ones opened the same way.
//!
//! The crate `disk` says where ranges are and keeps the metadata; the data goes straight between the guest's pages and
//! the files, as with a raw disk.

use super::direct::{self, Alignment};
use super::mapping::{Extent, FileRef, Mapping};
use crate::block::{Discard, DiskInfo, IoError};
use disk::{Error, IoGuard, WriteTicket};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

/// Extents are multiples of this in every format.
const SECTOR: u32 = 512;

/// An open image.
pub struct ImageDisk {
    image: Box<dyn disk::Disk>,
    /// Second handles with O_DIRECT, by number of the file.
    direct: Vec<Option<(File, Alignment)>>,
}

impl ImageDisk {
    /// Opens an image and its parents. With `direct` data goes past the page cache, where file and format allow it.
    ///
    /// # Errors
    ///
    /// What is wrong where, with the file's name.
    pub fn open(path: &Path, options: &disk::OpenOptions, direct: bool) -> disk::Result<Self> {
        Ok(Self::new(disk::open_file(path, options)?, direct))
    }

    /// Of an image that is open already.
    pub fn new(image: Box<dyn disk::Disk>, direct: bool) -> Self {
        // A VHD has metadata and data in one page: past the page cache one would be lost for the other.
        let can_be_direct = direct && image.describe().format != "vhd";
        let files = (0..).map_while(|number| Some((number, image.file(number)?.as_fd())));
        let direct = files.map(|(number, fd)| {
            let is_read_only = number > 0 || image.is_read_only();
            fd.filter(|_| can_be_direct).and_then(|fd| open_direct(fd, is_read_only))
        });
        let direct = direct.collect();
        Self { image, direct }
    }

    /// The image itself.
    pub fn image(&self) -> &dyn disk::Disk {
        &*self.image
    }

    /// Whether the page cache is passed by, for its own file.
    pub fn is_direct(&self) -> bool {
        self.direct.first().is_some_and(Option::is_some)
    }
}

fn open_direct(fd: BorrowedFd<'_>, read_only: bool) -> Option<(File, Alignment)> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let file = direct::open(path.as_ref(), read_only).ok()?;
    let alignment = Alignment::of(&file).filter(|alignment| alignment.offset <= SECTOR)?;
    Some((file, alignment))
}

fn io_error(error: Error) -> IoError {
    if error.is_out_of_space() {
        return IoError::NoSpace;
    }
    match error {
        Error::ReadOnly => IoError::ReadOnly,
        Error::OutOfRange { .. } => IoError::OutOfRange,
        error => IoError::Host(io::Error::other(error)),
    }
}

impl Mapping for ImageDisk {
    type ReadGuard = IoGuard;
    type WriteGuard = WriteTicket;

    fn info(&self) -> DiskInfo {
        let (sectors, read_only) = (self.image.sectors(), self.image.is_read_only());
        // Formats give back whole blocks, and the file system what is within one.
        let discard = Discard { granularity: sectors.physical, reads_zeros: true };
        DiskInfo {
            size: self.image.size(),
            logical_block: sectors.logical,
            physical_block: sectors.physical,
            read_only,
            discard: (!read_only).then_some(discard),
        }
    }

    fn file(&self, number: u16) -> Option<FileRef<'_>> {
        if let Some(Some((file, alignment))) = self.direct.get(usize::from(number)) {
            return Some(FileRef { fd: file.as_fd(), alignment: Some(*alignment) });
        }
        Some(FileRef { fd: self.image.file(number)?.as_fd()?, alignment: None })
    }

    fn map_read(
        &self,
        offset: u64,
        length: u64,
        extents: &mut Vec<Extent>,
    ) -> Result<IoGuard, IoError> {
        self.image.map_read(offset, length, extents).map_err(io_error)
    }

    fn map_write(
        &self,
        offset: u64,
        length: u64,
        extents: &mut Vec<Extent>,
    ) -> Result<WriteTicket, IoError> {
        self.image.map_write(offset, length, extents).map_err(io_error)
    }

    fn written(&self, ticket: WriteTicket) -> Result<(), IoError> {
        self.image.complete(ticket).map_err(io_error)
    }

    fn flush_file(&self) -> Option<u16> {
        (!self.image.needs_commit()).then_some(0)
    }

    fn flush(&self) -> Result<(), IoError> {
        self.image.flush().map_err(io_error)
    }

    fn discard(&self, offset: u64, length: u64) -> Result<(), IoError> {
        self.image.discard(offset, length).map_err(io_error)
    }
}
