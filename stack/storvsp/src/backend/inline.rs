//! A queue whose requests are done at once, by the thread that submits them.
//!
//! For files that are memory (on tmpfs, RAM disks): they have no device to wait for. io_uring would hand each request to
//! a file of tmpfs to a thread of its own, because such a file cannot promise not to block; RAM disks can.

use super::blocking::{self, Scratch};
use super::mapping::Mapping;
use crate::block::{Completed, Queue, Request, Submitted};
use rustix::fs::{FileType, fstat, fstatfs, major};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// `TMPFS_MAGIC` of Linux' `magic.h`.
const TMPFS: u64 = 0x0102_1994;

/// Major number of RAM disks (Linux' `devices.txt`).
const RAM_DISK: u32 = 1;

/// More files than a chain of differencing images has.
const FILES_MAX: u16 = 64;

/// What files are in the end, best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Store {
    /// RAM disks.
    RamDisk,
    /// Files in memory.
    Memory,
    /// Everything that has to be waited for.
    Device,
}

/// The worst of what the files of a disk are.
pub fn store_of<M: Mapping>(mapping: &M) -> Store {
    let files = (0..FILES_MAX).map_while(|number| mapping.file(number));
    files.map(|file| store_of_file(file.fd)).max().unwrap_or(Store::Device)
}

/// The file system of a device's file says nothing: all of them are on one that is memory.
fn store_of_file(file: BorrowedFd<'_>) -> Store {
    let Ok(facts) = fstat(file) else { return Store::Device };
    let is_on_tmpfs = || fstatfs(file).is_ok_and(|facts| facts.f_type as u64 == TMPFS);
    match FileType::from_raw_mode(facts.st_mode) {
        FileType::RegularFile if is_on_tmpfs() => Store::Memory,
        FileType::BlockDevice if major(facts.st_rdev) == RAM_DISK => Store::RamDisk,
        _ => Store::Device,
    }
}

/// A queue without a thread or a ring.
pub struct InlineQueue<M: Mapping> {
    mapping: Arc<M>,
    scratch: Scratch,
}

impl<M: Mapping> InlineQueue<M> {
    /// Into `mapping`.
    pub fn new(mapping: Arc<M>) -> Self {
        Self { mapping, scratch: Scratch::default() }
    }
}

impl<M: Mapping> Queue for InlineQueue<M> {
    fn submit(&mut self, request: Box<Request>) -> Submitted {
        let result = blocking::execute(&*self.mapping, &request, &mut self.scratch);
        let copied = self.scratch.has_copied();
        Submitted::Done(Completed { request, result, copied })
    }

    fn kick(&mut self) {}

    fn completed(&mut self) -> Option<Completed> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;

    #[test]
    fn memory_is_what_a_file_is_in_not_where_its_name_is() {
        let store_of = |path: &str| store_of_file(File::open(path).unwrap().as_fd());
        assert_eq!(store_of("/dev/null"), Store::Device, "a name on tmpfs, and a device");
        assert_eq!(store_of("/proc/self/stat"), Store::Device);
        if let Ok(file) = tempfile::tempfile_in("/dev/shm") {
            let is_on_tmpfs = fstatfs(&file).unwrap().f_type as u64 == TMPFS;
            assert_eq!(is_on_tmpfs, store_of_file(file.as_fd()) == Store::Memory);
        }
    }
}
