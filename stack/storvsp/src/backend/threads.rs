//! A queue served by threads: where there is no io_uring, and for what io_uring cannot do.

use super::blocking::{self, Scratch};
use super::mapping::Mapping;
use crate::block::{Completed, Queue, Request, Submitted};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use vmm_sys_util::eventfd::EventFd;

/// Threads of a queue: enough to keep a file system busy.
const THREADS: usize = 4;

#[derive(Default)]
struct State {
    waiting: VecDeque<Box<Request>>,
    done: VecDeque<Completed>,
    is_closed: bool,
}

struct Shared<M> {
    mapping: Arc<M>,
    wake: EventFd,
    state: Mutex<State>,
    work: Condvar,
}

impl<M> Shared<M> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next request, waiting for it; `None` when there will be no more.
    fn next(&self) -> Option<Box<Request>> {
        let idle = |state: &mut State| state.waiting.is_empty() && !state.is_closed;
        let mut state =
            self.work.wait_while(self.state(), idle).unwrap_or_else(PoisonError::into_inner);
        state.waiting.pop_front()
    }
}

/// A queue with threads of its own.
pub struct ThreadQueue<M: Mapping> {
    shared: Arc<Shared<M>>,
    threads: Vec<JoinHandle<()>>,
}

impl<M: Mapping> ThreadQueue<M> {
    /// Into `mapping`. `wake` is written for every request that completes.
    pub fn new(mapping: Arc<M>, wake: &EventFd) -> io::Result<Self> {
        Self::with_threads(mapping, wake, THREADS)
    }

    /// The same with so many threads.
    pub fn with_threads(mapping: Arc<M>, wake: &EventFd, count: usize) -> io::Result<Self> {
        let (state, work) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { mapping, wake: wake.try_clone()?, state, work });
        let mut queue = Self { shared, threads: Vec::new() };
        for _ in 0..count {
            let shared = Arc::clone(&queue.shared);
            let name = "storvsp-io".into();
            let thread = std::thread::Builder::new().name(name).spawn(move || serve(&shared))?;
            queue.threads.push(thread);
        }
        Ok(queue)
    }
}

fn serve<M: Mapping>(shared: &Shared<M>) {
    let mut scratch = Scratch::default();
    while let Some(request) = shared.next() {
        let result = blocking::execute(&*shared.mapping, &request, &mut scratch);
        let copied = scratch.has_copied();
        shared.state().done.push_back(Completed { request, result, copied });
        crate::controller::wake(&shared.wake);
    }
}

impl<M: Mapping> Queue for ThreadQueue<M> {
    fn submit(&mut self, request: Box<Request>) -> Submitted {
        self.shared.state().waiting.push_back(request);
        Submitted::UnderWay
    }

    fn kick(&mut self) {
        self.shared.work.notify_all();
    }

    fn completed(&mut self) -> Option<Completed> {
        self.shared.state().done.pop_front()
    }
}

impl<M: Mapping> Drop for ThreadQueue<M> {
    fn drop(&mut self) {
        self.shared.state().is_closed = true;
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("an I/O thread has panicked");
            }
        }
    }
}
