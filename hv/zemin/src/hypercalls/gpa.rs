//! A child's memory: which pages of the parent it sees, and where.

use super::Call;
use crate::children::{self, ChildFrames};
use crate::partition::Partition;
use core::ops::Range;
use hvdef::HvStatus;
use hvdef::hypercall::memory::{MapGpaFlags, MapGpaPages, UnmapGpaPages};
use hypercall::Outcome;
use page_table::{PageSize, flags};

/// The parent knows the page and keeps it from the guest for now: an access is a GPA intercept, not one to nothing.
pub const NO_ACCESS: u64 = 1 << 10;

/// A child's addresses end here: what four levels translate.
const GPA_END: u64 = 1 << 48;

/// MAP_GPA_PAGES.
pub fn map(call: &Call) -> Outcome {
    let input: MapGpaPages = match call.input() {
        Ok(input) => input,
        Err(status) => return Outcome::failed(status),
    };
    let size = if input.flags.large_page() { PageSize::Large } else { PageSize::Small };
    each(call, input.target_partition_id, input.target_base.0, size, |partition, gpa, rep| {
        let number: u64 = call.rep(rep)?;
        let source =
            number.checked_mul(PageSize::Small.bytes()).ok_or(HvStatus::INVALID_PARAMETER)?;
        let bits = entry_bits(input.flags)?;
        if bits & flags::PRESENT != 0
            && !(source.is_multiple_of(size.bytes()) && is_parents(source, size))
        {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        let slat = partition.slat().ok_or(HvStatus::INVALID_PARTITION_STATE)?;
        let target = if bits & flags::PRESENT != 0 { source } else { 0 };
        slat.map(&mut ChildFrames(partition), gpa, target, size.bytes(), bits, size)
            .map_err(|_| HvStatus::INSUFFICIENT_MEMORY)
    })
}

/// UNMAP_GPA_PAGES.
pub fn unmap(call: &Call) -> Outcome {
    let input: UnmapGpaPages = match call.input() {
        Ok(input) => input,
        Err(status) => return Outcome::failed(status),
    };
    let size = if input.flags.large_page() { PageSize::Large } else { PageSize::Small };
    each(call, input.target_partition_id, input.target_base.0, size, |partition, gpa, _| {
        let slat = partition.slat().ok_or(HvStatus::INVALID_PARTITION_STATE)?;
        slat.unmap(&mut ChildFrames(partition), gpa, size.bytes())
            .map_err(|_| HvStatus::INSUFFICIENT_MEMORY)
    })
}

/// Does one page after the other and says how far it came.
fn each(
    call: &Call,
    id: hvdef::PartitionId,
    base: u64,
    size: PageSize,
    action: impl Fn(&Partition, u64, u16) -> Result<(), HvStatus>,
) -> Outcome {
    let partition = match children::find_child(id) {
        Ok(partition) => partition,
        Err(status) => return Outcome::failed(status),
    };
    let reps: Range<u16> = call.reps();
    let _serialized = partition.slat_lock.lock();
    for rep in reps.clone() {
        let gpa = gpa_of(base, size, rep);
        if let Err(status) = gpa.and_then(|gpa| action(&partition, gpa, rep)) {
            return Outcome::Failed { status, reps: rep };
        }
    }
    Outcome::Done { reps: reps.end }
}

/// Address of element `rep` from page number `base` on.
fn gpa_of(base: u64, size: PageSize, rep: u16) -> Result<u64, HvStatus> {
    let start = base.checked_mul(PageSize::Small.bytes()).ok_or(HvStatus::INVALID_PARAMETER)?;
    let gpa =
        start.checked_add(u64::from(rep) * size.bytes()).ok_or(HvStatus::INVALID_PARAMETER)?;
    let fits = start.is_multiple_of(size.bytes()) && gpa < GPA_END && size.bytes() <= GPA_END - gpa;
    if fits { Ok(gpa) } else { Err(HvStatus::INVALID_PARAMETER) }
}

/// The entry's bits for what the parent asks.
fn entry_bits(asked: MapGpaFlags) -> Result<u64, HvStatus> {
    if asked.no_access() {
        return Ok(NO_ACCESS);
    }
    if !asked.readable() {
        return Err(HvStatus::INVALID_PARAMETER);
    }
    let executable = asked.kernel_executable() || asked.user_executable();
    Ok(flags::PRESENT
        | flags::USER
        | if asked.writable() { flags::WRITE } else { 0 }
        | if executable { 0 } else { flags::NO_EXECUTE }
        | if asked.not_cached() { flags::UNCACHED | flags::WRITE_THROUGH } else { 0 })
}

/// Whether every page of the source is the parent's to give.
fn is_parents(source: u64, size: PageSize) -> bool {
    let pages = size.bytes() / PageSize::Small.bytes();
    (0..pages).all(|page| children::is_parents(source + page * PageSize::Small.bytes()))
}
