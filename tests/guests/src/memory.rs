//! The memory map, and pages for tests.

use crate::sync::Place;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// What a region is (e820 types).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kind(pub u32);

impl Kind {
    /// Usable.
    pub const RAM: Self = Self(1);
    /// Somebody else's.
    pub const RESERVED: Self = Self(2);
}

/// A part of the physical address space.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    /// First byte.
    pub start: u64,
    /// First byte after.
    pub end: u64,
    /// What it is.
    pub kind: Kind,
}

impl Region {
    /// `length` bytes from `start`.
    pub fn new(start: u64, length: u64, kind: Kind) -> Self {
        Self { start, end: start.saturating_add(length), kind }
    }

    /// Whether the page at `address` is in here.
    pub fn contains(&self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }
}

const MAX: usize = 64;
static MAP: Place<[Region; MAX]> = Place::new([Region { start: 0, end: 0, kind: Kind(0) }; MAX]);
static COUNT: AtomicUsize = AtomicUsize::new(0);
static NEXT: AtomicU64 = AtomicU64::new(0);
static END: AtomicU64 = AtomicU64::new(0);

#[expect(unsafe_code, reason = "the map is written at the beginning only")]
mod raw {
    use super::*;

    unsafe extern "C" {
        static image_start: u8;
        static image_end: u8;
        static constant_end: u8;
    }

    /// Adds a region, in the loader's order.
    pub fn add(region: Region) {
        let index = COUNT.load(Ordering::Relaxed);
        if index < MAX {
            // SAFETY: inside the array; one processor runs.
            unsafe { MAP.get().cast::<Region>().add(index).write(region) };
            COUNT.store(index + 1, Ordering::Relaxed);
        }
    }

    /// The memory map.
    pub fn map() -> &'static [Region] {
        // SAFETY: that many were written, and none is afterwards.
        unsafe { core::slice::from_raw_parts(MAP.get().cast(), COUNT.load(Ordering::Relaxed)) }
    }

    /// Where this kernel lies.
    pub fn image() -> (u64, u64) {
        ((&raw const image_start) as u64, (&raw const image_end) as u64)
    }

    /// The part of it that nothing ever changes.
    pub fn constant() -> (u64, u64) {
        ((&raw const image_start) as u64, (&raw const constant_end) as u64)
    }

    /// Fills memory of the kernel's own.
    pub fn fill(address: u64, len: u64, byte: u8) {
        // SAFETY: pages that `pages` handed out, by its contract.
        unsafe { core::ptr::write_bytes(address as *mut u8, byte, len as usize) };
    }

    /// Copies bytes to memory of the kernel's own.
    pub fn put(address: u64, bytes: &[u8]) {
        // SAFETY: as above.
        unsafe { core::ptr::copy(bytes.as_ptr(), address as *mut u8, bytes.len()) };
    }
}
pub use raw::{add, constant, fill, image, map, put};

/// Finds the memory that [`pages`] hands out: the largest piece of RAM below 4 GiB outside this kernel.
pub fn init() {
    let (image_start, image_end) = image();
    let mut best = (0, 0);
    for region in map().iter().filter(|region| region.kind == Kind::RAM && region.start >= 1 << 20)
    {
        let end = region.end.min(1 << 32);
        for (start, end) in
            [(region.start, end.min(image_start)), (region.start.max(image_end), end)]
        {
            if end.saturating_sub(start) > best.1 - best.0 {
                best = (start, end);
            }
        }
    }
    // Loaders put their data into RAM as well: leave a MiB at either end.
    NEXT.store((best.0 + (1 << 20)).next_multiple_of(2 << 20), Ordering::Relaxed);
    END.store(best.1.saturating_sub(1 << 20), Ordering::Relaxed);
}

/// Hands out `count` zeroed pages in a row, for ever.
pub fn pages(count: u64) -> u64 {
    let start = NEXT.fetch_add(count * PAGE, Ordering::Relaxed);
    assert!(start + count * PAGE <= END.load(Ordering::Relaxed), "out of memory");
    fill(start, count * PAGE, 0);
    start
}

/// The value of an overlay page's register, with a page of ours if it names none: a parent finds its pages placed, a
/// child places them.
pub fn overlay(value: u64) -> u64 {
    if value & !(PAGE - 1) == 0 { pages(1) | value } else { value }
}

/// What the memory map says of an address.
pub fn kind_of(address: u64) -> Option<Kind> {
    map().iter().find(|region| region.contains(address)).map(|region| region.kind)
}
