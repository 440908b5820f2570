//! GET_GPA_PAGES_ACCESS_STATES: which pages were read or written.

use crate::map::GuestMap;
use crate::request::Range;
use crate::watch::Watch;
use hvdef::hypercall::memory::{AccessStateFlags, GetGpaPagesAccessStates, GpaPageAccessState};
use hvdef::{Gpa, Gpn, HvStatus};
use page_table::{AccessChange, Frames};

/// A valid GET_GPA_PAGES_ACCESS_STATES.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AccessRequest {
    range: Range,
    change: AccessChange,
}

impl AccessRequest {
    /// Checks the input of a call with `reps` repetitions for `map`.
    ///
    /// INVALID_PARTITION_STATE: writes are not tracked. INVALID_PARAMETER: unknown or contradicting flags, a range
    /// beyond the limit.
    pub fn parse(
        input: &GetGpaPagesAccessStates,
        reps: u32,
        map: &GuestMap,
    ) -> Result<Self, HvStatus> {
        if !map.tracking {
            return Err(HvStatus::INVALID_PARTITION_STATE);
        }
        let flags = input.flags;
        let accessed = choice(flags.set_accessed(), flags.clear_accessed())?;
        let dirty = choice(flags.set_dirty(), flags.clear_dirty())?;
        if flags.into_bits() & !known() != 0 {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        let range = Range::new(input.base, reps, false, map.limit)?;
        Ok(Self { range, change: AccessChange { accessed, dirty } })
    }
}

const fn known() -> u64 {
    AccessStateFlags::new()
        .with_clear_accessed(true)
        .with_set_accessed(true)
        .with_clear_dirty(true)
        .with_set_dirty(true)
        .into_bits()
}

fn choice(set: bool, clear: bool) -> Result<Option<bool>, HvStatus> {
    match (set, clear) {
        (true, true) => Err(HvStatus::INVALID_PARAMETER),
        (false, false) => Ok(None),
        (set, _) => Ok(Some(set)),
    }
}

impl GuestMap {
    /// Reports the states of `count` repetitions from `from` on, in order, and changes them. Returns whether to flush:
    /// unlike after mapping, only before the states are reported to the parent.
    ///
    /// The work is one step per page and a table walk per leaf.
    pub fn access_states(
        &self,
        frames: &mut impl Frames,
        request: &AccessRequest,
        from: u32,
        count: u32,
        mut report: impl FnMut(GpaPageAccessState),
    ) -> bool {
        let mut watch = Watch::new(frames, self.slat.format);
        let count = count.min(request.range.count.saturating_sub(from));
        let start = request.range.address(from);
        self.table.access_states(&mut watch, start, count.into(), request.change, |state| {
            report(GpaPageAccessState::new().with_accessed(state.accessed).with_dirty(state.dirty));
        });
        watch.flush
    }

    /// The hypervisor itself has written to a page of the guest.
    pub fn mark_dirty(&self, frames: &mut impl Frames, gpa: Gpa) {
        if self.tracking && gpa.gpn() < self.limit {
            let change = AccessChange { accessed: Some(true), dirty: Some(true) };
            let Gpn(page) = gpa.gpn();
            self.table.access_states(frames, page << 12, 1, change, |_| ());
        }
    }
}
