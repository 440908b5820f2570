//! Access to physical memory through the direct map.
#![expect(unsafe_code, reason = "turns physical addresses into pointers")]

use super::PAGE;
use crate::sync::Once;
use core::sync::atomic::{AtomicU64, Ordering};

/// Where physical address 0 appears.
pub const DIRECT: u64 = 0xFFFF_8000_0000_0000;

/// Ranges that the direct map holds, ascending, `[start, end)`.
#[derive(Clone, Copy)]
pub struct Ranges {
    ranges: [(u64, u64); Self::MAX],
    count: usize,
}

impl Ranges {
    /// Most ranges kept; further ones are left out of the direct map.
    pub const MAX: usize = 64;

    /// No range.
    pub const fn new() -> Self {
        Self { ranges: [(0, 0); Self::MAX], count: 0 }
    }

    /// Adds a range above all earlier ones, merging it with the last if they touch.
    pub fn push(&mut self, start: u64, end: u64) {
        if let Some(last) = self.count.checked_sub(1).and_then(|last| self.ranges.get_mut(last))
            && start <= last.1
        {
            last.1 = last.1.max(end);
        } else if let Some(slot) = self.ranges.get_mut(self.count) {
            *slot = (start, end);
            self.count += 1;
        }
    }

    /// The ranges.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.ranges.iter().take(self.count).copied()
    }

    /// Whether `[start, start + len)` lies inside one range.
    fn contain(&self, start: u64, len: u64) -> bool {
        let Some(end) = start.checked_add(len) else { return false };
        self.iter().any(|(from, to)| from <= start && end <= to)
    }
}

/// What the final direct map holds; until it is set, the boot tables map the first 4 GiB.
static MAPPED: Once<Ranges> = Once::new();

/// Pointer to physical address `address`. Only addresses that the direct map holds may be dereferenced.
pub fn pointer(address: u64) -> *mut u8 {
    DIRECT.wrapping_add(address) as *mut u8
}

/// A range that is asked before the list is.
struct Large {
    start: AtomicU64,
    len: AtomicU64,
}

impl Large {
    const fn none() -> Self {
        Self { start: AtomicU64::new(0), len: AtomicU64::new(0) }
    }

    fn set(&self, (start, end): (u64, u64)) {
        self.start.store(start, Ordering::Relaxed);
        self.len.store(end - start, Ordering::Relaxed);
    }

    #[inline(always)]
    fn contains(&self, address: u64, len: u64) -> bool {
        let at = address.wrapping_sub(self.start.load(Ordering::Relaxed));
        let own = self.len.load(Ordering::Relaxed);
        at < own && len <= own - at
    }
}

/// The largest range below 4 GiB and the largest above: nearly all memory is in these.
static LOW: Large = Large::none();
static HIGH: Large = Large::none();

/// Says what the direct map holds.
pub fn set_mapped(ranges: Ranges) {
    let largest = |is_high: bool| {
        let mine = ranges.iter().filter(|&(start, _)| (start >= 4 << 30) == is_high);
        mine.max_by_key(|&(start, end)| end - start).unwrap_or_default()
    };
    LOW.set(largest(false));
    HIGH.set(largest(true));
    MAPPED.set(ranges);
}

/// Whether the direct map holds `[address, address + len)`.
#[inline]
pub fn is_mapped(address: u64, len: u64) -> bool {
    LOW.contains(address, len) || HIGH.contains(address, len) || is_mapped_at_all(address, len)
}

/// The same, elsewhere.
#[cold]
fn is_mapped_at_all(address: u64, len: u64) -> bool {
    match MAPPED.try_get() {
        Some(ranges) => ranges.contain(address, len),
        None => address.checked_add(len).is_some_and(|end| end <= 4 << 30),
    }
}

/// Copies from physical memory that others may write at the same time. `false`, and nothing copied, if it is not mapped.
#[inline(never)]
pub fn read(address: u64, buffer: &mut [u8]) -> bool {
    let mapped = is_mapped(address, buffer.len() as u64);
    if mapped {
        // SAFETY: the range is mapped, and the source cannot overlap a hypervisor object (the image is not in the direct
        // map, and pool frames are never named by a guest).
        unsafe { copy(pointer(address), buffer.as_mut_ptr(), buffer.len()) };
    }
    mapped
}

/// The eight bytes at `address`, a multiple of 8, which others may write at the same time. `None` if they are not mapped.
#[inline(never)]
pub fn read_word(address: u64) -> Option<u64> {
    let words = pointer(address).cast::<AtomicU64>();
    let is_there = address.is_multiple_of(8) && is_mapped(address, 8);
    // SAFETY: aligned and mapped for ever; atomics allow any number of writers.
    is_there.then(|| unsafe { &*words }.load(Ordering::Relaxed))
}

/// A page that the direct map holds: for reads that cost no look at what is mapped.
#[derive(Clone, Copy)]
pub struct Page(&'static [AtomicU64; PAGE as usize / 8]);

impl Page {
    /// The page at `address`, a multiple of its size.
    #[inline(never)]
    pub fn at(address: u64) -> Option<Self> {
        let is_there = address.is_multiple_of(PAGE) && is_mapped(address, PAGE);
        // SAFETY: aligned and mapped for ever; atomics allow any number of writers.
        is_there.then(|| Self(unsafe { &*pointer(address).cast() }))
    }

    /// Word `index`, modulo how many there are.
    #[inline]
    pub fn word(self, index: usize) -> u64 {
        self.0[index % self.0.len()].load(Ordering::Relaxed)
    }
}

/// Copies to physical memory that others may use at the same time. `false`, and nothing copied, if it is not mapped.
///
/// The caller vouches that the memory is the guest's, not the hypervisor's.
#[inline(never)]
pub fn write(address: u64, data: &[u8]) -> bool {
    let mapped = is_mapped(address, data.len() as u64);
    if mapped {
        // SAFETY: as `read`.
        unsafe { copy(data.as_ptr(), pointer(address), data.len()) };
    }
    mapped
}

/// Copies inside physical memory, `from` and `to` may overlap. `false` if either is not mapped.
pub fn relocate(from: u64, to: u64, len: u64) -> bool {
    let mapped = is_mapped(from, len) && is_mapped(to, len);
    if mapped {
        // SAFETY: both ranges are mapped; `core::ptr::copy` allows overlap. Only boot uses this, before guests run.
        unsafe { core::ptr::copy(pointer(from), pointer(to), len as usize) };
    }
    mapped
}

/// Zeroes physical memory. `false` if it is not mapped.
#[inline(never)]
pub fn zero(address: u64, len: u64) -> bool {
    let mapped = is_mapped(address, len);
    if mapped {
        // SAFETY: the range is mapped.
        unsafe { core::ptr::write_bytes(pointer(address), 0, len as usize) };
    }
    mapped
}

/// A page of the pool as atomic words, for pages that guests and hypervisor both write.
///
/// # Panics
/// If `address` is not a mapped page: it names a frame of the pool, so that would be a fault of ours.
#[inline(never)]
pub fn shared_words(address: u64) -> &'static [AtomicU64; 512] {
    assert!(
        address.is_multiple_of(PAGE) && is_mapped(address, PAGE),
        "not a page of the direct map"
    );
    // SAFETY: aligned and mapped for ever; atomics allow any number of writers.
    unsafe { &*pointer(address).cast() }
}

/// Copies word by word where both sides are aligned: each word is read exactly once.
///
/// # Safety
/// Both ranges are mapped and do not overlap.
unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    let mut done = 0;
    if (from as usize | to as usize).is_multiple_of(8) {
        while done + 8 <= len {
            // SAFETY: aligned, and inside the ranges.
            unsafe {
                to.add(done)
                    .cast::<u64>()
                    .write_volatile(from.add(done).cast::<u64>().read_volatile())
            };
            done += 8;
        }
    }
    while done < len {
        // SAFETY: inside the ranges.
        unsafe { to.add(done).write_volatile(from.add(done).read_volatile()) };
        done += 1;
    }
}
