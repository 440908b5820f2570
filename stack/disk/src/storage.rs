//! The bytes below a disk format: a file, or memory in tests and fuzzers.

use crate::error::{Error, Result};
use std::fmt::Debug;
use std::io;
use std::os::fd::BorrowedFd;

/// A file of bytes at offsets, shared by reference.
///
/// What must hold: bytes that were never written, and those of a hole, read as zero; after [`Storage::flush`] returned,
/// everything written before survives a power loss, and before that any 512-byte sector written may or may not.
pub trait Storage: Send + Sync + Debug {
    /// Length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Fills `buffer` from `offset` on; past the end is [`io::ErrorKind::UnexpectedEof`].
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Writes all of `data`, making the file longer if needed.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Cuts the file off, or extends it with zeros.
    fn set_len(&self, size: u64) -> io::Result<()>;
    /// Makes what was written survive a power loss.
    fn flush(&self) -> io::Result<()>;
    /// Gives the space of a range back; it reads as zero afterwards. Never changes the length.
    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Zeros in a range without giving its space back. Never changes the length.
    fn write_zeroes(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Reserves space for a range inside the file, so that later writes there do not fail for lack of it.
    fn reserve(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }
    /// The first byte from `offset` on that is not in a hole; `None`: only holes follow. May name bytes in a hole.
    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        Ok(Some(offset))
    }
    /// The file descriptor for I/O that goes past this trait, where there is one.
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// [`Storage`] with errors that say what was being done.
pub(crate) trait StorageExt {
    fn length(&self) -> Result<u64>;
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()>;
    fn write(&self, offset: u64, data: &[u8]) -> Result<()>;
    fn resize(&self, size: u64) -> Result<()>;
    fn sync(&self) -> Result<()>;
    fn punch(&self, offset: u64, len: u64) -> Result<()>;
    fn zero(&self, offset: u64, len: u64) -> Result<()>;
    fn keep_room(&self, offset: u64, len: u64) -> Result<()>;

    fn read_vec(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.read(offset, &mut bytes)?;
        Ok(bytes)
    }
}

impl StorageExt for dyn Storage + '_ {
    fn length(&self) -> Result<u64> {
        self.size().map_err(Error::io("asking for the file's length"))
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let len = buffer.len();
        self.read_at(offset, buffer)
            .map_err(|error| Error::io(format!("reading {len} bytes at {offset:#x}"))(error))
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.write_at(offset, data).map_err(|error| {
            Error::io(format!("writing {} bytes at {offset:#x}", data.len()))(error)
        })
    }

    fn resize(&self, size: u64) -> Result<()> {
        self.set_len(size)
            .map_err(|error| Error::io(format!("setting the file's length to {size} bytes"))(error))
    }

    fn sync(&self) -> Result<()> {
        self.flush().map_err(Error::io("flushing the file"))
    }

    fn punch(&self, offset: u64, len: u64) -> Result<()> {
        self.punch_hole(offset, len)
            .map_err(|error| Error::io(format!("freeing {len} bytes at {offset:#x}"))(error))
    }

    fn zero(&self, offset: u64, len: u64) -> Result<()> {
        self.write_zeroes(offset, len)
            .map_err(|error| Error::io(format!("zeroing {len} bytes at {offset:#x}"))(error))
    }

    fn keep_room(&self, offset: u64, len: u64) -> Result<()> {
        self.reserve(offset, len)
            .map_err(|error| Error::io(format!("reserving {len} bytes at {offset:#x}"))(error))
    }
}
