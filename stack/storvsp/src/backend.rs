//! Stores of disks.
//!
//! ```text
//!   Queue ──┬─ uring    ──┐                    ┌─ raw      a file or block device is the disk
//!           ├─ threads  ──┼── asks a Mapping ──┤
//!           ├─ inline   ──┤
//!           └─ memory     │                    └─ image    VHDX and VHD, by the crate `disk`
//!                         └── blocking, direct, registered: what they share or need
//! ```
//!
//! A [`Mapping`] says where the bytes of a disk are in files; a queue moves them between there and the guest's pages.

pub mod blocking;
pub mod direct;
pub mod image;
pub mod inline;
pub mod jobs;
pub mod mapping;
pub mod memory;
pub mod raw;
mod registered;
pub mod threads;
pub mod uring;

pub use image::ImageDisk;
pub use mapping::{Extent, FileRef, Mapping, Place};
pub use raw::RawDisk;

use crate::block::{Disk, DiskInfo, Queue};
use inline::{InlineQueue, Store};
use std::io;
use std::sync::Arc;
use threads::ThreadQueue;
use uring::UringQueue;
use vmbus::memory::GuestMemory;
use vmm_sys_util::eventfd::EventFd;

/// A disk in files: at once where they are memory, by io_uring where the system has it, else by threads.
pub struct FileDisk<M> {
    mapping: Arc<M>,
    uring: bool,
}

impl<M: Mapping> FileDisk<M> {
    /// Of the files that `mapping` names.
    pub fn new(mapping: M) -> Self {
        Self { mapping: Arc::new(mapping), uring: true }
    }

    /// The same without io_uring.
    pub fn with_threads(mapping: M) -> Self {
        Self { mapping: Arc::new(mapping), uring: false }
    }

    /// Where the bytes are.
    pub fn mapping(&self) -> &Arc<M> {
        &self.mapping
    }
}

impl<M: Mapping> Disk for FileDisk<M> {
    fn info(&self) -> DiskInfo {
        self.mapping.info()
    }

    fn open_queue(
        &self,
        depth: u32,
        memory: &GuestMemory,
        wake: &EventFd,
    ) -> io::Result<Box<dyn Queue>> {
        let mapping = || Arc::clone(&self.mapping);
        if !self.uring {
            return Ok(Box::new(ThreadQueue::new(mapping(), wake)?));
        }
        let store = inline::store_of(&*self.mapping);
        // What a RAM disk gains by doing without io_uring is less than what registered memory spares.
        if store == Store::Memory || store == Store::RamDisk && !memory.is_resident() {
            return Ok(Box::new(InlineQueue::new(mapping())));
        }
        match UringQueue::new(mapping(), depth, memory, wake) {
            Ok(queue) => return Ok(Box::new(queue)),
            Err(error) => tracing::info!(%error, "no io_uring for disks"),
        }
        if store == Store::RamDisk {
            return Ok(Box::new(InlineQueue::new(mapping())));
        }
        Ok(Box::new(ThreadQueue::new(mapping(), wake)?))
    }
}
