//! What a partition is entitled to of the processors: weight, reserve and limit, as partition properties; and what a VP says
//! of its waiting.
//!
//! Reserve and limit are fractions of one LP for each VP of the partition, in units of 1/65536; the weight is the whole
//! partition's. They may be changed at any time, and the parent's own as well as a child's.

use super::Call;
use crate::children;
use crate::lp;
use crate::partition::{Partition, ROOT};
use hvdef::HvStatus;
use hvdef::hypercall::partition::SetPartitionProperty;
use hvdef::property::PartitionProperty as P;
use hypercall::Outcome;
use vp_sched::Fraction;

/// What all reserves together may take of an LP: the rest is the parent's.
const RESERVABLE: u64 = Fraction::ONE.0 as u64 * 95 / 100;

/// NOTIFY_LONG_SPIN_WAIT: the caller waits for a VP that may be waiting for this LP. Who is entitled to more goes first.
pub fn long_spin_wait(call: &Call) -> Outcome {
    call.lp.ask_to_reschedule();
    Outcome::Done { reps: 0 }
}

/// Value of a property; `None` if it is of another kind.
pub fn get(partition: &Partition, property: P) -> Option<u64> {
    let share = &partition.share;
    match property {
        P::CPU_WEIGHT => Some(share.weight().into()),
        P::CPU_RESERVE => Some(share.reserve().0.into()),
        P::CPU_CAP => Some(share.limit().0.into()),
        // There are no groups but the one that everybody is in.
        P::CPU_GROUP_ID => Some(0),
        _ => None,
    }
}

/// Sets a property; `None` if it is of another kind.
///
/// PROPERTY_VALUE_OUT_OF_RANGE: beyond what the property's definition says. NO_RESOURCES: more reserve than there is.
pub fn set(input: &SetPartitionProperty) -> Option<Result<(), HvStatus>> {
    matches!(input.property, P::CPU_WEIGHT | P::CPU_RESERVE | P::CPU_CAP | P::CPU_GROUP_ID)
        .then(|| try_set(input))
}

fn try_set(input: &SetPartitionProperty) -> Result<(), HvStatus> {
    let partition = children::find(input.partition_id)?;
    let share = &partition.share;
    let value = u32::try_from(input.value).map_err(|_| HvStatus::PROPERTY_VALUE_OUT_OF_RANGE)?;
    let fits = match input.property {
        P::CPU_WEIGHT => share.set_weight(value),
        P::CPU_RESERVE => {
            if !can_reserve(&partition, value.into(), partition.vp_count().max(1)) {
                return Err(HvStatus::NO_RESOURCES);
            }
            share.set_reserve(Fraction(value))
        }
        // No limit, in the words of tools that know none but this.
        P::CPU_CAP if value == 0 => share.set_limit(Fraction::ONE),
        P::CPU_CAP => share.set_limit(Fraction(value)),
        _ => value == 0,
    };
    if fits { Ok(()) } else { Err(HvStatus::PROPERTY_VALUE_OUT_OF_RANGE) }
}

/// Whether the machine has room for `reserve` on each of `vps` VPs of a partition, beside what the others reserve.
pub fn can_reserve(partition: &Partition, reserve: u64, vps: u32) -> bool {
    let of = |other: &Partition| u64::from(other.share.reserve().0) * u64::from(other.vp_count());
    let is_other = |other: &Partition| other.id != partition.id;
    let others = children::sum(|other| if is_other(other) { of(other) } else { 0 });
    let root = if is_other(ROOT.get()) { of(ROOT.get()) } else { 0 };
    let wanted = reserve.saturating_mul(vps.into());
    reserve == 0 || wanted + others + root <= RESERVABLE * u64::from(lp::count())
}
