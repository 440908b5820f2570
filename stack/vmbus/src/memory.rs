//! The guest's RAM as devices touch it: shared pages as atomics, data buffers as lists of host memory.
//!
//! All of the crate's `unsafe` is here. It rests on two facts. The RAM of a [`GuestMemory`] stays mapped as long as any
//! clone of it lives, and whatever hands out an address keeps a clone. And the guest may change any byte at any time: so
//! shared pages are only ever seen as atomics, and buffers are only copied from and to, volatile, never borrowed.
#![expect(
    unsafe_code,
    reason = "the addresses of guest pages are kept for longer than a borrow of the map can last"
)]

use libc::iovec;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};
use thiserror::Error;
use vm_memory::{
    GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap, VolatileSlice,
};

/// Bytes of a guest page.
pub const PAGE_SIZE: usize = hvdef::PAGE_SIZE;

/// A page with words of 64 bits, as data of rings is.
pub type Words = [AtomicU64; PAGE_SIZE / 8];
/// A page with words of 32 bits, as control pages are.
pub type HalfWords = [AtomicU32; PAGE_SIZE / 4];

/// A guest named memory that it does not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("no RAM at GPA {gpa:#x}")]
pub struct NotRam {
    /// Where.
    pub gpa: u64,
}

struct Region {
    gpa: u64,
    size: u64,
    host: NonNull<u8>,
    /// Number of its first page, and how many it has: none, if it does not begin with one.
    first: u64,
    pages: u64,
}

impl Region {
    fn new(gpa: u64, size: u64, host: NonNull<u8>) -> Self {
        const PAGE: u64 = PAGE_SIZE as u64;
        let pages = if gpa.is_multiple_of(PAGE) { size / PAGE } else { 0 };
        Self { gpa, size, host, first: gpa / PAGE, pages }
    }

    /// Where page `gpn` is, if all of it is in here.
    fn page(&self, gpn: u64) -> Option<*mut libc::c_void> {
        let index = gpn.wrapping_sub(self.first);
        let offset = (index as usize).wrapping_mul(PAGE_SIZE);
        (index < self.pages).then(|| self.host.as_ptr().wrapping_add(offset).cast())
    }

    /// Where `length` bytes at `gpa` are, if all of them are in here.
    fn host(&self, gpa: u64, length: usize) -> Option<NonNull<u8>> {
        let offset = gpa.checked_sub(self.gpa)?;
        let end = offset.checked_add(length as u64)?;
        // SAFETY: `offset` is at most `size`, and that many bytes are mapped from `host` on.
        (end <= self.size).then(|| unsafe { self.host.add(offset as usize) })
    }
}

struct Map {
    regions: Vec<Region>,
    /// See [`GuestMemory::is_resident`].
    is_resident: bool,
    /// Keeps the regions mapped.
    _memory: GuestMemoryMmap,
}

// SAFETY: the addresses are of memory that any thread may access; nothing here is tied to a thread.
unsafe impl Send for Map {}
// SAFETY: as above; the table itself never changes.
unsafe impl Sync for Map {}

/// The RAM of a guest. Clones are cheap and mean the same RAM.
#[derive(Clone)]
pub struct GuestMemory(Arc<Map>);

impl GuestMemory {
    /// Of all regions in `memory`.
    pub fn new(memory: &GuestMemoryMmap) -> Self {
        let region = |region: &GuestRegionMmap| {
            let host = NonNull::new(region.as_ptr())?;
            Some(Region::new(region.start_addr().0, region.len(), host))
        };
        let regions = memory.iter().filter_map(region).collect();
        let is_resident = memory.iter().all(|region| region.is_hugetlbfs() == Some(true));
        Self(Arc::new(Map { regions, is_resident, _memory: memory.clone() }))
    }

    /// Whether all of it is the guest's for good, from the pool of huge pages: there is nothing that the system could move
    /// or take back.
    pub fn is_resident(&self) -> bool {
        self.0.is_resident
    }

    /// Where its regions are, for system calls.
    pub fn regions(&self) -> impl Iterator<Item = iovec> {
        let run = |region: &Region| iovec {
            iov_base: region.host.as_ptr().cast(),
            iov_len: region.size as usize,
        };
        self.0.regions.iter().map(run)
    }

    /// The host's address of `length` bytes at `gpa`, if they are RAM of one region.
    fn host(&self, gpa: u64, length: usize) -> Result<NonNull<u8>, NotRam> {
        self.0.regions.iter().find_map(|region| region.host(gpa, length)).ok_or(NotRam { gpa })
    }

    /// Whether page `gpn` is RAM.
    pub fn is_page(&self, gpn: u64) -> bool {
        gpn.checked_mul(PAGE_SIZE as u64).is_some_and(|gpa| self.host(gpa, PAGE_SIZE).is_ok())
    }

    /// Pages to be shared with the guest.
    pub fn pages(&self, gpns: &[u64]) -> Result<GuestPages, NotRam> {
        let page = |&gpn: &u64| {
            let gpa = gpn.checked_mul(PAGE_SIZE as u64).ok_or(NotRam { gpa: u64::MAX })?;
            let host = self.host(gpa, PAGE_SIZE)?;
            // Atomics need it; the mappings of guests' memory are whole pages.
            if host.addr().get().is_multiple_of(8) { Ok(host) } else { Err(NotRam { gpa }) }
        };
        let pages = gpns.iter().map(page).collect::<Result<_, _>>()?;
        Ok(GuestPages { pages, _memory: self.clone() })
    }
}

/// Pages that the guest shares, in its order.
pub struct GuestPages {
    /// Each is the start of a mapped page and aligned to 8 bytes.
    pages: Box<[NonNull<u8>]>,
    /// Keeps them mapped.
    _memory: GuestMemory,
}

// SAFETY: the addresses are of memory that any thread may access, and are only ever used for atomics.
unsafe impl Send for GuestPages {}
// SAFETY: as above.
unsafe impl Sync for GuestPages {}

impl GuestPages {
    /// How many.
    pub fn count(&self) -> usize {
        self.pages.len()
    }

    /// Page `index`, by 8 bytes.
    pub fn words(&self, index: usize) -> Option<&Words> {
        // SAFETY: `pages` holds mapped pages, aligned for the type; they stay mapped as long as `self`. Atomics may be
        // changed by anybody.
        self.pages.get(index).map(|page| unsafe { page.cast::<Words>().as_ref() })
    }

    /// Page `index`, by 4 bytes.
    pub fn half_words(&self, index: usize) -> Option<&HalfWords> {
        // SAFETY: as in `words`.
        self.pages.get(index).map(|page| unsafe { page.cast::<HalfWords>().as_ref() })
    }
}

/// A buffer in guest memory: runs of bytes, in order.
///
/// It is made for reuse: [`Self::clear`] keeps the space, so that filling it again costs no allocation.
pub struct Scatter {
    /// Each is mapped RAM of `memory`.
    runs: Vec<iovec>,
    length: usize,
    memory: GuestMemory,
}

// SAFETY: the addresses are of memory that any thread may access.
unsafe impl Send for Scatter {}
// SAFETY: shared, it only copies from and to memory that the guest changes at any time anyway.
unsafe impl Sync for Scatter {}

impl Scatter {
    /// An empty buffer in `memory`, with space for `capacity` runs.
    pub fn new(memory: &GuestMemory, capacity: usize) -> Self {
        Self { runs: Vec::with_capacity(capacity), length: 0, memory: memory.clone() }
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.runs.clear();
        self.length = 0;
    }

    /// Adds `length` bytes from `gpa` on. What continues the last run makes that longer.
    pub fn push(&mut self, gpa: u64, length: usize) -> Result<(), NotRam> {
        let host = self.memory.host(gpa, length)?;
        let total = self.length.checked_add(length).ok_or(NotRam { gpa })?;
        self.push_run(host.as_ptr(), length);
        self.length = total;
        Ok(())
    }

    /// Adds `length` bytes from byte `offset` on of page `gpn`, which is enough for that.
    ///
    /// # Errors
    ///
    /// The page, if it is no RAM.
    pub fn push_page(&mut self, gpn: u64, offset: usize, length: usize) -> Result<(), u64> {
        let gpa = gpn.checked_mul(PAGE_SIZE as u64).ok_or(gpn)? + offset as u64;
        self.push(gpa, length).map_err(|_| gpn)
    }

    /// Adds `length` bytes from byte `offset` on of pages `gpns`, little-endian numbers that are enough for that; `offset` is
    /// in the first of them.
    ///
    /// # Errors
    ///
    /// The number of the first page that is no RAM. The buffer is empty then.
    pub fn push_pages(
        &mut self,
        gpns: &[[u8; 8]],
        offset: usize,
        length: usize,
    ) -> Result<(), u64> {
        let pushed = self.try_push_pages(gpns, offset, length);
        pushed.inspect_err(|_| self.clear())
    }

    fn try_push_pages(
        &mut self,
        gpns: &[[u8; 8]],
        offset: usize,
        length: usize,
    ) -> Result<(), u64> {
        let Some((first, rest)) = gpns.split_first() else { return Ok(()) };
        let piece = length.min(PAGE_SIZE.saturating_sub(offset));
        self.push_page(u64::from_le_bytes(*first), offset, piece)?;
        if rest.is_empty() {
            return Ok(());
        }
        let left = length - piece;
        let (whole, last) = rest.split_at_checked(left / PAGE_SIZE).unwrap_or((rest, &[]));
        if !whole.is_empty() {
            self.push_whole_pages(whole)?;
        }
        match (last.first(), left % PAGE_SIZE) {
            (Some(last), piece @ 1..) => self.push_page(u64::from_le_bytes(*last), 0, piece),
            _ => Ok(()),
        }
    }

    // On its own, the loop has all registers.
    #[inline(never)]
    fn push_whole_pages(&mut self, gpns: &[[u8; 8]]) -> Result<(), u64> {
        let Self { runs, length, memory } = self;
        let regions = &*memory.0.regions;
        // Nearly always all pages are in one region, and no two of them in one run.
        let mut region = regions.first().ok_or(0u64)?;
        let last = runs.pop().ok_or(0u64)?;
        let (mut start, mut bytes) = (last.iov_base, last.iov_len);
        for gpn in gpns {
            let gpn = u64::from_le_bytes(*gpn);
            let page = match region.page(gpn) {
                Some(page) => page,
                None => {
                    region = regions.iter().find(|other| other.page(gpn).is_some()).ok_or(gpn)?;
                    region.page(gpn).ok_or(gpn)?
                }
            };
            if start.addr() + bytes == page.addr() {
                bytes += PAGE_SIZE;
            } else {
                runs.push(iovec { iov_base: start, iov_len: bytes });
                (start, bytes) = (page, PAGE_SIZE);
            }
        }
        runs.push(iovec { iov_base: start, iov_len: bytes });
        *length += gpns.len() * PAGE_SIZE;
        Ok(())
    }

    fn push_run(&mut self, start: *mut u8, length: usize) {
        match self.runs.last_mut() {
            Some(last) if last.iov_base.addr() + last.iov_len == start.addr() => {
                last.iov_len += length;
            }
            _ => self.runs.push(iovec { iov_base: start.cast(), iov_len: length }),
        }
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Drops whatever is behind the first `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        while let Some(last) = self.runs.last_mut().filter(|_| self.length > length) {
            let excess = self.length - length;
            if excess < last.iov_len {
                last.iov_len -= excess;
                self.length = length;
            } else {
                self.length -= last.iov_len;
                self.runs.pop();
            }
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// For system calls. The memory is there as long as `self` or any clone of its [`GuestMemory`].
    pub fn iovecs(&self) -> &[iovec] {
        &self.runs
    }

    /// The bytes from `offset` on, `length` of them or as many as there are.
    pub fn part(&self, offset: usize, length: usize) -> Scatter {
        let mut part = Scatter::new(&self.memory, 0);
        self.visit(offset, length, |start, bytes, _| {
            part.push_run(start, bytes);
            part.length += bytes;
        });
        part
    }

    /// Copies into `bytes` from `offset` on; how many there were.
    pub fn read_at(&self, offset: usize, bytes: &mut [u8]) -> usize {
        self.visit(offset, bytes.len(), |start, length, done| {
            if let Some(to) = bytes.get_mut(done..done + length) {
                // SAFETY: a run is mapped RAM, and `memory` keeps it so.
                unsafe { VolatileSlice::new(start, length) }.copy_to(to);
            }
        })
    }

    /// Copies `bytes` to `offset` and on; for how many there was room.
    pub fn write_at(&self, offset: usize, bytes: &[u8]) -> usize {
        self.visit(offset, bytes.len(), |start, length, done| {
            if let Some(from) = bytes.get(done..done + length) {
                // SAFETY: as in `read_at`.
                unsafe { VolatileSlice::new(start, length) }.copy_from(from);
            }
        })
    }

    /// Zeros `length` bytes from `offset` on, or as many as there are; how many.
    pub fn zero_at(&self, offset: usize, length: usize) -> usize {
        const ZEROS: [u8; PAGE_SIZE] = [0; PAGE_SIZE];
        let mut done = 0;
        while done < length {
            let wanted = (length - done).min(PAGE_SIZE);
            let written =
                self.write_at(offset.saturating_add(done), ZEROS.get(..wanted).unwrap_or(&ZEROS));
            done += written;
            if written < wanted {
                break;
            }
        }
        done
    }

    /// Calls `run(start, length, bytes before it)` for each piece of the range; the bytes of all of them.
    fn visit(
        &self,
        offset: usize,
        length: usize,
        mut run: impl FnMut(*mut u8, usize, usize),
    ) -> usize {
        let (mut skip, mut done) = (offset, 0);
        for iovec { iov_base, iov_len } in &self.runs {
            if done == length {
                break;
            }
            if skip >= *iov_len {
                skip -= iov_len;
                continue;
            }
            let piece = (iov_len - skip).min(length - done);
            run(iov_base.cast::<u8>().wrapping_add(skip), piece, done);
            (skip, done) = (0, done + piece);
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::Ordering;
    use vm_memory::{Bytes, GuestAddress};

    fn memory() -> (GuestMemoryMmap, GuestMemory) {
        let ranges = [(GuestAddress(0), 0x4000), (GuestAddress(0x10000), 0x2000)];
        let map = GuestMemoryMmap::from_ranges(&ranges).unwrap();
        let memory = GuestMemory::new(&map);
        (map, memory)
    }

    #[test]
    fn pages_outside_ram_are_refused() {
        let (_map, memory) = memory();
        assert!(memory.is_page(0) && memory.is_page(3) && memory.is_page(0x11));
        for gpn in [4, 0xF, 0x12, u64::MAX, u64::MAX >> 12, 1 << 52] {
            assert!(!memory.is_page(gpn), "{gpn:#x}");
            assert!(memory.pages(&[0, gpn]).is_err());
        }
    }

    #[test]
    fn pages_come_in_the_guests_order_and_may_repeat() {
        let (map, memory) = memory();
        let pages = memory.pages(&[0x10, 1, 0x10]).unwrap();
        pages.words(0).unwrap()[1].store(7, Ordering::Relaxed);
        assert_eq!(pages.words(2).unwrap()[1].load(Ordering::Relaxed), 7);
        assert_eq!(map.read_obj::<u64>(GuestAddress(0x10008)).unwrap(), 7);
        assert_eq!(pages.half_words(0).unwrap()[2].load(Ordering::Relaxed), 7);
        assert!(pages.words(3).is_none());
    }

    #[test]
    fn memory_outlives_its_map() {
        let (map, memory) = memory();
        drop(map);
        let pages = memory.pages(&[1]).unwrap();
        drop(memory);
        assert_eq!(pages.words(0).unwrap()[0].load(Ordering::Relaxed), 0);
    }

    #[test]
    fn neighbouring_pages_become_one_run() {
        let (_map, memory) = memory();
        let mut scatter = Scatter::new(&memory, 4);
        scatter.push(0x1800, 0x800).unwrap();
        scatter.push(0x2000, 0x1000).unwrap();
        scatter.push(0x1000, 0x10).unwrap();
        assert_eq!((scatter.iovecs().len(), scatter.len()), (2, 0x1810));
        assert!(scatter.push(0x3FFF, 2).is_err(), "beyond the region");
        assert!(scatter.push(u64::MAX, 2).is_err());
        scatter.clear();
        assert!(scatter.is_empty() && scatter.iovecs().is_empty());
    }

    fn numbers(gpns: &[u64]) -> Vec<[u8; 8]> {
        gpns.iter().map(|gpn| gpn.to_le_bytes()).collect()
    }

    #[test]
    fn pages_that_are_not_ram_leave_nothing() {
        let (_map, memory) = memory();
        let mut scatter = Scatter::new(&memory, 4);
        scatter.push_pages(&numbers(&[0, 1]), 0x10, 0x1000).unwrap();
        assert_eq!((scatter.iovecs().len(), scatter.len()), (1, 0x1000));
        for gpn in [4, u64::MAX, 1 << 52] {
            scatter.push_pages(&numbers(&[0]), 0, 0x1000).unwrap();
            for length in [0x2000, 0x1800] {
                scatter.push_pages(&numbers(&[0]), 0, 0x1000).unwrap();
                assert_eq!(scatter.push_pages(&numbers(&[1, gpn]), 0, length), Err(gpn));
                assert!(scatter.is_empty() && scatter.iovecs().is_empty());
            }
            assert!(scatter.is_empty() && scatter.iovecs().is_empty());
        }
        scatter.push_pages(&[], 0, 0).unwrap();
        assert!(scatter.iovecs().is_empty());
    }

    proptest! {
        #[test]
        fn pages_are_the_runs_that_they_are_one_by_one(
            gpns in prop::collection::vec(prop::sample::select(vec![0u64, 1, 2, 3, 0x10, 0x11]), 1..9),
            offset in 0..PAGE_SIZE, short in 0..PAGE_SIZE,
        ) {
            let (_map, memory) = memory();
            let (mut together, mut single) = (Scatter::new(&memory, 1), Scatter::new(&memory, 1));
            let length = (gpns.len() * PAGE_SIZE - offset).saturating_sub(short).max(1);
            let (mut at, mut left) = (offset, length);
            for gpn in &gpns {
                let piece = left.min(PAGE_SIZE - at);
                if piece > 0 {
                    single.push(gpn * PAGE_SIZE as u64 + at as u64, piece).unwrap();
                }
                (at, left) = (0, left - piece);
            }
            together.push_pages(&numbers(&gpns), offset, length).unwrap();
            let runs = |scatter: &Scatter| {
                scatter.iovecs().iter().map(|run| (run.iov_base.addr(), run.iov_len)).collect::<Vec<_>>()
            };
            prop_assert_eq!(runs(&together), runs(&single));
            prop_assert_eq!(together.len(), length);
        }

        #[test]
        fn a_part_reads_as_the_whole_does(
            pages in prop::collection::vec(0u64..4, 1..6), offset in 0usize..9000, length in 0usize..9000,
        ) {
            let (map, memory) = memory();
            let pattern: Vec<u8> = (0..0x4000u32).map(|i| (i * 7 + i / 256) as u8).collect();
            map.write_slice(&pattern, GuestAddress(0)).unwrap();
            let mut scatter = Scatter::new(&memory, 8);
            for page in &pages {
                scatter.push(page * 4096 + 16, 2000).unwrap();
            }
            let mut all = vec![0; scatter.len()];
            prop_assert_eq!(scatter.read_at(0, &mut all), pages.len() * 2000);
            let part = scatter.part(offset, length);
            let expected = &all[offset.min(all.len())..offset.saturating_add(length).min(all.len())];
            let mut read = vec![0; length];
            prop_assert_eq!(part.read_at(0, &mut read), expected.len());
            prop_assert_eq!(&read[..expected.len()], expected);
            prop_assert_eq!(scatter.read_at(offset, &mut read), expected.len());
            prop_assert_eq!(part.len(), expected.len());
            scatter.truncate(length);
            prop_assert_eq!(scatter.len(), length.min(all.len()));
            prop_assert_eq!(scatter.read_at(0, &mut all), length.min(pages.len() * 2000));
            prop_assert_eq!(scatter.iovecs().iter().map(|run| run.iov_len).sum::<usize>(), scatter.len());
        }
    }

    #[test]
    fn what_is_written_is_read_and_zeroed() {
        let (_map, memory) = memory();
        let mut scatter = Scatter::new(&memory, 2);
        scatter.push(0xFF0, 0x20).unwrap();
        scatter.push(0x10000, 0x20).unwrap();
        assert_eq!(scatter.write_at(0x1F, &[1, 2, 3]), 3);
        assert_eq!(scatter.write_at(0x3E, &[4, 5, 6]), 2, "as far as there is room");
        let mut read = [0; 3];
        assert_eq!((scatter.read_at(0x1F, &mut read), read), (3, [1, 2, 3]));
        assert_eq!(scatter.zero_at(0x20, 5), 5);
        assert_eq!((scatter.read_at(0x1F, &mut read), read), (3, [1, 0, 0]));
        assert_eq!(scatter.zero_at(0, 10_000), 0x40);
    }
}
