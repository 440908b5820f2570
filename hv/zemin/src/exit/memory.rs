//! Accesses that the second-level tables do not allow.

use crate::log::{level_for, log};
use crate::lp::Lp;
use crate::mem::frames::{self, PoolFrames};
use crate::mem::{PAGE, space};
use crate::partition::Partition;
use crate::vp::{State, Vp};
use arch_x86::vcpu::{LpContext, NestedFault};
use lapic::APIC_BASE_ADDRESS;
use page_table::{PageSize, flags};

/// What the parent's mappings allow.
pub const PARENT_ACCESS: u64 =
    flags::PRESENT | flags::WRITE | flags::USER | flags::ACCESSED | flags::DIRTY;

/// Bits of a guest physical address that the tables translate.
pub const ADDRESS_BITS: u32 = 48;

/// Handles a nested page fault of the parent.
pub fn handle(
    lp: &'static Lp,
    vp: &'static Vp,
    state: &mut State,
    context: &LpContext,
    fault: NestedFault,
) {
    let page = fault.gpa & !(PAGE - 1);
    if page == APIC_BASE_ADDRESS && !fault.execute {
        return super::mmio::handle(lp, vp, state, context, fault);
    }
    if is_hypervisor(page) {
        tell(vp.partition, "the parent touched the hypervisor's memory", fault.gpa);
        return super::inject_protection(lp, vp, state);
    }
    if fault.present || !map_on_demand(vp, fault.gpa) {
        tell(vp.partition, "no mapping for the parent's access", fault.gpa);
        super::inject_protection(lp, vp, state);
    }
}

/// Logs an access, so that a guest that makes many does not keep the console busy.
pub fn tell(partition: &Partition, what: &str, gpa: u64) {
    let Some(left) = partition.complaints.take() else { return };
    let more = if left == 0 { "; further such accesses are not told" } else { "" };
    let id = partition.id.0;
    log!(level_for(partition), "partition {id}: {what} at {gpa:#x}{more}");
}

/// Whether a page belongs to the hypervisor.
fn is_hypervisor(page: u64) -> bool {
    let (image_start, image_end) = space::image_range();
    let (pool, pool_len) = frames::range();
    (image_start..image_end).contains(&page) || (pool..pool + pool_len).contains(&page)
}

/// Maps the GiB around an address above everything that the memory map named: device memory in the upper half of the
/// physical address space, which nobody can enumerate beforehand.
fn map_on_demand(vp: &Vp, gpa: u64) -> bool {
    if gpa >> ADDRESS_BITS != 0 {
        return false;
    }
    let start = gpa & !(PageSize::Huge.bytes() - 1);
    let largest = crate::boot::largest_parent_page();
    let _serialized = vp.partition.slat_lock.lock();
    let Some(slat) =
        vp.partition.slat().filter(|_| start >= crate::boot::FACTS.get().premapped_end)
    else {
        return false;
    };
    slat.map(&mut PoolFrames, start, start, PageSize::Huge.bytes(), PARENT_ACCESS, largest).is_ok()
}
