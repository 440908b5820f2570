//! O_DIRECT: what it demands of buffers, and buffers that fulfil it.
//!
//! Guests' buffers are aligned to 4 bytes and as a rule to 512 or 4096. Those few that the file does not take as they
//! are go through a buffer of ours.

use libc::iovec;
use rustix::fs::{AtFlags, StatxFlags, statx};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Opens a file for I/O past the page cache.
///
/// # Errors
///
/// Its file system has no such thing, or what opening a file may fail of.
pub fn open(path: &Path, read_only: bool) -> io::Result<File> {
    let with =
        |flags| OpenOptions::new().read(true).write(!read_only).custom_flags(flags).open(path);
    // The time of the last read costs something with each read; only the file's owner may do without.
    with(libc::O_DIRECT | libc::O_NOATIME).or_else(|_| with(libc::O_DIRECT))
}

/// What a file opened with O_DIRECT demands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Alignment {
    /// Of addresses and lengths of buffers, in bytes.
    pub memory: u32,
    /// Of offsets and lengths in the file, in bytes.
    pub offset: u32,
}

impl Alignment {
    /// Of `file`, which may be opened with O_DIRECT or not; `None` if that is not possible.
    pub fn of(file: &File) -> Option<Self> {
        let facts = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN).ok()?;
        if facts.stx_mask & StatxFlags::DIOALIGN.bits() == 0 {
            // Before Linux 6.1 nobody says; this is enough for everything but disks with large sectors.
            return Some(Self { memory: 512, offset: 512 });
        }
        let (memory, offset) = (facts.stx_dio_mem_align, facts.stx_dio_offset_align);
        (memory > 0 && offset > 0).then_some(Self { memory, offset })
    }

    /// Whether a buffer can be used as it is.
    pub fn fits(&self, runs: &[iovec]) -> bool {
        let bits = runs.iter().fold(0, |bits, run| bits | run.iov_base.addr() | run.iov_len);
        bits & (self.memory.max(1) - 1) as usize == 0
    }
}

#[repr(C, align(4096))]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
struct Page([u8; 4096]);

/// A buffer aligned as well as anybody could want.
pub struct Bounce {
    pages: Vec<Page>,
    length: usize,
}

impl Bounce {
    /// `length` bytes of zeros.
    pub fn new(length: usize) -> Self {
        Self { pages: vec![Page([0; 4096]); length.div_ceil(4096)], length }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.pages.as_bytes().get(..self.length).unwrap_or_default()
    }

    /// The bytes.
    pub fn as_mut_bytes(&mut self) -> &mut [u8] {
        self.pages.as_mut_bytes().get_mut(..self.length).unwrap_or_default()
    }

    /// For a system call that reads or writes the bytes from `skip` on.
    pub fn iovec(&mut self, skip: usize) -> iovec {
        let rest = self.as_mut_bytes().get_mut(skip..).unwrap_or_default();
        iovec { iov_base: rest.as_mut_ptr().cast(), iov_len: rest.len() }
    }
}
