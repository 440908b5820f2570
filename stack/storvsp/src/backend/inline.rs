//! A queue whose requests are done at once, by the thread that starts them.
//!
//! For files that are memory (tmpfs): they have no device to wait for, and io_uring would hand each request to a thread
//! of its own because such a file cannot promise not to block.

use super::blocking::{self, Scratch};
use super::mapping::Mapping;
use crate::block::{Completed, Queue, Request};
use rustix::fs::fstatfs;
use std::collections::VecDeque;
use std::sync::Arc;

/// `TMPFS_MAGIC` of Linux' `magic.h`.
const TMPFS: u64 = 0x0102_1994;

/// More files than a chain of differencing images has.
const FILES_MAX: u16 = 64;

/// Whether all files of a disk are memory.
pub fn is_memory<M: Mapping>(mapping: &M) -> bool {
    let is_tmpfs = |fd| fstatfs(fd).is_ok_and(|facts| facts.f_type as u64 == TMPFS);
    let mut files = (0..FILES_MAX).map_while(|number| mapping.file(number)).peekable();
    files.peek().is_some() && files.all(|file| is_tmpfs(file.fd))
}

/// A queue without a thread or a ring.
pub struct InlineQueue<M: Mapping> {
    mapping: Arc<M>,
    depth: usize,
    scratch: Scratch,
    waiting: VecDeque<Request>,
    done: VecDeque<Completed>,
}

impl<M: Mapping> InlineQueue<M> {
    /// Into `mapping`, for `depth` requests at a time.
    pub fn new(mapping: Arc<M>, depth: u32) -> Self {
        let depth = depth.clamp(1, 4096) as usize;
        let (waiting, done) = (VecDeque::with_capacity(depth), VecDeque::with_capacity(depth));
        Self { mapping, depth, scratch: Scratch::default(), waiting, done }
    }
}

impl<M: Mapping> Queue for InlineQueue<M> {
    fn submit(&mut self, request: Request) -> Result<(), Request> {
        if self.waiting.len() + self.done.len() >= self.depth {
            return Err(request);
        }
        self.waiting.push_back(request);
        Ok(())
    }

    fn kick(&mut self) {
        while let Some(request) = self.waiting.pop_front() {
            let result = blocking::execute(&*self.mapping, &request, &mut self.scratch);
            let copied = self.scratch.has_copied();
            self.done.push_back(Completed { request, result, copied });
        }
    }

    fn completed(&mut self) -> Option<Completed> {
        if self.done.is_empty() {
            // What a completed request has led to has to be started too.
            self.kick();
        }
        self.done.pop_front()
    }
}
