//! What a disk is to the controller: a thing that opens queues, and queues that take requests and give them back.
//!
//! A disk format implements [`Disk`]; each channel of a controller opens a [`Queue`] of its own, which belongs to the
//! channel's thread. A request travels with its buffer, which is guest memory: whoever holds the request may read and
//! write it, and nobody else of ours.

use std::fmt;
use std::io;
use thiserror::Error;
use vmbus::memory::{GuestMemory, Scatter};
use vmm_sys_util::eventfd::EventFd;

/// What a disk tells of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskInfo {
    /// Bytes, a multiple of `logical_block`.
    pub size: u64,
    /// Bytes of the smallest request: 512, 2048 or 4096.
    pub logical_block: u32,
    /// Bytes of the smallest write that costs no read; a power of two and a multiple of `logical_block`.
    pub physical_block: u32,
    /// Writes fail.
    pub read_only: bool,
    /// What [`Operation::Discard`] can do.
    pub discard: Option<Discard>,
}

/// How a disk discards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Discard {
    /// Bytes, a multiple of the logical block: smaller or unaligned parts of a range may keep their space.
    pub granularity: u32,
    /// All that was discarded reads as zeros.
    pub reads_zeros: bool,
}

/// What to do.
#[derive(Clone, PartialEq, Eq)]
pub enum Operation {
    /// Fill the buffer.
    Read,
    /// Store the buffer; with `fua`, durably.
    Write {
        /// Complete only when it would survive a power failure.
        fua: bool,
    },
    /// Make everything completed so far durable.
    Flush,
    /// The range is of no use to the guest.
    Discard,
    /// The range reads as zeros from now on.
    WriteZeros,
    /// The range is filled with this block, over and over.
    Fill(Box<[u8]>),
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write { fua: false } => "write",
            Self::Write { fua: true } => "write through",
            Self::Flush => "flush",
            Self::Discard => "discard",
            Self::WriteZeros => "write zeros",
            Self::Fill(_) => "fill",
        })
    }
}

/// A request on its way.
pub struct Request {
    /// Of the submitter, for finding it again.
    pub tag: u32,
    /// What.
    pub operation: Operation,
    /// Where, in bytes: a multiple of the logical block.
    pub offset: u64,
    /// How much, in bytes; inside the disk. For reads and writes that of the buffer.
    pub length: u64,
    /// From where or to where. Empty but for reads and writes.
    pub buffer: Scatter,
}

/// Why a request failed.
#[derive(Debug, Error)]
pub enum IoError {
    /// The store has no space left for what was written.
    #[error("no space left on the host")]
    NoSpace,
    /// The disk is read-only.
    #[error("the disk is read-only")]
    ReadOnly,
    /// The range is not in the disk.
    #[error("beyond the end of the disk")]
    OutOfRange,
    /// The disk cannot do that.
    #[error("not supported by this disk")]
    Unsupported,
    /// The store failed.
    #[error(transparent)]
    Host(io::Error),
}

impl From<io::Error> for IoError {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG) => Self::NoSpace,
            Some(libc::EROFS | libc::EPERM | libc::EBADF) => Self::ReadOnly,
            Some(libc::EOPNOTSUPP) => Self::Unsupported,
            _ => Self::Host(error),
        }
    }
}

/// A request that is done, with its buffer.
pub struct Completed {
    /// As it was submitted.
    pub request: Box<Request>,
    /// How it went. Reads and writes are all or nothing.
    pub result: Result<(), IoError>,
    /// The data went through a copy, as the store did not take the guest's pages as they were.
    pub copied: bool,
}

/// A disk or the medium of a drive.
pub trait Disk: Send + Sync {
    /// Properties. A disk that grew says so here; the controller asks when it is told to.
    fn info(&self) -> DiskInfo;

    /// A way in for one thread, for up to `depth` requests at a time, with buffers in `memory`. `wake` is written when
    /// requests complete that were not complete when [`Queue::kick`] returned.
    fn open_queue(
        &self,
        depth: u32,
        memory: &GuestMemory,
        wake: &EventFd,
    ) -> io::Result<Box<dyn Queue>>;
}

/// What became of a request that was submitted.
pub enum Submitted {
    /// It comes back by [`Queue::completed`].
    UnderWay,
    /// It is done: there was nothing to wait for.
    Done(Completed),
    /// There are too many.
    Refused(Box<Request>),
}

/// One thread's way into a disk: of the thread that opened it, and drops it.
///
/// Dropping it waits for what is under way: after that no buffer is touched.
pub trait Queue: Send {
    /// Takes a request, which may begin only with [`Self::kick`]. Its box is what travels, and is not made anew.
    fn submit(&mut self, request: Box<Request>) -> Submitted;

    /// Begins everything submitted.
    fn kick(&mut self);

    /// A request that is done, in no order.
    fn completed(&mut self) -> Option<Completed>;
}
