//! Disks in files: io_uring and threads, with and without the page cache, do the same and the right thing.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use storvsp::backend::direct::Alignment;
use storvsp::backend::raw::RawOptions;
use storvsp::backend::{Extent, FileDisk, FileRef, ImageDisk, Mapping, Place, RawDisk};
use storvsp::block::{Completed, Disk, DiskInfo, IoError, Operation, Queue, Request, Submitted};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion};
use vmbus::memory::{GuestMemory, Scatter};
use vmm_sys_util::eventfd::EventFd;

const SIZE: usize = 256 << 10;

struct Fixture {
    ram: GuestMemoryMmap,
    memory: GuestMemory,
    wake: EventFd,
    /// What was done at once.
    done: RefCell<VecDeque<Completed>>,
}

/// With guest memory of the ordinary kind, or of the kind that stays.
fn fixture(is_resident: bool) -> Fixture {
    let mut region = MmapRegion::new(4 << 20).unwrap();
    region.set_hugetlbfs(is_resident);
    let region = GuestRegionMmap::new(region, GuestAddress(0)).unwrap();
    let ram = GuestMemoryMmap::from_regions(vec![region]).unwrap();
    let memory = GuestMemory::new(&ram);
    assert_eq!(memory.is_resident(), is_resident);
    let wake = EventFd::new(libc::EFD_NONBLOCK).unwrap();
    Fixture { ram, memory, wake, done: RefCell::default() }
}

impl Fixture {
    fn request(
        &self,
        operation: Operation,
        offset: u64,
        length: u64,
        runs: &[(u64, usize)],
    ) -> Request {
        let mut buffer = Scatter::new(&self.memory, runs.len());
        runs.iter().for_each(|(gpa, length)| buffer.push(*gpa, *length).unwrap());
        Request { tag: 5, operation, offset, length, buffer }
    }

    fn submit(&self, queue: &mut dyn Queue, request: Request) {
        match queue.submit(Box::new(request)) {
            Submitted::UnderWay => {}
            Submitted::Done(completed) => self.done.borrow_mut().push_back(completed),
            Submitted::Refused(_) => panic!("too many"),
        }
    }

    /// Waits as a channel's thread does: it looks only when it is woken.
    fn finish(&self, queue: &mut dyn Queue) -> Completed {
        queue.kick();
        loop {
            if let Some(completed) = self.done.borrow_mut().pop_front() {
                return completed;
            }
            if let Some(completed) = queue.completed() {
                return completed;
            }
            let end = Instant::now() + Duration::from_secs(30);
            while self.wake.read().is_err() {
                assert!(Instant::now() < end, "nobody was woken");
                std::thread::sleep(Duration::from_micros(20));
            }
            queue.kick();
        }
    }

    fn run(&self, queue: &mut dyn Queue, request: Request) -> Result<(), IoError> {
        self.submit(queue, request);
        self.finish(queue).result
    }
}

/// A disk with a directory of its own, and what is in it in the end.
struct Store {
    disk: Box<dyn Disk>,
    path: PathBuf,
    _directory: tempfile::TempDir,
}

impl Store {
    fn new(name: &str, make: impl FnOnce(&Path) -> Box<dyn Disk>) -> Self {
        Self::new_in(&std::env::temp_dir(), name, make)
    }

    fn new_in(place: &Path, name: &str, make: impl FnOnce(&Path) -> Box<dyn Disk>) -> Self {
        let directory = tempfile::tempdir_in(place).unwrap();
        let path = directory.path().join(name);
        Self { disk: make(&path), path, _directory: directory }
    }

    /// All bytes, after the disk is closed.
    fn content(self) -> Vec<u8> {
        drop(self.disk);
        let image = disk::open_file(&self.path, &disk::OpenOptions::read_only()).unwrap();
        let mut bytes = vec![0; image.size() as usize];
        image.read_at(0, &mut bytes).unwrap();
        bytes
    }
}

fn file_disk<M: Mapping>(mapping: M, uring: bool) -> Box<dyn Disk> {
    if uring { Box::new(FileDisk::new(mapping)) } else { Box::new(FileDisk::with_threads(mapping)) }
}

fn raw(content: &[u8], direct: bool, uring: bool) -> Store {
    Store::new("disk.img", |path| {
        std::fs::write(path, content).unwrap();
        let options = RawOptions { direct, ..RawOptions::default() };
        file_disk(RawDisk::open(path, options).unwrap(), uring)
    })
}

/// A file in memory, where the system has a place for such.
fn in_memory(content: &[u8]) -> Option<Store> {
    let place = Path::new("/dev/shm");
    place.is_dir().then(|| {
        Store::new_in(place, "disk.img", |path| {
            std::fs::write(path, content).unwrap();
            file_disk(RawDisk::open(path, RawOptions::default()).unwrap(), true)
        })
    })
}

/// An image with the same content, half of which is in its parent.
fn image(name: &str, content: &[u8], direct: bool, uring: bool) -> Store {
    Store::new(name, |path| {
        let parent = path.with_file_name(format!("parent-{name}"));
        let size = Some(content.len() as u64);
        disk::create_file(&parent, &disk::CreateOptions { size, ..Default::default() }).unwrap();
        let write = |path: &Path, bytes: &[u8], at: usize| {
            let image = disk::open_file(path, &disk::OpenOptions::default()).unwrap();
            image.write_at(at as u64, bytes).unwrap();
            image.close().unwrap();
        };
        let (first, second) = content.split_at(content.len() / 2);
        write(&parent, first, 0);
        let options = disk::CreateOptions { parent: Some(parent), ..Default::default() };
        disk::create_file(path, &options).unwrap();
        write(path, second, first.len());
        file_disk(ImageDisk::open(path, &disk::OpenOptions::default(), direct).unwrap(), uring)
    })
}

/// Every kind of store and queue with this content.
fn stores(content: &[u8]) -> Vec<Store> {
    let both = [false, true];
    let mut stores: Vec<_> =
        both.iter().flat_map(|uring| both.map(|direct| raw(content, direct, *uring))).collect();
    stores.extend(in_memory(content));
    for name in ["disk.vhdx", "disk.vhd"] {
        stores.extend(
            [(false, true), (true, true), (true, false)]
                .map(|(direct, uring)| image(name, content, direct, uring)),
        );
    }
    stores
}

#[test]
fn a_raw_file_is_as_large_as_its_whole_blocks() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&[1; 5000]).unwrap();
    let disk = RawDisk::open(file.path(), RawOptions::default()).unwrap();
    assert_eq!(disk.info().size, 4608);
    let large = RawOptions { logical_block: 4096, ..RawOptions::default() };
    assert_eq!(RawDisk::open(file.path(), large).unwrap().info().size, 4096);
}

#[derive(Clone, Debug)]
enum Step {
    Read(usize, usize, usize),
    Write(usize, usize, usize, bool),
    Zero(usize, usize, bool),
    Fill(usize, usize),
    Flush,
}

/// Blocks, number of blocks, and how crooked the guest's buffer is.
fn step() -> impl Strategy<Value = Step> {
    let place = (0usize..SIZE / 512, 1usize..100);
    prop_oneof![
        4 => (place.clone(), 0usize..5).prop_map(|((at, n), skew)| Step::Read(at, n, skew)),
        4 => (place.clone(), 0usize..5, any::<bool>()).prop_map(|((at, n), skew, fua)| Step::Write(at, n, skew, fua)),
        1 => (place.clone(), any::<bool>()).prop_map(|((at, n), keep)| Step::Zero(at, n, keep)),
        1 => place.prop_map(|(at, n)| Step::Fill(at, n)),
        1 => Just(Step::Flush),
    ]
}

/// A buffer of `length` bytes in three runs, the first of which begins off the page.
fn runs(length: usize, skew: usize) -> Vec<(u64, usize)> {
    let first = (length / 3 + skew * 4).min(length);
    let second = (length - first).min(4096);
    let all = [
        (0x1000 + skew as u64 * 4, first),
        (0x10_0000, second),
        (0x20_0000, length - first - second),
    ];
    all.into_iter().filter(|(_, length)| *length > 0).collect()
}

#[test]
fn all_queues_do_what_a_vector_would() {
    let mut runner = TestRunner::new(Config::with_cases(6));
    runner
        .run(&(prop::collection::vec(step(), 1..40), any::<bool>()), |(steps, is_resident)| {
            let f = fixture(is_resident);
            let mut model: Vec<u8> = (0..SIZE).map(|i| (i / 512 + i) as u8).collect();
            let stores = stores(&model);
            let mut queues: Vec<_> = stores
                .iter()
                .map(|store| store.disk.open_queue(8, &f.memory, &f.wake).unwrap())
                .collect();
            for (number, step) in steps.iter().enumerate() {
                for queue in &mut queues {
                    obey(&f, &mut **queue, step, number, &model)?;
                }
                apply(&mut model, step, number);
            }
            drop(queues);
            for store in stores {
                prop_assert!(store.content() == model);
            }
            Ok(())
        })
        .unwrap();
}

fn extent(at: usize, blocks: usize) -> (usize, usize) {
    (at * 512, (blocks * 512).min(SIZE - at * 512))
}

fn data(length: usize, number: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 3 + number * 17) as u8).collect()
}

fn obey(
    f: &Fixture,
    queue: &mut dyn Queue,
    step: &Step,
    number: usize,
    model: &[u8],
) -> Result<(), TestCaseError> {
    let done = match *step {
        Step::Flush => f.run(queue, f.request(Operation::Flush, 0, 0, &[])),
        Step::Read(at, blocks, skew) => {
            let (offset, length) = extent(at, blocks);
            let runs = runs(length, skew);
            let done =
                f.run(queue, f.request(Operation::Read, offset as u64, length as u64, &runs));
            let mut read = Vec::new();
            for (gpa, length) in runs {
                let mut bytes = vec![0; length];
                f.ram.read_slice(&mut bytes, GuestAddress(gpa)).unwrap();
                read.extend(bytes);
            }
            prop_assert!(read == model[offset..offset + length]);
            done
        }
        Step::Write(at, blocks, skew, fua) => {
            let (offset, length) = extent(at, blocks);
            let runs = runs(length, skew);
            let bytes = data(length, number);
            let mut rest = bytes.as_slice();
            for (gpa, length) in &runs {
                let (now, later) = rest.split_at(*length);
                f.ram.write_slice(now, GuestAddress(*gpa)).unwrap();
                rest = later;
            }
            f.run(queue, f.request(Operation::Write { fua }, offset as u64, length as u64, &runs))
        }
        Step::Zero(at, blocks, keep) => {
            let (offset, length) = extent(at, blocks);
            let operation = if keep { Operation::WriteZeros } else { Operation::Discard };
            f.run(queue, f.request(operation, offset as u64, length as u64, &[]))
        }
        Step::Fill(at, blocks) => {
            let (offset, length) = extent(at, blocks);
            let block: Vec<u8> = (0..512).map(|i| (i * 5 + number) as u8).collect();
            f.run(
                queue,
                f.request(Operation::Fill(block.into()), offset as u64, length as u64, &[]),
            )
        }
    };
    prop_assert!(done.is_ok(), "{:?}: {:?}", step, done);
    Ok(())
}

fn apply(model: &mut [u8], step: &Step, number: usize) {
    match *step {
        Step::Read(..) | Step::Flush => {}
        Step::Write(at, blocks, ..) => {
            let (offset, length) = extent(at, blocks);
            model[offset..offset + length].copy_from_slice(&data(length, number));
        }
        Step::Zero(at, blocks, _) => {
            let (offset, length) = extent(at, blocks);
            model[offset..offset + length].fill(0);
        }
        Step::Fill(at, blocks) => {
            let (offset, length) = extent(at, blocks);
            for (i, byte) in model[offset..offset + length].iter_mut().enumerate() {
                *byte = (i % 512 * 5 + number) as u8;
            }
        }
    }
}

#[test]
fn many_requests_at_once_all_come_back() {
    let content: Vec<u8> = (0..SIZE).map(|i| (i / 4096) as u8).collect();
    for (number, store) in stores(&content).iter().enumerate() {
        let f = fixture(number % 2 == 0);
        let mut queue = store.disk.open_queue(64, &f.memory, &f.wake).unwrap();
        for tag in 0..64u64 {
            let mut request = f.request(Operation::Read, tag * 4096, 4096, &[(tag * 4096, 4096)]);
            request.tag = tag as u32;
            f.submit(&mut *queue, request);
        }
        let mut tags: Vec<_> = (0..64)
            .map(|_| f.finish(&mut *queue))
            .map(|done| {
                assert!(done.result.is_ok());
                done.request.tag
            })
            .collect();
        tags.sort_unstable();
        assert!(tags.into_iter().eq(0..64));
        for page in 0..64u64 {
            assert_eq!(f.ram.read_obj::<u8>(GuestAddress(page * 4096 + 4095)).unwrap(), page as u8);
        }
    }
}

/// The buffers that each ring of this process knows.
fn registered() -> Vec<u32> {
    let read = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path()).ok();
    let all =
        std::fs::read_dir("/proc/self/fdinfo").unwrap().filter_map(|entry| read(entry.unwrap()));
    all.filter_map(|text| {
        text.lines().find_map(|line| line.strip_prefix("UserBufs:")?.trim().parse().ok())
    })
    .collect()
}

#[test]
fn rings_know_memory_that_stays_and_no_other() {
    for is_resident in [false, true] {
        let store = raw(&[7; SIZE], false, true);
        let f = fixture(is_resident);
        let mut queue = store.disk.open_queue(8, &f.memory, &f.wake).unwrap();
        for runs in [vec![(0x1000, 4096)], vec![(0x3000, 2048), (0x8000, 2048)]] {
            f.run(&mut *queue, f.request(Operation::Read, 0, 4096, &runs)).unwrap();
            for (gpa, length) in runs {
                let mut bytes = vec![0; length];
                f.ram.read_slice(&mut bytes, GuestAddress(gpa)).unwrap();
                assert!(bytes.iter().all(|byte| *byte == 7));
            }
        }
        let rings = registered();
        if rings.is_empty() {
            println!("this system has no io_uring for us, or does not tell of it");
        }
        // Other tests of this file run meanwhile, and have rings of both kinds.
        assert!(rings.is_empty() || !is_resident || rings.contains(&1), "{rings:?}");
    }
}

#[test]
fn writes_through_wake_whoever_waits_for_them() {
    for store in stores(&[0; SIZE]) {
        let f = fixture(false);
        let mut queue = store.disk.open_queue(8, &f.memory, &f.wake).unwrap();
        for at in 0..40u64 {
            let write = f.request(Operation::Write { fua: true }, at * 512, 512, &[(0, 512)]);
            f.run(&mut *queue, write).unwrap();
        }
    }
}

#[test]
fn a_queue_that_is_dropped_has_finished() {
    for store in stores(&[0; SIZE]) {
        let f = fixture(false);
        let mut queue = store.disk.open_queue(64, &f.memory, &f.wake).unwrap();
        f.ram.write_slice(&[0x5A; 4096], GuestAddress(0)).unwrap();
        for at in 0..64u64 {
            let request =
                f.request(Operation::Write { fua: at % 8 == 0 }, at * 4096, 4096, &[(0, 4096)]);
            f.submit(&mut *queue, request);
        }
        queue.kick();
        drop(queue);
        assert!(store.content() == [0x5A; SIZE]);
    }
}

#[test]
fn what_a_file_has_lost_cannot_be_read_and_the_rest_can() {
    let stores = [false, true].map(|uring| raw(&[7; SIZE], false, uring));
    for store in stores.into_iter().chain(in_memory(&[7; SIZE])) {
        let f = fixture(false);
        let mut queue = store.disk.open_queue(8, &f.memory, &f.wake).unwrap();
        std::fs::File::options().write(true).open(&store.path).unwrap().set_len(6144).unwrap();
        let runs = [(0x1000, 4096), (0x8000, 4096)];
        let read = |offset| f.request(Operation::Read, offset, 8192, &runs);
        let done = f.run(&mut *queue, read(0));
        assert!(
            matches!(&done, Err(IoError::Host(error)) if error.kind() == ErrorKind::UnexpectedEof)
        );
        assert!(f.run(&mut *queue, read(8192)).is_err());
        let read = f.request(Operation::Read, 512, 4096, &[(0x1000, 4096)]);
        assert!(f.run(&mut *queue, read).is_ok());
    }
}

#[test]
fn beyond_the_end_is_an_error_and_so_is_writing_what_is_read_only() {
    let f = fixture(false);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&[0; 8192]).unwrap();
    let options = RawOptions { read_only: true, ..RawOptions::default() };
    let disk = FileDisk::new(RawDisk::open(file.path(), options).unwrap());
    let mut queue = disk.open_queue(8, &f.memory, &f.wake).unwrap();
    let read = |offset| f.request(Operation::Read, offset, 4096, &[(0, 4096)]);
    assert!(f.run(&mut *queue, read(4096)).is_ok());
    for offset in [4608, 8192, u64::MAX - 512] {
        assert!(matches!(f.run(&mut *queue, read(offset)), Err(IoError::OutOfRange)));
    }
    for operation in [Operation::Write { fua: false }, Operation::Discard, Operation::WriteZeros] {
        let request = f.request(operation, 0, 4096, &[(0, 4096)]);
        assert!(matches!(f.run(&mut *queue, request), Err(IoError::ReadOnly)));
    }
}

/// A disk on which every write ends with the same complaint, by halves in two files, and with a hole in the middle.
struct Strange {
    full: std::fs::File,
    zero: std::fs::File,
}

impl Mapping for Strange {
    type ReadGuard = ();
    type WriteGuard = ();

    fn info(&self) -> DiskInfo {
        DiskInfo {
            size: 1 << 20,
            logical_block: 512,
            physical_block: 512,
            read_only: false,
            discard: None,
        }
    }

    fn file(&self, number: u16) -> Option<FileRef<'_>> {
        let file = if number == 0 { &self.full } else { &self.zero };
        Some(FileRef { fd: file.as_fd(), alignment: Some(Alignment { memory: 8, offset: 8 }) })
    }

    fn map_read(&self, offset: u64, length: u64, extents: &mut Vec<Extent>) -> Result<(), IoError> {
        let third = length / 3;
        extents.push(Extent { place: Place::File { file: 1, offset }, len: third });
        extents.push(Extent { place: Place::Zero, len: third });
        extents.push(Extent { place: Place::File { file: 0, offset }, len: length - 2 * third });
        Ok(())
    }

    fn map_write(
        &self,
        offset: u64,
        length: u64,
        extents: &mut Vec<Extent>,
    ) -> Result<(), IoError> {
        extents.push(Extent { place: Place::File { file: 1, offset }, len: length / 2 });
        extents.push(Extent { place: Place::File { file: 0, offset }, len: length - length / 2 });
        Ok(())
    }

    fn written(&self, (): ()) -> Result<(), IoError> {
        Ok(())
    }

    fn flush_file(&self) -> Option<u16> {
        None
    }

    fn flush(&self) -> Result<(), IoError> {
        Ok(())
    }

    fn discard(&self, _: u64, _: u64) -> Result<(), IoError> {
        Err(IoError::Unsupported)
    }
}

#[test]
fn a_store_without_space_is_told_as_such_and_pieces_are_put_together() {
    let open = |path| std::fs::File::options().read(true).write(true).open(path).unwrap();
    let strange = || Strange { full: open("/dev/full"), zero: open("/dev/zero") };
    for disk in [FileDisk::new(strange()), FileDisk::with_threads(strange())] {
        let f = fixture(false);
        let mut queue = disk.open_queue(8, &f.memory, &f.wake).unwrap();
        f.ram.write_slice(&[0xEE; 0x4000], GuestAddress(0)).unwrap();
        let write = f.request(Operation::Write { fua: true }, 0, 4096, &[(3, 4096)]);
        assert!(matches!(f.run(&mut *queue, write), Err(IoError::NoSpace)));
        let read = f.request(Operation::Read, 0, 6144, &[(3, 5000), (0x2001, 1144)]);
        f.run(&mut *queue, read).unwrap();
        let mut bytes = [0; 5004];
        f.ram.read_slice(&mut bytes, GuestAddress(0)).unwrap();
        assert!(bytes[..3] == [0xEE; 3] && bytes[3..5003] == [0; 5000] && bytes[5003] == 0xEE);
        let discard = f.request(Operation::Discard, 0, 4096, &[]);
        assert!(matches!(f.run(&mut *queue, discard), Err(IoError::Unsupported)));
        let flush = f.request(Operation::Flush, 0, 0, &[]);
        assert!(f.run(&mut *queue, flush).is_ok());
    }
}
