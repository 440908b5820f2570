//! Statistics pages: counters that the parent maps and its driver shows in debugfs.
//!
//! A page comes out of the parent's own pool, which is how it lies in memory that Linux has a `struct page` for.

use super::{Call, memory};
use crate::lp;
use crate::mem::{PAGE, phys};
use crate::partition::ROOT_ID;
use crate::sync::SpinLock;
use hvdef::HvStatus;
use hvdef::hypercall::system::{MapStatsPageOutput, StatsPageInput};
use hvdef::stats::{HYPERVISOR_LOGICAL_PROCESSORS, StatsArea, StatsObjectType};
use hypercall::Outcome;

/// Most pages mapped at a time: hypervisor, partition, and LP and VP of each LP, twice.
const MAX: usize = 4 * lp::MAX_LPS + 8;

#[derive(Clone, Copy)]
struct Mapping {
    object: StatsObjectType,
    key: u128,
    page: u64,
}

static MAPPINGS: SpinLock<[Option<Mapping>; MAX]> = SpinLock::new([None; MAX]);

/// MAP_STATS_PAGE.
pub fn map(call: &Call) -> Outcome {
    Outcome::from(try_map(call))
}

fn try_map(call: &Call) -> Result<(), HvStatus> {
    let input: StatsPageInput = call.input()?;
    validate(&input)?;
    let mut mappings = MAPPINGS.lock();
    let key = input.identity.to_key();
    let same = |mapping: &Mapping| mapping.object == input.object_type && mapping.key == key;
    if mappings.iter().flatten().any(same) {
        return Err(HvStatus::OBJECT_IN_USE);
    }
    let slot = mappings.iter_mut().find(|slot| slot.is_none()).ok_or(HvStatus::NO_RESOURCES)?;
    let page = memory::take_page().ok_or(HvStatus::INSUFFICIENT_MEMORY)?;
    phys::zero(page, PAGE);
    if input.object_type == StatsObjectType::HYPERVISOR {
        let offset = HYPERVISOR_LOGICAL_PROCESSORS as u64 * 8;
        phys::write(page + offset, &u64::from(lp::count()).to_le_bytes());
    }
    if let Err(status) = call.output(&MapStatsPageOutput { map_location: hvdef::Gpn(page / PAGE) })
    {
        memory::return_page(page);
        return Err(status);
    }
    *slot = Some(Mapping { object: input.object_type, key, page });
    Ok(())
}

/// UNMAP_STATS_PAGE.
pub fn unmap(call: &Call) -> Outcome {
    Outcome::from(call.input::<StatsPageInput>().and_then(|input| {
        let key = input.identity.to_key();
        let mut mappings = MAPPINGS.lock();
        let slot = mappings
            .iter_mut()
            .find(|slot| {
                slot.is_some_and(|mapping| {
                    mapping.object == input.object_type && mapping.key == key
                })
            })
            .ok_or(HvStatus::NOT_FOUND)?;
        if let Some(mapping) = slot.take() {
            memory::return_page(mapping.page);
        }
        Ok(())
    }))
}

/// Whether the object exists and has such an area.
fn validate(input: &StatsPageInput) -> Result<(), HvStatus> {
    let identity = &input.identity;
    let own = identity.object == ROOT_ID.0 || identity.object == u64::MAX;
    match input.object_type {
        StatsObjectType::HYPERVISOR => {}
        StatsObjectType::LOGICAL_PROCESSOR if lp::get(identity.lp_index().0).is_none() => {
            return Err(HvStatus::INVALID_LP_INDEX);
        }
        StatsObjectType::LOGICAL_PROCESSOR => {}
        StatsObjectType::PARTITION | StatsObjectType::VP if !own => {
            return Err(HvStatus::INVALID_PARTITION_ID);
        }
        StatsObjectType::VP if identity.vp_index.0 >= lp::count() => {
            return Err(HvStatus::INVALID_VP_INDEX);
        }
        StatsObjectType::PARTITION | StatsObjectType::VP => {}
        _ => return Err(HvStatus::INVALID_PARAMETER),
    }
    // There is one set of counters; Linux then uses it for the parent's area too.
    if identity.area == StatsArea::SELF { Ok(()) } else { Err(HvStatus::INVALID_PARAMETER) }
}
