//! Requests done by blocking system calls.
#![expect(unsafe_code, reason = "the system calls that fill guest memory take addresses")]

use super::jobs::{self, Buffer, Piece, Whole};
use super::mapping::{Extent, Mapping};
use crate::block::{IoError, Operation, Request};
use libc::iovec;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Lists that are reused from request to request.
#[derive(Default)]
pub struct Scratch {
    extents: Vec<Extent>,
    pieces: Vec<Piece>,
}

impl Scratch {
    /// Whether the data of the last request went through a copy.
    pub fn has_copied(&self) -> bool {
        self.pieces.iter().any(Piece::is_copy)
    }
}

/// Does a request, whatever it is.
pub fn execute<M: Mapping>(
    mapping: &M,
    request: &Request,
    scratch: &mut Scratch,
) -> Result<(), IoError> {
    let (offset, length) = (request.offset, request.length);
    scratch.pieces.clear();
    match &request.operation {
        Operation::Read => transfer(mapping, request, scratch),
        Operation::Write { fua } => {
            transfer(mapping, request, scratch)?;
            if *fua { mapping.flush() } else { Ok(()) }
        }
        Operation::Flush => mapping.flush(),
        Operation::Discard => mapping.discard(offset, length),
        Operation::WriteZeros => mapping.write_zeros(offset, length),
        Operation::Fill(block) => fill(mapping, offset, length, block),
    }
}

/// Moves the data of a read or write.
fn transfer<M: Mapping>(
    mapping: &M,
    request: &Request,
    scratch: &mut Scratch,
) -> Result<(), IoError> {
    let Scratch { extents, pieces } = scratch;
    let guard = jobs::map(mapping, request, extents)?;
    if let Some(Whole { fd, offset, .. }) = jobs::whole(mapping, request, extents) {
        match move_runs(&request.operation, fd, request.buffer.iovecs(), offset) {
            Ok(bytes) if bytes == request.buffer.len() => return jobs::finish(mapping, guard),
            // By pieces, from the beginning.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    jobs::cut(mapping, request, extents, pieces)?;
    for piece in pieces.iter_mut() {
        let fd = mapping.file(piece.file).ok_or(IoError::Unsupported)?.fd;
        loop {
            let offset = piece.offset;
            let moved = match piece.buffer(request) {
                Buffer::Runs(runs) => move_runs(&request.operation, fd, runs, offset),
                Buffer::Run(run) => move_runs(&request.operation, fd, &[run], offset),
            };
            match moved {
                Ok(bytes) if piece.advance(request, bytes)? => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    jobs::finish(mapping, guard)
}

/// One system call; the bytes it moved.
fn move_runs(
    operation: &Operation,
    fd: BorrowedFd<'_>,
    runs: &[iovec],
    offset: u64,
) -> io::Result<usize> {
    let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
    let count = runs.len().min(libc::UIO_MAXIOV as usize);
    let is_read = matches!(operation, Operation::Read);
    let (number, buffer, size) = match (is_read, runs) {
        // The kernel has less to do for one run that it need not copy the list of.
        (true, &[run]) => (libc::SYS_pread64, run.iov_base.cast_const(), run.iov_len),
        (false, &[run]) => (libc::SYS_pwrite64, run.iov_base.cast_const(), run.iov_len),
        (true, _) => (libc::SYS_preadv, runs.as_ptr().cast(), count),
        (false, _) => (libc::SYS_pwritev, runs.as_ptr().cast(), count),
    };
    // Not by `libc::pread` and its like: they are points of cancellation, which is 40 instructions more for each command. The
    // upper half of an offset is nothing where a word has 64 bits.
    // SAFETY: the runs are guest memory that the request keeps mapped, or a `Bounce` borrowed mutably by its piece;
    // the guest expects the former to change, and nothing refers to either. For a write they are only read.
    let moved = unsafe { libc::syscall(number, fd.as_raw_fd(), buffer, size, offset, 0usize) };
    usize::try_from(moved).map_err(|_| io::Error::last_os_error())
}

/// Writes the same block over and over.
fn fill<M: Mapping>(mapping: &M, offset: u64, length: u64, block: &[u8]) -> Result<(), IoError> {
    let mut extents = Vec::new();
    let guard = mapping.map_write(offset, length, &mut extents)?;
    let mut chunk = super::direct::Bounce::new(64 << 10);
    for (to, from) in chunk.as_mut_bytes().iter_mut().zip(block.iter().cycle()) {
        *to = *from;
    }
    for extent in &extents {
        fill_extent(mapping, extent, &mut chunk)?;
    }
    mapping.written(guard)
}

/// Extents and the chunk both begin with a whole block.
fn fill_extent<M: Mapping>(
    mapping: &M,
    extent: &Extent,
    chunk: &mut super::direct::Bounce,
) -> Result<(), IoError> {
    let super::Place::File { file, offset } = extent.place else {
        return Err(IoError::Unsupported);
    };
    let fd = mapping.file(file).ok_or(IoError::Unsupported)?.fd;
    let mut done = 0;
    while done < extent.len {
        let mut run = chunk.iovec((done % chunk.as_bytes().len() as u64) as usize);
        run.iov_len = run.iov_len.min((extent.len - done) as usize);
        match move_runs(&Operation::Write { fua: false }, fd, &[run], offset + done) {
            Ok(0) => return Err(IoError::Host(io::ErrorKind::WriteZero.into())),
            Ok(bytes) => done += bytes as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
