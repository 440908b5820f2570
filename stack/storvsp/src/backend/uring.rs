//! A queue on io_uring: reads, writes and flushes of one channel on one disk, started together by one system call.
//!
//! The guest's pages are named to the kernel as they are, beforehand where they stay for good; nothing is copied, but for
//! buffers that O_DIRECT does not take. What io_uring cannot do, or what has more to it than data, goes to a thread.
#![expect(unsafe_code, reason = "a submission names memory by address")]

use super::jobs::{self, Buffer, Guard, Piece, Whole};
use super::mapping::{Extent, Mapping};
use super::registered::Registered;
use super::threads::ThreadQueue;
use crate::block::{Completed, IoError, Operation, Queue, Request, Submitted};
use io_uring::squeue::Entry;
use io_uring::{IoUring, opcode, types};
use libc::iovec;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use vmbus::memory::GuestMemory;
use vmm_sys_util::eventfd::EventFd;

/// `IORING_ENTER_GETEVENTS` of Linux' `io_uring.h`.
const GET_EVENTS: u32 = 1;

/// Piece number of a flush.
const FLUSH: u32 = u32::MAX;
/// Piece number of a request that is not cut, as nearly all are not.
const WHOLE: u32 = u32::MAX - 1;

/// A request under way.
struct Job<M: Mapping> {
    request: Box<Request>,
    guard: Option<Guard<M>>,
    /// Submissions that have not come back.
    outstanding: u32,
    /// The first thing that went wrong.
    error: Option<IoError>,
    is_flushing: bool,
    /// If it is not cut, its file and where it is in there.
    place: (u16, u64),
}

/// A place for a job. Its pieces stay where they are while the kernel knows of them.
struct Slot<M: Mapping> {
    job: Option<Job<M>>,
    pieces: Vec<Piece>,
}

/// A queue with a ring of its own.
pub struct UringQueue<M: Mapping> {
    ring: IoUring,
    /// Guest memory that the ring knows; goes after the ring.
    registered: Option<Registered>,
    mapping: Arc<M>,
    slots: Vec<Slot<M>>,
    free: Vec<u32>,
    extents: Vec<Extent>,
    done: VecDeque<Completed>,
    /// Submissions the kernel has not heard of.
    is_dirty: bool,
    /// For what blocks; made when it is needed.
    helper: Option<ThreadQueue<M>>,
    /// Requests that the helper has.
    helped: u32,
    wake: EventFd,
}

impl<M: Mapping> UringQueue<M> {
    /// Into `mapping`, for `depth` requests at a time with buffers in `memory`.
    ///
    /// # Errors
    ///
    /// The system has no io_uring, or not for us.
    pub fn new(
        mapping: Arc<M>,
        depth: u32,
        memory: &GuestMemory,
        wake: &EventFd,
    ) -> io::Result<Self> {
        let depth = depth.clamp(1, 4096);
        let ring = ring(depth)?;
        ring.submitter().register_eventfd(wake.as_raw_fd())?;
        let slot = |_| Slot { job: None, pieces: Vec::with_capacity(1) };
        Ok(Self {
            registered: register(&ring, memory),
            ring,
            mapping,
            slots: (0..depth).map(slot).collect(),
            free: (0..depth).rev().collect(),
            extents: Vec::with_capacity(1),
            done: VecDeque::with_capacity(depth as usize),
            is_dirty: false,
            helper: None,
            helped: 0,
            wake: wake.try_clone()?,
        })
    }

    /// Starts a read or write.
    fn begin_transfer(&mut self, request: Box<Request>) -> Submitted {
        let Some(index) = self.free.pop() else { return Submitted::Refused(request) };
        let Some(slot) = self.slots.get_mut(index as usize) else {
            return Submitted::Refused(request);
        };
        let mapping = &*self.mapping;
        let guard = match jobs::map(mapping, &request, &mut self.extents) {
            Ok(guard) => guard,
            Err(error) => {
                self.free.push(index);
                return Submitted::Done(Completed { request, result: Err(error), copied: false });
            }
        };
        let whole = jobs::whole(mapping, &request, &self.extents);
        let place = whole.as_ref().map_or((0, 0), |whole| (whole.file, whole.offset));
        let entry = whole.map(|Whole { fd, offset, .. }| {
            let runs = request.buffer.iovecs();
            transfer_entry(fd, &request.operation, runs, offset, self.registered.as_ref())
        });
        let (guard, error) = (Some(guard), None);
        slot.job = Some(Job { request, guard, outstanding: 1, error, is_flushing: false, place });
        match entry {
            Some(entry) => self.push(&entry.user_data(user_data(index, WHOLE))),
            None => self.begin_pieces(index),
        }
        Submitted::UnderWay
    }

    /// Starts what has just been mapped piece by piece.
    fn begin_pieces(&mut self, index: u32) {
        let Some(slot) = self.slots.get_mut(index as usize) else { return };
        let Some(job) = &mut slot.job else { return };
        let cut = jobs::cut(&*self.mapping, &job.request, &self.extents, &mut slot.pieces);
        let count = if cut.is_ok() { slot.pieces.len() as u32 } else { 0 };
        (job.outstanding, job.error) = (count, cut.err());
        (0..count).for_each(|piece| self.submit_piece(index, piece));
        if count == 0 {
            self.settle(index);
        }
    }

    fn begin_flush(&mut self, request: Box<Request>) -> Submitted {
        let Some(index) = self.free.pop() else { return Submitted::Refused(request) };
        let Some(slot) = self.slots.get_mut(index as usize) else {
            return Submitted::Refused(request);
        };
        slot.job = Some(Job {
            request,
            guard: None,
            outstanding: 1,
            error: None,
            is_flushing: true,
            place: (0, 0),
        });
        self.submit_flush(index);
        Submitted::UnderWay
    }

    fn submit_piece(&mut self, index: u32, number: u32) {
        let Some(slot) = self.slots.get_mut(index as usize) else { return };
        let (Some(job), Some(piece)) = (&slot.job, slot.pieces.get_mut(number as usize)) else {
            return;
        };
        let Some(file) = self.mapping.file(piece.file) else {
            return self.came_back(index, number, -libc::EBADF);
        };
        let (offset, operation) = (piece.offset, &job.request.operation);
        let registered = self.registered.as_ref();
        let entry = match piece.buffer(&job.request) {
            Buffer::Runs(runs) => transfer_entry(file.fd, operation, runs, offset, registered),
            Buffer::Run(copy) => transfer_entry(file.fd, operation, &[copy], offset, None),
        };
        self.push(&entry.user_data(user_data(index, number)));
    }

    fn submit_flush(&mut self, index: u32) {
        let file = self.mapping.flush_file().and_then(|number| self.mapping.file(number));
        let Some(file) = file else { return self.came_back(index, FLUSH, -libc::EBADF) };
        let entry = opcode::Fsync::new(types::Fd(file.fd.as_raw_fd()))
            .flags(types::FsyncFlags::DATASYNC)
            .build()
            .user_data(user_data(index, FLUSH));
        self.push(&entry);
    }

    fn push(&mut self, entry: &Entry) {
        self.is_dirty = true;
        loop {
            // SAFETY: the entry names a file that the mapping keeps open, runs that are in the slot or in the buffer of
            // its request, and guest memory or a copy that these own. A slot is emptied only when all its entries have
            // come back, and dropping the queue waits for that.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return;
            }
            self.enter(0);
        }
    }

    /// Tells the kernel, takes what it has put off, and waits for `wanted` completions; whether it took everything.
    fn enter(&mut self, wanted: u32) -> bool {
        loop {
            let count = self.ring.submission().len() as u32;
            let submitter = self.ring.submitter();
            // SAFETY: what is submitted was vouched for in `push`; there is no argument.
            let entered = unsafe { submitter.enter::<()>(count, wanted, GET_EVENTS, None) };
            match entered {
                Ok(_) => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Too many completions wait: they are taken before the next try.
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => return false,
                Err(error) => {
                    tracing::error!(%error, "io_uring refuses to work");
                    std::thread::sleep(std::time::Duration::from_millis(10));
                    return false;
                }
            }
        }
    }

    /// Takes what the kernel has done.
    fn take_completions(&mut self) {
        loop {
            let Some(entry) = self.ring.completion().next() else { return };
            let (index, number) = ((entry.user_data() >> 32) as u32, entry.user_data() as u32);
            self.came_back(index, number, entry.result());
        }
    }

    /// The same, and starts what has to go on, until nothing has that would ring no bell.
    fn take_everything(&mut self) {
        self.take_completions();
        loop {
            // What goes on may be done at once.
            while self.is_dirty {
                self.start();
                self.take_completions();
            }
            if !self.done.is_empty() || !self.has_to_finish() {
                return;
            }
            // This came while the bell was off. It is finished with the bell on: whatever comes from now on rings it.
            self.is_dirty = !self.enter(0);
            self.take_completions();
            if !self.is_dirty {
                return;
            }
        }
    }

    /// A submission is done, or as much of it as the kernel cared to do.
    fn came_back(&mut self, index: u32, number: u32, result: i32) {
        let Some(slot) = self.slots.get_mut(index as usize) else { return };
        let Some(job) = &mut slot.job else { return };
        if number == WHOLE {
            if usize::try_from(result) == Ok(job.request.buffer.len()) {
                return self.settle(index);
            }
            let ((file, offset), length) = (job.place, job.request.buffer.len());
            slot.pieces.push(Piece::new(file, offset, 0, length));
            return self.came_back(index, 0, result);
        }
        let is_again = matches!(-result, libc::EINTR | libc::EAGAIN);
        let finished = match (usize::try_from(result), slot.pieces.get_mut(number as usize)) {
            (Err(_), _) if is_again => Ok(false),
            (Err(_), _) => Err(IoError::from(io::Error::from_raw_os_error(-result))),
            (Ok(bytes), Some(piece)) => piece.advance(&job.request, bytes),
            (Ok(_), None) => Ok(true),
        };
        match finished {
            Ok(false) if number == FLUSH => return self.submit_flush(index),
            Ok(false) => return self.submit_piece(index, number),
            Ok(true) => {}
            Err(error) => job.error = job.error.take().or(Some(error)),
        }
        job.outstanding -= 1;
        if job.outstanding == 0 {
            self.settle(index);
        }
    }

    /// All submissions of a job are back.
    fn settle(&mut self, index: u32) {
        let Some(slot) = self.slots.get_mut(index as usize) else { return };
        let Some(mut job) = slot.job.take() else { return };
        let mut error = job.error.take();
        if let Some(guard) = job.guard.take().filter(|_| error.is_none()) {
            error = jobs::finish(&*self.mapping, guard).err();
        }
        let is_durable = !matches!(job.request.operation, Operation::Write { fua: true });
        if error.is_none() && !is_durable && !job.is_flushing {
            return self.make_durable(index, job);
        }
        let copied = slot.pieces.iter().any(Piece::is_copy);
        slot.pieces.clear();
        self.free.push(index);
        let result = error.map_or(Ok(()), Err);
        self.done.push_back(Completed { request: job.request, result, copied });
    }

    /// The data of a write through is written: now for the platter.
    fn make_durable(&mut self, index: u32, mut job: Job<M>) {
        let Some(slot) = self.slots.get_mut(index as usize) else { return };
        slot.pieces.clear();
        if self.mapping.flush_file().is_some() {
            (job.outstanding, job.is_flushing) = (1, true);
            slot.job = Some(job);
            return self.submit_flush(index);
        }
        self.free.push(index);
        let mut request = job.request;
        request.operation = Operation::Flush;
        match self.help(request) {
            Submitted::UnderWay => {}
            Submitted::Done(completed) => self.done.push_back(completed),
            Submitted::Refused(request) => {
                let result = Err(IoError::Host(io::ErrorKind::Other.into()));
                self.done.push_back(Completed { request, result, copied: false });
            }
        }
    }

    /// Hands a request to the thread.
    fn help(&mut self, request: Box<Request>) -> Submitted {
        if self.helper.is_none() {
            let helper = ThreadQueue::with_threads(Arc::clone(&self.mapping), &self.wake, 1);
            self.helper =
                helper.inspect_err(|error| tracing::error!(%error, "no thread for a disk")).ok();
        }
        let Some(helper) = &mut self.helper else { return Submitted::Refused(request) };
        let submitted = helper.submit(request);
        if matches!(submitted, Submitted::UnderWay) {
            helper.kick();
            self.helped += 1;
        }
        submitted
    }

    /// Tells the kernel of everything new. Completions that come at once ring no bell.
    fn start(&mut self) {
        self.ring.completion().disable_eventfd();
        self.is_dirty = !self.enter(0);
        self.ring.completion().enable_eventfd();
        // The kernel shows what has come, then looks whether the bell is off; we look at what has come after this.
        fence(Ordering::SeqCst);
    }

    /// Whether the kernel says that it has something to finish.
    ///
    /// Linux queues the work first and raises this flag after that; if all is finished in between, the flag stays up
    /// until there is work again (`io_req_local_work_add`, `__io_run_local_work`): no reason to ask for ever.
    fn has_to_finish(&mut self) -> bool {
        self.ring.submission().taskrun()
    }
}

impl<M: Mapping> Queue for UringQueue<M> {
    fn submit(&mut self, request: Box<Request>) -> Submitted {
        match request.operation {
            Operation::Read | Operation::Write { .. } => self.begin_transfer(request),
            Operation::Flush if self.mapping.flush_file().is_some() => self.begin_flush(request),
            _ => self.help(request),
        }
    }

    fn kick(&mut self) {
        if self.is_dirty || self.has_to_finish() {
            self.start();
        }
    }

    fn completed(&mut self) -> Option<Completed> {
        if self.done.is_empty() {
            self.take_everything();
        }
        if let Some(completed) = self.done.pop_front() {
            return Some(completed);
        }
        let helper = self.helper.as_mut().filter(|_| self.helped > 0)?;
        let completed = helper.completed()?;
        self.helped -= 1;
        Some(completed)
    }
}

impl<M: Mapping> Drop for UringQueue<M> {
    fn drop(&mut self) {
        while self.slots.iter().any(|slot| slot.job.is_some()) {
            self.enter(1);
            self.take_completions();
        }
    }
}

/// A ring of one thread, which completes requests when that thread asks for it, and not by interrupting it, as far as the
/// system can do that: the first since Linux 6.1, the second since 5.19.
fn ring(depth: u32) -> io::Result<IoUring> {
    let build = |builder: &mut io_uring::Builder| builder.setup_clamp().build(depth);
    let mut one_thread = IoUring::builder();
    one_thread.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
    build(&mut one_thread)
        .or_else(|_| build(IoUring::builder().setup_coop_taskrun().setup_taskrun_flag()))
        .or_else(|_| build(&mut IoUring::builder()))
}

fn user_data(index: u32, piece: u32) -> u64 {
    u64::from(index) << 32 | u64::from(piece)
}

/// Lets the ring know the guest's memory, if that stays where it is.
fn register(ring: &IoUring, memory: &GuestMemory) -> Option<Registered> {
    let registered = memory.is_resident().then(|| Registered::new(ring, memory))?;
    registered.inspect_err(|error| tracing::info!(%error, "guest memory is not registered")).ok()
}

/// What the kernel is to do for a piece, or for all of a request.
fn transfer_entry(
    fd: BorrowedFd<'_>,
    operation: &Operation,
    runs: &[iovec],
    offset: u64,
    registered: Option<&Registered>,
) -> Entry {
    let fd = types::Fd(fd.as_raw_fd());
    let is_read = matches!(operation, Operation::Read);
    let buffer = registered.and_then(|registered| registered.find(runs));
    match (runs, buffer, is_read) {
        (&[run], None, true) => {
            opcode::Read::new(fd, run.iov_base.cast(), run.iov_len as u32).offset(offset).build()
        }
        (&[run], None, false) => {
            opcode::Write::new(fd, run.iov_base.cast(), run.iov_len as u32).offset(offset).build()
        }
        (&[run], Some(buffer), true) => {
            opcode::ReadFixed::new(fd, run.iov_base.cast(), run.iov_len as u32, buffer)
                .offset(offset)
                .build()
        }
        (&[run], Some(buffer), false) => {
            opcode::WriteFixed::new(fd, run.iov_base.cast(), run.iov_len as u32, buffer)
                .offset(offset)
                .build()
        }
        (runs, None, true) => {
            opcode::Readv::new(fd, runs.as_ptr(), runs.len() as u32).offset(offset).build()
        }
        (runs, None, false) => {
            opcode::Writev::new(fd, runs.as_ptr(), runs.len() as u32).offset(offset).build()
        }
        (runs, Some(buffer), true) => {
            opcode::ReadvFixed::new(fd, runs.as_ptr(), runs.len() as u32, buffer)
                .offset(offset)
                .build()
        }
        (runs, Some(buffer), false) => {
            opcode::WritevFixed::new(fd, runs.as_ptr(), runs.len() as u32, buffer)
                .offset(offset)
                .build()
        }
    }
}
