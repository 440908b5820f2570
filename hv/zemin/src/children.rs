//! The child partitions: which there are, and finding one by its id.
#![expect(unsafe_code, reason = "partitions live on deposited pages")]

use crate::child_frames::ChildFrames;
use crate::deposits;
use crate::hypercalls::Call;
use crate::mem::phys;
use crate::partition::{Partition, ROOT, ROOT_ID, Stage};
use crate::sync::SpinLock;
use crate::vp::State;
use core::ops::Deref;
use core::sync::atomic::Ordering;
use guest_map::{AMD_NESTED, GuestMap};
use hvdef::cpuid::PartitionPrivileges;
use hvdef::hypercall::partition::CreationFlags;
use hvdef::property::SyntheticProcessorFeatures;
use hvdef::{HvStatus, PartitionId};

/// Most children at a time.
pub const MAX: usize = 255;

struct Slot {
    /// Address of the page the partition lies on; 0 for a free slot.
    page: u64,
    /// How often the slot was used: part of the id, so that an id is never used again.
    generation: u64,
}

static SLOTS: SpinLock<[Slot; MAX]> =
    SpinLock::new([const { Slot { page: 0, generation: 0 } }; MAX]);

/// A partition in use: it is not deleted as long as this exists.
pub struct InUse(&'static Partition);

impl Deref for InUse {
    type Target = Partition;
    fn deref(&self) -> &Partition {
        self.0
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.users.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Bits of an id that name the slot; the generation is above. The parent has id 1, which is slot 1 of generation 0.
const SLOT_BITS: u32 = 8;

/// The partition with this id, as the parent names it: the parent itself too.
pub fn find(id: PartitionId) -> Result<InUse, HvStatus> {
    if id == PartitionId::SELF || id == ROOT_ID {
        let root = ROOT.get();
        root.users.fetch_add(1, Ordering::AcqRel);
        return Ok(InUse(root));
    }
    let mut slots = SLOTS.lock();
    let partition = at(slot_of(&mut slots, id)?.page);
    partition.users.fetch_add(1, Ordering::AcqRel);
    Ok(InUse(partition))
}

/// The slot in use by the child with this id.
fn slot_of(slots: &mut [Slot; MAX], id: PartitionId) -> Result<&mut Slot, HvStatus> {
    slots
        .get_mut((id.0 & ((1 << SLOT_BITS) - 1)) as usize)
        .filter(|slot| slot.page != 0 && slot.generation == id.0 >> SLOT_BITS)
        .ok_or(HvStatus::INVALID_PARTITION_ID)
}

/// A child, never the parent.
pub fn find_child(id: PartitionId) -> Result<InUse, HvStatus> {
    find(id).and_then(|partition| {
        if partition.is_root { Err(HvStatus::INVALID_PARTITION_ID) } else { Ok(partition) }
    })
}

/// Number of partitions, the parent included.
pub fn count() -> u32 {
    1 + SLOTS.lock().iter().filter(|slot| slot.page != 0).count() as u32
}

/// The sum of `value` over all children.
pub fn sum(value: impl Fn(&Partition) -> u64) -> u64 {
    let used = |slot: &&Slot| slot.page != 0;
    SLOTS.lock().iter().filter(used).map(|slot| value(at(slot.page))).sum()
}

fn at(page: u64) -> &'static Partition {
    // SAFETY: `create` put a partition there, and `delete` waits until nobody uses it.
    unsafe { &*phys::pointer(page).cast() }
}

/// Makes a partition on a page of the parent's pool.
pub fn create(disabled: [u64; 3], flags: CreationFlags) -> Result<PartitionId, HvStatus> {
    const { assert!(size_of::<Partition>() <= crate::mem::PAGE as usize) };
    let page = ROOT.get().pool.lock().get().ok_or(HvStatus::INSUFFICIENT_MEMORY)?;
    let mut slots = SLOTS.lock();
    let Some((index, slot)) = slots.iter_mut().enumerate().find(|(_, slot)| slot.page == 0) else {
        ROOT.get().pool.lock().put(page);
        return Err(HvStatus::NO_RESOURCES);
    };
    slot.generation += 1;
    slot.page = page;
    let id = PartitionId(slot.generation << SLOT_BITS | index as u64);
    let mut partition = Partition::new(id, false, PartitionPrivileges::new());
    partition.disabled = disabled;
    (partition.x2apic, partition.smt) = (flags.x2apic_capable(), flags.smt_enabled_guest());
    partition.clock.set(0);
    // SAFETY: a page of our own, large and aligned enough; the slot is locked, so nobody looks yet.
    unsafe { phys::pointer(page).cast::<Partition>().write(partition) };
    Ok(id)
}

/// Ends a partition that is finalized, or never was initialized, and has an empty pool. Waits until nobody uses it.
///
/// A user may wait meanwhile for the caller's VP to take in a request, or in [`crate::run::quiesce`] for its LP to
/// pass. The caller therefore holds no VP that can be found, as there.
pub fn delete(call: &Call, state: &mut State, id: PartitionId) -> Result<(), HvStatus> {
    while !try_delete(id)? {
        call.vp.absorb(state);
        call.lp.pass();
        arch_x86::cpu::pause();
    }
    Ok(())
}

/// The same at once, or not at all: `false` if somebody uses the partition.
fn try_delete(id: PartitionId) -> Result<bool, HvStatus> {
    let mut slots = SLOTS.lock();
    let slot = slot_of(&mut slots, id)?;
    let partition = at(slot.page);
    // Who finds it has the lock, so nobody comes to use it now.
    if partition.users.load(Ordering::Acquire) != 0 {
        return Ok(false);
    }
    if partition.stage() == Stage::Active || partition.pool.lock().owned() != 0 {
        return Err(HvStatus::INVALID_PARTITION_STATE);
    }
    ROOT.get().pool.lock().put(core::mem::take(&mut slot.page));
    Ok(true)
}

/// Created to active: the partition gets its second-level tables.
pub fn initialize(partition: &Partition) -> Result<(), HvStatus> {
    let _serialized = partition.slat_lock.lock();
    if partition.stage() != Stage::Created {
        return Err(HvStatus::INVALID_PARTITION_STATE);
    }
    let map = GuestMap::new(&mut ChildFrames(partition), AMD_NESTED, GuestMap::MAX_ADDRESS_BITS)
        .ok_or(HvStatus::INSUFFICIENT_MEMORY)?;
    if let Err(status) = partition.cpuid.compose(partition) {
        map.destroy(&mut ChildFrames(partition));
        return Err(status);
    }
    partition.set_map(map);
    let features =
        SyntheticProcessorFeatures::from_bits(partition.synthetic_features.load(Ordering::Relaxed));
    partition.set_privileges(crate::exit::child_privileges(features));
    partition.advance(Stage::Created, Stage::Active);
    Ok(())
}

/// Active to finalized: tables go back to the pool.
pub fn finalize(call: &Call, state: &mut State, partition: &Partition) -> Result<(), HvStatus> {
    let map = {
        let _serialized = partition.slat_lock.lock();
        let map = partition.map().ok_or(HvStatus::INVALID_PARTITION_STATE)?;
        partition.advance(Stage::Active, Stage::Finalized);
        map
    };
    crate::vps::destroy_all(call, state, partition);
    partition.free_overlays();
    partition.cpuid.free(partition);
    partition
        .port_book
        .clear(&partition.pool, |port| crate::hypercalls::sever_port(partition, &port));
    map.destroy(&mut ChildFrames(partition));
    Ok(())
}

/// Whether the parent may name these bytes as memory of a child: RAM or device memory that it has itself.
pub fn is_parents(address: u64, len: u64) -> bool {
    deposits::is_parents(ROOT.get(), address, len)
}
