//! A child's memory: which pages of the parent it sees, where, and which it has written.

use super::{Call, tlb};
use crate::child_frames::{ChildFrames, Quarantine};
use crate::children::{self, InUse};
use crate::mem::PAGE;
use crate::partition::Partition;
use crate::vp::State;
use guest_map::{AccessRequest, GuestMap, MapRequest, Rights, Step, UnmapRequest};
use hvdef::hypercall::memory::{GetGpaPagesAccessStates, MapGpaPages, UnmapGpaPages};
use hvdef::{Gpa, Gpn, HvStatus, PartitionId, Spa};
use hypercall::Outcome;

/// What an overlay page may be used for.
const OVERLAY: Rights = Rights { write: true, execute: true };

/// Pages whose access state one turn reports.
const STATES: usize = 512;

/// MAP_GPA_PAGES.
pub fn map(call: &Call, state: &mut State) -> Outcome {
    let parsed = call.input::<MapGpaPages>().and_then(|input| {
        let (partition, map) = find(input.target_partition_id)?;
        let request = MapRequest::parse(&input, call.reps().end.into(), map.limit())?;
        Ok((partition, request, input.target_base))
    });
    let (partition, request, base) = match parsed {
        Ok(parsed) => parsed,
        Err(status) => return Outcome::failed(status),
    };
    let source = |rep: u32| {
        let number: u64 = call.rep(rep as u16).ok()?;
        let address = number.checked_mul(PAGE)?;
        children::is_parents(address, request.unit()).then_some(Spa(address))
    };
    change(call, state, &partition, (base, request.unit()), |map, frames, from| {
        map.map(frames, &request, from, source)
    })
}

/// UNMAP_GPA_PAGES.
pub fn unmap(call: &Call, state: &mut State) -> Outcome {
    let parsed = call.input::<UnmapGpaPages>().and_then(|input| {
        let (partition, map) = find(input.target_partition_id)?;
        let request = UnmapRequest::parse(&input, call.reps().end.into(), map.limit())?;
        let unit = if input.flags.large_page() { 512 * PAGE } else { PAGE };
        Ok((partition, request, (input.target_base, unit)))
    });
    let (partition, request, pages) = match parsed {
        Ok(parsed) => parsed,
        Err(status) => return Outcome::failed(status),
    };
    change(call, state, &partition, pages, |map, frames, from| map.unmap(frames, &request, from))
}

fn find(id: PartitionId) -> Result<(InUse, GuestMap), HvStatus> {
    let partition = children::find_child(id)?;
    let map = partition.map().ok_or(HvStatus::INVALID_PARTITION_STATE)?;
    Ok((partition, map))
}

/// One step of a call, after which no VP uses what was there before: the parent takes its pages back at once.
fn change(
    call: &Call,
    state: &mut State,
    partition: &Partition,
    (base, unit): (Gpn, u64),
    action: impl FnOnce(&GuestMap, &mut Quarantine, u32) -> Step,
) -> Outcome {
    let from = call.reps().start;
    let mut frames = Quarantine::new(partition);
    let done = {
        let _serialized = partition.slat_lock.lock();
        partition.map().map(|map| {
            let step = action(&map, &mut frames, from.into());
            let start = (base.0 * PAGE).saturating_add(u64::from(from) * unit);
            keep_overlays(partition, &map, &mut frames, (start, u64::from(step.reps) * unit), step)
        })
    };
    let Some(step) = done else { return Outcome::failed(HvStatus::INVALID_PARTITION_STATE) };
    if step.flush {
        tlb::flush_child(call, state, partition);
    }
    frames.release();
    let reps = from.saturating_add(step.reps as u16);
    match step.status {
        HvStatus::SUCCESS => Outcome::Continue { reps },
        status => Outcome::Failed { status, reps },
    }
}

/// Puts overlay pages back on top of what changed at their addresses. Where memory is missing for that, nothing counts as
/// done.
fn keep_overlays(
    partition: &Partition,
    map: &GuestMap,
    frames: &mut Quarantine,
    (start, len): (u64, u64),
    mut step: Step,
) -> Step {
    partition.overlays_in(start, len, |at, page| {
        let placed = map.map_page(frames, Gpa(at).gpn(), Spa(page), OVERLAY);
        step.flush |= placed.flush;
        if placed.status != HvStatus::SUCCESS {
            (step.reps, step.status) = (0, placed.status);
        }
    });
    step
}

/// GET_GPA_PAGES_ACCESS_STATES.
pub fn access_states(call: &Call, state: &mut State) -> Outcome {
    let parsed = call.input::<GetGpaPagesAccessStates>().and_then(|input| {
        let (partition, map) = find(input.partition_id)?;
        let request = AccessRequest::parse(&input, call.reps().end.into(), &map)?;
        Ok((partition, map, request))
    });
    let (partition, map, request) = match parsed {
        Ok(parsed) => parsed,
        Err(status) => return Outcome::failed(status),
    };
    let reps = call.reps();
    let mut states = [0u8; STATES];
    let count = reps.len().min(STATES);
    let mut slots = states.iter_mut();
    let flush = {
        let _serialized = partition.slat_lock.lock();
        let mut frames = ChildFrames(&partition);
        let first = u32::from(reps.start);
        map.access_states(&mut frames, &request, first, count as u32, |state| {
            if let Some(slot) = slots.next() {
                *slot = state.into_bits();
            }
        })
    };
    if flush {
        tlb::flush_child(call, state, &partition);
    }
    let states = states.get(..count).unwrap_or_default();
    match call.output_bytes(reps.start.into(), states) {
        Ok(()) => Outcome::Continue { reps: reps.start.saturating_add(count as u16) },
        Err(status) => Outcome::Failed { status, reps: reps.start },
    }
}
