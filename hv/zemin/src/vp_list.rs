//! The VPs of a partition, by index.
#![expect(unsafe_code, reason = "finds VPs by the pages they begin")]

use crate::mem::{PAGE, phys};
use crate::vp::Vp;
use core::sync::atomic::{AtomicU32, Ordering};

/// Most VPs of a partition.
pub const MAX_VPS: usize = 256;

/// VPs, each at the beginning of a page of its own.
pub struct VpList {
    /// Page numbers; 0 for none.
    pages: [AtomicU32; MAX_VPS],
    /// One more than the largest index that was ever used.
    end: AtomicU32,
}

fn page_number(vp: &'static Vp) -> u32 {
    ((core::ptr::from_ref(vp) as u64 - phys::DIRECT) / PAGE) as u32
}

impl VpList {
    /// No VPs.
    pub const fn new() -> Self {
        Self { pages: [const { AtomicU32::new(0) }; MAX_VPS], end: AtomicU32::new(0) }
    }

    /// One more than the largest index that was ever used.
    pub fn end(&self) -> u32 {
        self.end.load(Ordering::Acquire)
    }

    /// VP `index`, if there is one.
    pub fn get(&self, index: u32) -> Option<&'static Vp> {
        let page = self.pages.get(index as usize)?.load(Ordering::Acquire);
        // SAFETY: `place` got the VP on that page as a static reference; it leaves the list before its page is given up.
        (page != 0).then(|| unsafe { &*phys::pointer(u64::from(page) * PAGE).cast() })
    }

    /// Puts a VP at `index`. `false` if there is one.
    pub fn place(&self, index: u32, vp: &'static Vp) -> bool {
        let Some(slot) = self.pages.get(index as usize) else { return false };
        let free =
            slot.compare_exchange(0, page_number(vp), Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if free {
            self.end.fetch_max(index + 1, Ordering::AcqRel);
        }
        free
    }

    /// Takes the VP at `index` out, if it is this one.
    pub fn remove(&self, index: u32, vp: &'static Vp) -> bool {
        let Some(slot) = self.pages.get(index as usize) else { return false };
        slot.compare_exchange(page_number(vp), 0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}
