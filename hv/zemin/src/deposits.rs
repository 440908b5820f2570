//! Memory that the parent gives to the hypervisor, page by page.
//!
//! A page that is given leaves the parent's second-level tables at once: what the hypervisor keeps on it, the parent can
//! neither see nor change. Some pages are then lent back (statistics pages); they stay marked as given. The mark, a bit
//! in the entry that the processor ignores, is what tells a page that was given already.
//!
//! ```text
//!   parent's ──take──> given, hidden ──lend──> given, accessible
//!      ^                  │    ^                    │
//!      └──────give_back───┘    └──────hide──────────┘
//! ```

use crate::exit::memory::PARENT_ACCESS;
use crate::mem::frames::PoolFrames;
use crate::mem::{PAGE, phys};
use crate::partition::Partition;
use hvdef::HvStatus;
use page_table::PageSize;

/// The page is the hypervisor's. Bits 11:9 of an entry are software's (AMD APM vol. 2, 5.4).
const GIVEN: u64 = 1 << 9;

/// Takes the page at `address` from the parent. It must be RAM that the parent has, and not given yet.
pub fn take(parent: &Partition, address: u64) -> Result<(), HvStatus> {
    let leaf = parent
        .slat()
        .and_then(|slat| slat.translate(&PoolFrames, address))
        .ok_or(HvStatus::INVALID_PARAMETER)?;
    if !address.is_multiple_of(PAGE) || leaf.flags & GIVEN != 0 || !phys::is_mapped(address, PAGE) {
        return Err(HvStatus::INVALID_PARAMETER);
    }
    set(parent, address, GIVEN)
}

/// Lets the parent use a page it has given.
pub fn lend(parent: &Partition, address: u64) -> Result<(), HvStatus> {
    set(parent, address, PARENT_ACCESS | GIVEN)
}

/// Ends [`lend`]. The parent's VPs may use old translations until they are flushed.
pub fn hide(parent: &Partition, address: u64) -> Result<(), HvStatus> {
    set(parent, address, GIVEN)
}

/// Returns a page to the parent.
pub fn give_back(parent: &Partition, address: u64) -> Result<(), HvStatus> {
    set(parent, address, PARENT_ACCESS)
}

/// Whether `len` bytes at `address` are the parent's to give to a child: mapped for it, and not the hypervisor's.
pub fn is_parents(parent: &Partition, address: u64, len: u64) -> bool {
    let Some(slat) = parent.slat() else { return false };
    let mut at = address;
    while at - address < len {
        let leaf = slat.translate(&PoolFrames, at);
        let Some(leaf) = leaf.filter(|leaf| leaf.flags & GIVEN == 0 && leaf.address == at) else {
            return false;
        };
        let size = leaf.size.bytes();
        let Some(next) = (at & !(size - 1)).checked_add(size) else { return false };
        at = next;
    }
    true
}

/// Needs a frame only where a large leaf is split, which [`take`] does first.
fn set(parent: &Partition, address: u64, flags: u64) -> Result<(), HvStatus> {
    let _serialized = parent.slat_lock.lock();
    let slat = parent.slat().ok_or(HvStatus::INVALID_PARTITION_STATE)?;
    let done = slat.map(&mut PoolFrames, address, address, PAGE, flags, PageSize::Small);
    done.map_err(|_| HvStatus::NO_RESOURCES)
}

/// Pages given and not in use: a list whose links lie on the pages themselves.
pub struct PagePool {
    /// Address of the first page, 0 for none.
    head: u64,
    /// Pages in the list.
    free: usize,
    /// Pages given and not returned, in use or not.
    owned: usize,
}

impl PagePool {
    /// Nothing given yet.
    pub const fn new() -> Self {
        Self { head: 0, free: 0, owned: 0 }
    }

    /// Pages given and not returned.
    pub fn owned(&self) -> usize {
        self.owned
    }

    /// Adds a page that [`take`] has just hidden.
    pub fn add(&mut self, address: u64) {
        self.owned += 1;
        self.put(address);
    }

    /// Puts an unused page into the list. It must be hidden from the parent.
    pub fn put(&mut self, address: u64) {
        phys::shared_words(address)[0].store(self.head, core::sync::atomic::Ordering::Relaxed);
        self.head = address;
        self.free += 1;
    }

    /// Takes a page out for use; its content is undefined.
    pub fn get(&mut self) -> Option<u64> {
        let address = self.head;
        if address == 0 {
            return None;
        }
        self.head = phys::shared_words(address)[0].load(core::sync::atomic::Ordering::Relaxed);
        self.free -= 1;
        Some(address)
    }

    /// Takes a page out to be returned to the parent.
    pub fn remove(&mut self) -> Option<u64> {
        let address = self.get()?;
        self.owned -= 1;
        Some(address)
    }
}
