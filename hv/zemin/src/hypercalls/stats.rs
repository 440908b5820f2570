//! Statistics pages: counters that the parent maps and its driver shows in debugfs.
//!
//! A page comes out of the parent's own pool, which is how it lies in memory that Linux has a `struct page` for. Each LP
//! brings the pages of itself and of its VP up to date now and then ([`refresh`]).

use super::{Call, memory};
use crate::children;
use crate::lp::{self, Lp};
use crate::mem::{PAGE, phys};
use crate::partition::ROOT_ID;
use crate::sched;
use crate::sync::SpinLock;
use crate::time;
use crate::vp::{State, Vp};
use core::sync::atomic::Ordering;
use hvdef::hypercall::system::{MapStatsPageOutput, StatsPageInput};
use hvdef::stats::{HYPERVISOR_LOGICAL_PROCESSORS, StatsArea, StatsObjectType};
use hvdef::{HvStatus, PartitionId};
use hypercall::Outcome;
use zemindef::counters::Counter;

/// Most pages mapped at a time: the hypervisor's, each partition's, and one of each LP and VP.
const MAX: usize = 2 + children::MAX + 2 * lp::MAX_LPS + lp::MAX_CHILD_VPS;

#[derive(Clone, Copy)]
struct Mapping {
    object: StatsObjectType,
    key: u128,
    page: u64,
}

impl Mapping {
    fn is_of(&self, object: StatsObjectType, key: u128) -> bool {
        self.object == object && self.key == key
    }
}

/// The pages that are mapped.
struct Mappings {
    slots: [Option<Mapping>; MAX],
    /// From here on no slot is in use.
    end: usize,
}

static MAPPINGS: SpinLock<Mappings> = SpinLock::new(Mappings { slots: [None; MAX], end: 0 });

impl Mappings {
    fn all(&self) -> impl Iterator<Item = &Mapping> {
        self.slots.iter().take(self.end).flatten()
    }

    fn free_slot(&self) -> Option<usize> {
        self.slots.iter().position(Option::is_none)
    }

    fn put(&mut self, slot: usize, mapping: Mapping) {
        if let Some(slot) = self.slots.get_mut(slot) {
            *slot = Some(mapping);
        }
        self.end = self.end.max(slot + 1);
    }

    fn take(&mut self, object: StatsObjectType, key: u128) -> Option<Mapping> {
        let mut used = self.slots.iter_mut().take(self.end);
        let slot = used.find(|slot| slot.is_some_and(|mapping| mapping.is_of(object, key)))?;
        let mapping = slot.take();
        let used = self.slots.iter().take(self.end).rposition(Option::is_some);
        self.end = used.map_or(0, |last| last + 1);
        mapping
    }
}

/// MAP_STATS_PAGE.
pub fn map(call: &Call, state: &mut State) -> Outcome {
    Outcome::from(try_map(call, state))
}

fn try_map(call: &Call, state: &mut State) -> Result<(), HvStatus> {
    let input: StatsPageInput = call.input()?;
    validate(&input)?;
    let mut mappings = MAPPINGS.lock();
    let (object, key) = (input.object_type, input.identity.to_key());
    if mappings.all().any(|mapping| mapping.is_of(object, key)) {
        return Err(HvStatus::OBJECT_IN_USE);
    }
    let slot = mappings.free_slot().ok_or(HvStatus::NO_RESOURCES)?;
    let page = memory::take_lent_page(call.vp.partition)?;
    let mapping = Mapping { object, key, page };
    fill(&mapping);
    if let Err(status) = call.output(&MapStatsPageOutput { map_location: hvdef::Gpn(page / PAGE) })
    {
        // Others may be waiting for it while they are waited for.
        drop(mappings);
        memory::return_lent_page(call, state, page)?;
        return Err(status);
    }
    mappings.put(slot, mapping);
    Ok(())
}

/// UNMAP_STATS_PAGE.
pub fn unmap(call: &Call, state: &mut State) -> Outcome {
    Outcome::from(call.input::<StatsPageInput>().and_then(|input| {
        let key = input.identity.to_key();
        let ended = MAPPINGS.lock().take(input.object_type, key).ok_or(HvStatus::NOT_FOUND)?;
        memory::return_lent_page(call, state, ended.page)
    }))
}

/// Time between two updates of a page, in 100 ns.
const REFRESH_PERIOD: u64 = 1_000_000;

/// Brings the pages of the calling LP and its VP up to date, if that is due at time-stamp counter value `now`.
#[inline]
pub fn refresh(lp: &Lp, now: u64) {
    if now >= lp.stats_due.get() {
        lp.stats_due.set(now + time::ticks_of_100ns(REFRESH_PERIOD));
        fill_own(lp);
    }
}

#[cold]
fn fill_own(lp: &Lp) {
    // The pages may be unmapped and withdrawn at any time, but not while the lock is held. Who holds it now will have to
    // do without this update.
    let Some(mappings) = MAPPINGS.try_lock() else { return };
    let mine = |mapping: &&Mapping| match mapping.object {
        StatsObjectType::LOGICAL_PROCESSOR => mapping.key as u32 == lp.index,
        StatsObjectType::VP => {
            with_vp(mapping.key, |vp| vp.lp().index == lp.index).unwrap_or(false)
        }
        _ => false,
    };
    mappings.all().filter(mine).for_each(fill);
}

/// Counters of an LP's page by number (Linux `mshv_debugfs_counters.c`).
const LP_COUNTERS: [(usize, Counter); 6] = [
    (4, Counter::PhysicalDevice),
    (5, Counter::WorldSwitches),
    (6, Counter::PhysicalIpi),
    (8, Counter::PhysicalTimer),
    (9, Counter::IpiPhysical),
    (10, Counter::IdleEntries),
];

/// Counters of a VP's page by number.
const VP_COUNTERS: [(usize, Counter); 9] = [
    (7, Counter::Hypercalls),
    (15, Counter::ExitHlt),
    (19, Counter::ExitCpuid),
    (21, Counter::ExitMsrWrite),
    (25, Counter::ExitInterrupt),
    (27, Counter::ExitInterruptWindow),
    (33, Counter::ExitNestedFault),
    (39, Counter::ExitApicAccess),
    (42, Counter::VirtualEoi),
];

/// What `action` says of the VP that an identity names, if there is one (any more).
fn with_vp<R>(key: u128, action: impl FnOnce(&Vp) -> R) -> Option<R> {
    let partition = children::find(PartitionId(key as u64)).ok()?;
    partition.vp((key >> 64) as u32).map(action)
}

/// Whether an identity names the parent.
fn is_roots(key: u128) -> bool {
    key as u64 == ROOT_ID.0 || key as u64 == u64::MAX
}

fn fill(mapping: &Mapping) {
    let store = |counter: usize, value: u64| {
        phys::write(mapping.page + counter as u64 * 8, &value.to_le_bytes());
    };
    let run_time = |lp: &Lp| time::ticks_to_100ns(lp.guest_ticks.load(Ordering::Relaxed));
    match mapping.object {
        StatsObjectType::HYPERVISOR => store(HYPERVISOR_LOGICAL_PROCESSORS, lp::count().into()),
        StatsObjectType::LOGICAL_PROCESSOR => {
            let Some(lp) = lp::get(mapping.key as u32) else { return };
            store(1, time::now());
            store(2, run_time(lp));
            store(19, lp.index.into());
            LP_COUNTERS
                .into_iter()
                .for_each(|(number, counter)| store(number, lp.counter(counter as usize)));
        }
        StatsObjectType::PARTITION => {
            let partition = children::find(PartitionId(mapping.key as u64));
            store(1, partition.map_or(0, |partition| partition.vp_count().into()));
        }
        StatsObjectType::VP => {
            store(1, with_vp(mapping.key, sched::run_time).unwrap_or(0));
            // The parent's VP and its LP share a number.
            let lp = lp::get((mapping.key >> 64) as u32).filter(|_| is_roots(mapping.key));
            let Some(lp) = lp else { return };
            VP_COUNTERS
                .into_iter()
                .for_each(|(number, counter)| store(number, lp.counter(counter as usize)));
        }
        _ => {}
    }
}

/// Whether the object exists and has such an area.
fn validate(input: &StatsPageInput) -> Result<(), HvStatus> {
    let identity = &input.identity;
    match input.object_type {
        StatsObjectType::HYPERVISOR => {}
        StatsObjectType::LOGICAL_PROCESSOR => {
            lp::get(identity.lp_index().0).ok_or(HvStatus::INVALID_LP_INDEX)?;
        }
        StatsObjectType::PARTITION => {
            children::find(identity.partition_id())?;
        }
        StatsObjectType::VP => {
            let partition = children::find(identity.partition_id())?;
            partition.vp(identity.vp_index.0).ok_or(HvStatus::INVALID_VP_INDEX)?;
        }
        _ => return Err(HvStatus::INVALID_PARAMETER),
    }
    // There is one set of counters; Linux then uses it for the parent's area too.
    if identity.area == StatsArea::SELF { Ok(()) } else { Err(HvStatus::INVALID_PARAMETER) }
}
