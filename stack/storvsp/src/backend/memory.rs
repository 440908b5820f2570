//! A disk in memory: for tests, and for whoever wants to measure everything but a store.

use crate::block::{
    Completed, Discard, Disk, DiskInfo, IoError, Operation, Queue, Request, Submitted,
};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vmbus::memory::GuestMemory;
use vmm_sys_util::eventfd::EventFd;

/// Bytes in memory. Clones mean the same bytes.
#[derive(Clone)]
pub struct MemoryDisk {
    bytes: Arc<Mutex<Vec<u8>>>,
    logical_block: u32,
    read_only: bool,
}

impl MemoryDisk {
    /// `bytes` of content, a multiple of `logical_block`.
    pub fn new(bytes: Vec<u8>, logical_block: u32) -> Self {
        Self { bytes: Arc::new(Mutex::new(bytes)), logical_block, read_only: false }
    }

    /// The same bytes, but nobody writes them.
    pub fn read_only(&self) -> Self {
        Self { read_only: true, ..self.clone() }
    }

    /// The content.
    pub fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for MemoryDisk {
    fn info(&self) -> DiskInfo {
        DiskInfo {
            size: self.bytes().len() as u64,
            logical_block: self.logical_block,
            physical_block: self.logical_block.max(4096),
            read_only: self.read_only,
            discard: Some(Discard { granularity: self.logical_block, reads_zeros: true }),
        }
    }

    fn open_queue(
        &self,
        _depth: u32,
        _memory: &GuestMemory,
        _wake: &EventFd,
    ) -> io::Result<Box<dyn Queue>> {
        Ok(Box::new(MemoryQueue { disk: self.clone(), done: VecDeque::new() }))
    }
}

/// Everything is done at once, but told later, as of a store that has to be waited for.
struct MemoryQueue {
    disk: MemoryDisk,
    done: VecDeque<Completed>,
}

impl Queue for MemoryQueue {
    fn submit(&mut self, request: Box<Request>) -> Submitted {
        let result = self.execute(&request);
        self.done.push_back(Completed { request, result, copied: false });
        Submitted::UnderWay
    }

    fn kick(&mut self) {}

    fn completed(&mut self) -> Option<Completed> {
        self.done.pop_front()
    }
}

impl MemoryQueue {
    fn execute(&self, request: &Request) -> Result<(), IoError> {
        if self.disk.read_only && !matches!(request.operation, Operation::Read | Operation::Flush) {
            return Err(IoError::ReadOnly);
        }
        let mut all = self.disk.bytes();
        let start = usize::try_from(request.offset).map_err(|_| IoError::OutOfRange)?;
        let end = usize::try_from(request.length).ok().and_then(|length| start.checked_add(length));
        let end = end.ok_or(IoError::OutOfRange)?;
        let bytes = all.get_mut(start..end).ok_or(IoError::OutOfRange)?;
        match &request.operation {
            Operation::Read => {
                request.buffer.write_at(0, bytes);
            }
            Operation::Write { .. } => {
                request.buffer.read_at(0, bytes);
            }
            Operation::Flush => {}
            Operation::Discard | Operation::WriteZeros => bytes.fill(0),
            Operation::Fill(block) => {
                for (to, from) in bytes.iter_mut().zip(block.iter().cycle()) {
                    *to = *from;
                }
            }
        }
        Ok(())
    }
}
