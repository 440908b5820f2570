//! Memory that the parent gives to the hypervisor, page by page.
//!
//! A page that is given leaves the parent's second-level tables at once: what the hypervisor keeps on it, the parent can
//! neither see nor change. Some pages are then lent back (statistics pages); they stay marked as given. The mark, a bit
//! in the entry that the processor ignores, is what tells a page that was given already.
//!
//! The parent's tables have large leaves, and a page that leaves splits one. When all of its pages are back, the leaf
//! becomes whole again ([`Returns`]), so that the hypervisor's memory is then what it was.
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
use page_table::{Frames, PageSize};

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

/// Most pages that [`Returns`] gives back.
pub const RETURNED: usize = 32;

/// Pages on their way back to the parent, and the tables that are needed no more when they are there.
///
/// Until every LP has flushed, a processor may be in the middle of a walk through such a table, and another LP's
/// hypercall too: so they keep their entries, and wait here.
pub struct Returns {
    /// Large leaves in which pages came back.
    leaves: [u64; RETURNED],
    leaf_count: usize,
    /// A page can make a leaf of 2 MiB whole, and with it one of 1 GiB.
    tables: [u64; 2 * RETURNED],
    table_count: usize,
}

impl Returns {
    /// None yet.
    pub const fn new() -> Self {
        Self { leaves: [0; RETURNED], leaf_count: 0, tables: [0; 2 * RETURNED], table_count: 0 }
    }

    /// Returns a page to the parent.
    pub fn give_back(&mut self, parent: &Partition, address: u64) -> Result<(), HvStatus> {
        set(parent, address, PARENT_ACCESS)?;
        let leaf = address & !(PageSize::Large.bytes() - 1);
        let known = self.leaves.get(..self.leaf_count).is_some_and(|known| known.contains(&leaf));
        if let Some(slot) = self.leaves.get_mut(self.leaf_count).filter(|_| !known) {
            *slot = leaf;
            self.leaf_count += 1;
        }
        Ok(())
    }

    /// Makes whole what is complete. Whether all VPs of the parent must flush before [`Self::end`].
    pub fn fold(&mut self, parent: &Partition) -> bool {
        let _serialized = parent.slat_lock.lock();
        let (leaves, count) = (self.leaves, core::mem::take(&mut self.leaf_count));
        if let Some(slat) = parent.slat() {
            let largest = crate::boot::largest_parent_page();
            leaves.iter().take(count).for_each(|&leaf| slat.fold(self, leaf, largest));
        }
        self.table_count != 0
    }

    /// Everybody has flushed: the tables can be used for something else.
    pub fn end(self) {
        self.tables.iter().take(self.table_count).for_each(|&table| PoolFrames.free(table));
    }
}

/// The parent's tables, of which those given up wait.
impl Frames for Returns {
    fn alloc(&mut self) -> Option<u64> {
        PoolFrames.alloc()
    }

    fn free(&mut self, table: u64) {
        // There is room for all: one that had none would be lost, which is better than used too early.
        if let Some(slot) = self.tables.get_mut(self.table_count) {
            *slot = table;
            self.table_count += 1;
        }
    }

    fn read(&self, table: u64, index: usize) -> u64 {
        PoolFrames.read(table, index)
    }

    fn write(&mut self, table: u64, index: usize, entry: u64) {
        PoolFrames.write(table, index, entry);
    }

    fn update(&mut self, table: u64, index: usize, clear: u64, set: u64) -> u64 {
        PoolFrames.update(table, index, clear, set)
    }
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
