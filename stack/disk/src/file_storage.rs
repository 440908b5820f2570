//! [`Storage`] in a file or on a block device of this system.

use crate::storage::Storage;
use rustix::fs::{FallocateFlags, OFlags, fallocate};
use rustix::io::Errno;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Bytes written at once where the file system cannot make zeros by itself.
const ZEROS: usize = 64 * 1024;

/// A file, locked against a second use that would damage it.
///
/// The lock is advisory (`flock`): one writer, or any number of readers.
#[derive(Debug)]
pub struct FileStorage {
    file: File,
    is_device: bool,
}

impl FileStorage {
    /// Opens an existing file or block device.
    ///
    /// # Errors
    /// [`io::ErrorKind::ResourceBusy`] when another process uses it.
    pub fn open(path: &Path, read_only: bool) -> io::Result<Self> {
        Self::locked(File::options().read(true).write(!read_only).open(path)?, read_only)
    }

    /// Creates a file that must not exist yet.
    pub fn create(path: &Path) -> io::Result<Self> {
        Self::locked(File::options().read(true).write(true).create_new(true).open(path)?, false)
    }

    fn locked(file: File, read_only: bool) -> io::Result<Self> {
        let kind = file.metadata()?.file_type();
        if kind.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        match if read_only { file.try_lock_shared() } else { file.try_lock() } {
            Ok(()) => Ok(Self { file, is_device: kind.is_block_device() }),
            Err(TryLockError::WouldBlock) => {
                Err(io::Error::new(io::ErrorKind::ResourceBusy, "in use by another process"))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// A second handle on the same file that goes past the page cache, for payload I/O on aligned buffers.
    ///
    /// Metadata keeps using the first handle; both see the same bytes as long as they do not share a page.
    pub fn open_direct(&self, read_only: bool) -> io::Result<File> {
        use std::os::fd::AsRawFd;
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let flags = i32::try_from(OFlags::DIRECT.bits()).unwrap_or(0);
        OpenOptions::new().read(true).write(!read_only).custom_flags(flags).open(path)
    }

    fn zero_by_writing(&self, mut offset: u64, mut len: u64) -> io::Result<()> {
        let zeros = vec![0; ZEROS];
        while len > 0 {
            let step = zeros.get(..len.min(ZEROS as u64) as usize).unwrap_or(&zeros);
            self.file.write_all_at(step, offset)?;
            offset += step.len() as u64;
            len -= step.len() as u64;
        }
        Ok(())
    }

    /// Zeros by the file system if it can, else by hand; never past the end of the file.
    fn zero(&self, mode: FallocateFlags, offset: u64, len: u64) -> io::Result<()> {
        let len = len.min(self.size()?.saturating_sub(offset));
        if len == 0 {
            return Ok(());
        }
        match fallocate(&self.file, mode | FallocateFlags::KEEP_SIZE, offset, len) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                self.zero_by_writing(offset, len)
            }
            other => Ok(other?),
        }
    }
}

impl Storage for FileStorage {
    fn size(&self) -> io::Result<u64> {
        match self.is_device {
            true => (&self.file).seek(SeekFrom::End(0)),
            false => Ok(self.file.metadata()?.len()),
        }
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn set_len(&self, size: u64) -> io::Result<()> {
        match self.is_device {
            true if self.size()? >= size => Ok(()),
            true => Err(io::ErrorKind::StorageFull.into()),
            false => self.file.set_len(size),
        }
    }

    fn flush(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        self.zero(FallocateFlags::PUNCH_HOLE, offset, len)
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> io::Result<()> {
        self.zero(FallocateFlags::ZERO_RANGE, offset, len)
    }

    fn reserve(&self, offset: u64, len: u64) -> io::Result<()> {
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, offset, len) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            other => Ok(other?),
        }
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        match rustix::fs::seek(&self.file, rustix::fs::SeekFrom::Data(offset)) {
            Ok(data) => Ok(Some(data)),
            Err(Errno::NXIO) => Ok(None),
            Err(_) => Ok(Some(offset)),
        }
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_reads_zero_and_keeps_the_length() {
        let dir = tempfile::tempdir().unwrap();
        let file = FileStorage::create(&dir.path().join("a")).unwrap();
        file.write_at(0, &[7; 20_000]).unwrap();
        file.punch_hole(4096, 8192).unwrap();
        file.write_zeroes(19_000, 5_000).unwrap();
        let mut bytes = vec![1; 20_000];
        file.read_at(0, &mut bytes).unwrap();
        assert!(bytes.iter().enumerate().all(|(at, byte)| {
            let zero = (4096..12_288).contains(&at) || at >= 19_000;
            *byte == if zero { 0 } else { 7 }
        }));
        assert_eq!(file.size().unwrap(), 20_000);
    }

    #[test]
    fn a_file_has_one_writer_or_several_readers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let writer = FileStorage::create(&path).unwrap();
        let busy = FileStorage::open(&path, true).unwrap_err();
        assert_eq!(busy.kind(), io::ErrorKind::ResourceBusy);
        drop(writer);
        let _reader = FileStorage::open(&path, true).unwrap();
        FileStorage::open(&path, true).unwrap();
        assert!(FileStorage::open(&path, false).is_err());
    }

    #[test]
    fn reading_past_the_end_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = FileStorage::create(&dir.path().join("a")).unwrap();
        file.set_len(10).unwrap();
        let error = file.read_at(8, &mut [0; 4]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
