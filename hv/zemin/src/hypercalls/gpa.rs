//! A child's memory: which pages of the parent it sees, and where.

use super::{Call, tlb};
use crate::children::{self, ChildFrames};
use crate::partition::Partition;
use crate::vp::State;
use core::ops::Range;
use hvdef::HvStatus;
use hvdef::hypercall::memory::{MapGpaFlags, MapGpaPages, UnmapGpaPages};
use hypercall::Outcome;
use page_table::{Change, PageSize, flags};

/// A child's addresses end here: what four levels translate.
const GPA_END: u64 = 1 << 48;

/// MAP_GPA_PAGES.
pub fn map(call: &Call, state: &mut State) -> Outcome {
    let input: MapGpaPages = match call.input() {
        Ok(input) => input,
        Err(status) => return Outcome::failed(status),
    };
    let size = if input.flags.large_page() { PageSize::Large } else { PageSize::Small };
    each(
        call,
        state,
        input.target_partition_id,
        input.target_base.0,
        size,
        |partition, gpa, rep| {
            let slat = partition.slat().ok_or(HvStatus::INVALID_PARTITION_STATE)?;
            let change = change_to(call.rep(rep)?, input.flags, size)?;
            slat.change(&mut ChildFrames(partition), gpa, size.bytes(), change)
                .map_err(|_| HvStatus::INSUFFICIENT_MEMORY)?;
            keep_overlays(partition, gpa, size)
        },
    )
}

/// Puts overlay pages back on top of what was mapped at their addresses.
fn keep_overlays(partition: &Partition, gpa: u64, size: PageSize) -> Result<(), HvStatus> {
    let slat = partition.slat().ok_or(HvStatus::INVALID_PARTITION_STATE)?;
    let access = flags::PRESENT | flags::WRITE | flags::USER;
    let mut done = true;
    partition.overlays_in(gpa, size.bytes(), |at, page| {
        let small = PageSize::Small;
        done &=
            slat.map(&mut ChildFrames(partition), at, page, small.bytes(), access, small).is_ok();
    });
    if done { Ok(()) } else { Err(HvStatus::INSUFFICIENT_MEMORY) }
}

/// UNMAP_GPA_PAGES.
pub fn unmap(call: &Call, state: &mut State) -> Outcome {
    let input: UnmapGpaPages = match call.input() {
        Ok(input) => input,
        Err(status) => return Outcome::failed(status),
    };
    let size = if input.flags.large_page() { PageSize::Large } else { PageSize::Small };
    each(call, state, input.target_partition_id, input.target_base.0, size, |partition, gpa, _| {
        let slat = partition.slat().ok_or(HvStatus::INVALID_PARTITION_STATE)?;
        slat.unmap(&mut ChildFrames(partition), gpa, size.bytes())
            .map_err(|_| HvStatus::INSUFFICIENT_MEMORY)
    })
}

/// Does one page after the other and says how far it came.
fn each(
    call: &Call,
    state: &mut State,
    id: hvdef::PartitionId,
    base: u64,
    size: PageSize,
    action: impl Fn(&Partition, u64, u16) -> Result<(), HvStatus>,
) -> Outcome {
    let partition = match children::find_child(id) {
        Ok(partition) => partition,
        Err(status) => return Outcome::failed(status),
    };
    let (outcome, stale) = each_page(call, &partition, base, size, action);
    // The parent takes its pages back when the call returns: no VP may reach them any more, whatever the outcome.
    if stale {
        tlb::flush_child(call, state, &partition);
    }
    outcome
}

/// The pages of [`each`], and whether a translation that was present changed.
fn each_page(
    call: &Call,
    partition: &Partition,
    base: u64,
    size: PageSize,
    action: impl Fn(&Partition, u64, u16) -> Result<(), HvStatus>,
) -> (Outcome, bool) {
    let reps: Range<u16> = call.reps();
    let _serialized = partition.slat_lock.lock();
    let mut stale = false;
    for rep in reps.clone() {
        let gpa = gpa_of(base, size, rep);
        // A large page may replace a table with anything in it.
        stale |= gpa.is_ok_and(|gpa| size != PageSize::Small || is_present(partition, gpa));
        if let Err(status) = gpa.and_then(|gpa| action(partition, gpa, rep)) {
            return (Outcome::Failed { status, reps: rep }, stale);
        }
    }
    (Outcome::Done { reps: reps.end }, stale)
}

fn is_present(partition: &Partition, gpa: u64) -> bool {
    partition.slat().is_some_and(|slat| slat.translate(&ChildFrames(partition), gpa).is_some())
}

/// Address of element `rep` from page number `base` on.
fn gpa_of(base: u64, size: PageSize, rep: u16) -> Result<u64, HvStatus> {
    let start = base.checked_mul(PageSize::Small.bytes()).ok_or(HvStatus::INVALID_PARAMETER)?;
    let gpa =
        start.checked_add(u64::from(rep) * size.bytes()).ok_or(HvStatus::INVALID_PARAMETER)?;
    let fits = start.is_multiple_of(size.bytes()) && gpa < GPA_END && size.bytes() <= GPA_END - gpa;
    if fits { Ok(gpa) } else { Err(HvStatus::INVALID_PARAMETER) }
}

/// What an element becomes. A page that the parent keeps from the guest for now is marked: an access to it is a GPA
/// intercept, not one to nothing.
fn change_to(page_number: u64, asked: MapGpaFlags, size: PageSize) -> Result<Change, HvStatus> {
    if asked.no_access() {
        return Ok(Change::Mark { keep_dirty: false });
    }
    let output =
        page_number.checked_mul(PageSize::Small.bytes()).ok_or(HvStatus::INVALID_PARAMETER)?;
    if !asked.readable() || !output.is_multiple_of(size.bytes()) || !is_parents(output, size) {
        return Err(HvStatus::INVALID_PARAMETER);
    }
    let executable = asked.kernel_executable() || asked.user_executable();
    let flags = flags::PRESENT
        | flags::USER
        | if asked.writable() { flags::WRITE } else { 0 }
        | if executable { 0 } else { flags::NO_EXECUTE }
        | if asked.not_cached() { flags::UNCACHED | flags::WRITE_THROUGH } else { 0 };
    Ok(Change::Map { output, flags, largest: size, keep_dirty: false })
}

/// Whether every page of the source is the parent's to give.
fn is_parents(source: u64, size: PageSize) -> bool {
    let pages = size.bytes() / PageSize::Small.bytes();
    (0..pages).all(|page| children::is_parents(source + page * PageSize::Small.bytes()))
}
