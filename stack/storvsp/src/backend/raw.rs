//! A file or block device that is the disk, byte for byte.

use super::direct::{self, Alignment};
use super::mapping::{Extent, FileRef, Mapping, Place};
use crate::block::{Discard, DiskInfo, IoError};
use rustix::fs::{FallocateFlags, fallocate, fdatasync};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes written at a time where a file system cannot make zeros.
const ZEROS: usize = 64 << 10;

/// How to open a raw disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RawOptions {
    /// Nobody writes it.
    pub read_only: bool,
    /// Bytes of a block: 512, 2048 or 4096.
    pub logical_block: u32,
    /// Go past the page cache, where the file allows it.
    pub direct: bool,
}

impl Default for RawOptions {
    fn default() -> Self {
        Self { read_only: false, logical_block: 512, direct: true }
    }
}

/// A raw disk.
pub struct RawDisk {
    file: File,
    size: u64,
    options: RawOptions,
    alignment: Option<Alignment>,
}

impl RawDisk {
    /// Opens what is there. Bytes at the end that make no whole block are left out.
    pub fn open(path: &Path, options: RawOptions) -> io::Result<Self> {
        let plain = OpenOptions::new().read(true).write(!options.read_only).open(path)?;
        // A file that demands more than the guest's blocks are cannot be used directly.
        let possible =
            Alignment::of(&plain).filter(|alignment| alignment.offset <= options.logical_block);
        let direct = possible.filter(|_| options.direct).and_then(|alignment| {
            Some((direct::open(path, options.read_only).ok()?, Some(alignment)))
        });
        let (mut file, alignment) = direct.unwrap_or((plain, None));
        let length = file.seek(SeekFrom::End(0))?;
        let size = length - length % u64::from(options.logical_block.max(1));
        Ok(Self { file, size, options, alignment })
    }

    /// Whether the page cache is passed by.
    pub fn is_direct(&self) -> bool {
        self.alignment.is_some()
    }

    fn extent(&self, offset: u64, length: u64, extents: &mut Vec<Extent>) -> Result<(), IoError> {
        let end = offset.checked_add(length).ok_or(IoError::OutOfRange)?;
        if end > self.size {
            return Err(IoError::OutOfRange);
        }
        extents.push(Extent { place: Place::File { file: 0, offset }, len: length });
        Ok(())
    }

    /// Zeros by the file system, or by hand.
    fn zero(&self, mode: FallocateFlags, offset: u64, length: u64) -> Result<(), IoError> {
        match fallocate(&self.file, mode | FallocateFlags::KEEP_SIZE, offset, length) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                self.zero_by_writing(offset, length)
            }
            done => done.map_err(|error| io::Error::from(error).into()),
        }
    }

    fn zero_by_writing(&self, offset: u64, length: u64) -> Result<(), IoError> {
        let zeros = super::direct::Bounce::new(ZEROS);
        let mut done = 0;
        while done < length {
            let step = (length - done).min(ZEROS as u64);
            let bytes = zeros.as_bytes().get(..step as usize).unwrap_or_default();
            self.file.write_all_at(bytes, offset + done)?;
            done += step;
        }
        Ok(())
    }
}

impl Mapping for RawDisk {
    type ReadGuard = ();
    type WriteGuard = ();

    fn info(&self) -> DiskInfo {
        let logical_block = self.options.logical_block;
        let discard = Discard { granularity: logical_block.max(4096), reads_zeros: true };
        DiskInfo {
            size: self.size,
            logical_block,
            physical_block: logical_block.max(4096),
            read_only: self.options.read_only,
            discard: (!self.options.read_only).then_some(discard),
        }
    }

    fn file(&self, number: u16) -> Option<FileRef<'_>> {
        (number == 0).then(|| FileRef { fd: self.file.as_fd(), alignment: self.alignment })
    }

    fn map_read(&self, offset: u64, length: u64, extents: &mut Vec<Extent>) -> Result<(), IoError> {
        self.extent(offset, length, extents)
    }

    fn map_write(
        &self,
        offset: u64,
        length: u64,
        extents: &mut Vec<Extent>,
    ) -> Result<(), IoError> {
        if self.options.read_only {
            return Err(IoError::ReadOnly);
        }
        self.extent(offset, length, extents)
    }

    fn written(&self, (): ()) -> Result<(), IoError> {
        Ok(())
    }

    fn flush_file(&self) -> Option<u16> {
        Some(0)
    }

    fn flush(&self) -> Result<(), IoError> {
        fdatasync(&self.file).map_err(|error| io::Error::from(error).into())
    }

    fn discard(&self, offset: u64, length: u64) -> Result<(), IoError> {
        self.map_write(offset, length, &mut Vec::new())?;
        self.zero(FallocateFlags::PUNCH_HOLE, offset, length)
    }

    fn write_zeros(&self, offset: u64, length: u64) -> Result<(), IoError> {
        self.map_write(offset, length, &mut Vec::new())?;
        self.zero(FallocateFlags::ZERO_RANGE, offset, length)
    }
}
