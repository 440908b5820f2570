//! Requests cut into pieces of files.

use super::direct::{Alignment, Bounce};
use super::mapping::{Extent, FileRef, Mapping, Place};
use crate::block::{IoError, Operation, Request};
use libc::iovec;
use std::io;
use std::os::fd::BorrowedFd;
use vmbus::memory::Scatter;

/// The memory of a piece.
enum Memory {
    /// All of the request's buffer.
    Whole,
    /// A part of it.
    Part(Scatter),
    /// A copy of a part of it, which the file takes where it does not take the buffer.
    Copy(Bounce),
}

/// Memory for one system call.
pub(super) enum Buffer<'a> {
    Runs(&'a [iovec]),
    Run(iovec),
}

/// A piece of a request that lies in one file without gaps.
pub(super) struct Piece {
    pub(super) file: u16,
    /// In the file, of what is still to be done.
    pub(super) offset: u64,
    /// In the request's buffer, of the piece.
    start: usize,
    length: usize,
    done: usize,
    memory: Memory,
}

impl Piece {
    /// `length` bytes of a request from `start` on, whose buffer the file takes as it is, at least this part.
    pub(super) fn new(file: u16, offset: u64, start: usize, length: usize) -> Self {
        Self { file, offset, start, length, done: 0, memory: Memory::Whole }
    }

    /// Finds memory for it that the file takes.
    fn prepare(&mut self, request: &Request, alignment: Option<Alignment>) {
        if self.start > 0 || self.length < request.buffer.len() {
            self.memory = Memory::Part(request.buffer.part(self.start, self.length));
        }
        let runs = match &self.memory {
            Memory::Part(part) => part.iovecs(),
            _ => request.buffer.iovecs(),
        };
        if alignment.is_some_and(|alignment| !alignment.fits(runs)) {
            let mut copy = Bounce::new(self.length);
            if matches!(request.operation, Operation::Write { .. }) {
                request.buffer.read_at(self.start, copy.as_mut_bytes());
            }
            self.memory = Memory::Copy(copy);
        }
    }

    /// Whether the file does not take the request's buffer as it is.
    pub(super) fn is_copy(&self) -> bool {
        matches!(self.memory, Memory::Copy(_))
    }

    /// For a system call that goes on where the last one ended.
    pub(super) fn buffer<'a>(&'a mut self, request: &'a Request) -> Buffer<'a> {
        match &mut self.memory {
            Memory::Whole => Buffer::Runs(request.buffer.iovecs()),
            Memory::Part(part) => Buffer::Runs(part.iovecs()),
            Memory::Copy(copy) => Buffer::Run(copy.iovec(self.done)),
        }
    }

    /// A system call moved `bytes`; whether that was all.
    pub(super) fn advance(&mut self, request: &Request, bytes: usize) -> Result<bool, IoError> {
        if bytes == 0 {
            return Err(IoError::Host(io::ErrorKind::UnexpectedEof.into()));
        }
        self.done += bytes.min(self.length - self.done);
        self.offset += bytes as u64;
        if self.done < self.length {
            if !matches!(self.memory, Memory::Copy(_)) {
                let rest = self.length - self.done;
                self.memory = Memory::Part(request.buffer.part(self.start + self.done, rest));
            }
            return Ok(false);
        }
        if let (Memory::Copy(copy), Operation::Read) = (&self.memory, &request.operation) {
            request.buffer.write_at(self.start, copy.as_bytes());
        }
        Ok(true)
    }
}

/// What keeps the pieces valid.
pub(super) enum Guard<M: Mapping> {
    Read(M::ReadGuard),
    Write(M::WriteGuard),
}

/// Finds where a read or write goes.
pub(super) fn map<M: Mapping>(
    mapping: &M,
    request: &Request,
    extents: &mut Vec<Extent>,
) -> Result<Guard<M>, IoError> {
    extents.clear();
    let (offset, length) = (request.offset, request.length);
    Ok(match request.operation {
        Operation::Read => Guard::Read(mapping.map_read(offset, length, extents)?),
        _ => Guard::Write(mapping.map_write(offset, length, extents)?),
    })
}

/// Where all of a request goes.
pub(super) struct Whole<'a> {
    pub(super) file: u16,
    pub(super) fd: BorrowedFd<'a>,
    pub(super) offset: u64,
}

/// Where all of a read or write goes, if it is one piece of one file, and that takes the buffer as it is.
pub(super) fn whole<'a, M: Mapping>(
    mapping: &'a M,
    request: &Request,
    extents: &[Extent],
) -> Option<Whole<'a>> {
    let &[Extent { place: Place::File { file, offset }, len: length }] = extents else {
        return None;
    };
    let FileRef { fd, alignment } = mapping.file(file)?;
    let buffer = &request.buffer;
    let fits = alignment.is_none_or(|alignment| alignment.fits(buffer.iovecs()));
    (fits && length == buffer.len() as u64).then_some(Whole { file, fd, offset })
}

/// Cuts a read or write that has been mapped into pieces. Pieces of a read that are nowhere are zeroed at once.
pub(super) fn cut<M: Mapping>(
    mapping: &M,
    request: &Request,
    extents: &[Extent],
    pieces: &mut Vec<Piece>,
) -> Result<(), IoError> {
    pieces.clear();
    let mut start = 0;
    for extent in extents.iter() {
        let length = (extent.len as usize).min(request.buffer.len().saturating_sub(start));
        match extent.place {
            Place::Zero => {
                request.buffer.zero_at(start, length);
            }
            Place::File { file, offset } => {
                let alignment = mapping.file(file).ok_or(IoError::Unsupported)?.alignment;
                let mut piece = Piece::new(file, offset, start, length);
                piece.prepare(request, alignment);
                pieces.push(piece);
            }
        }
        start += length;
    }
    Ok(())
}

/// Tells the mapping that all pieces are done.
pub(super) fn finish<M: Mapping>(mapping: &M, guard: Guard<M>) -> Result<(), IoError> {
    match guard {
        Guard::Read(guard) => {
            drop(guard);
            Ok(())
        }
        Guard::Write(guard) => mapping.written(guard),
    }
}
