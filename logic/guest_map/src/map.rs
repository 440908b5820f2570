//! The map, and the two calls that change it.

use crate::request::{Kind, MapRequest, Range, UnmapRequest};
use crate::slat::{Caching, Rights, Slat};
use crate::watch::Watch;
use hvdef::{Gpn, HvStatus, Spa};
use page_table::{Change, Frames, PageSize, Table, Truncated};

/// Repetitions of one call for pages of 4 KiB.
const STEP_SMALL: u32 = 512;
/// For large ones, which may each give back a table of 512 entries.
const STEP_LARGE: u32 = 64;
/// For large ones while writes are tracked, when each may need a look at 512 pages.
const STEP_TRACKED: u32 = 4;

/// How far a call came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// Repetitions done by this call, which began where it was told to.
    pub reps: u32,
    /// SUCCESS, though there may be more to do; INSUFFICIENT_MEMORY, a page is missing for the next repetition;
    /// INVALID_PARAMETER, the source of the next repetition is not the caller's to give.
    pub status: HvStatus,
    /// See the crate's rules.
    pub flush: bool,
}

/// The GPA space of one partition. Whoever changes it holds the partition's lock.
#[derive(Clone, Copy, Debug)]
pub struct GuestMap {
    pub(crate) table: Table,
    pub(crate) slat: Slat,
    pub(crate) limit: Gpn,
    pub(crate) tracking: bool,
}

impl GuestMap {
    /// Bits of a GPA that four levels of tables translate.
    pub const MAX_ADDRESS_BITS: u32 = 48;

    /// An empty space of `address_bits` (at most [`Self::MAX_ADDRESS_BITS`]); `None` without a page for its root.
    pub fn new(frames: &mut impl Frames, slat: Slat, address_bits: u32) -> Option<Self> {
        let table = Table::new(frames, slat.format)?;
        let limit = Gpn(1 << (address_bits.clamp(12, Self::MAX_ADDRESS_BITS) - 12));
        Some(Self { table, slat, limit, tracking: false })
    }

    /// Physical address of the root table.
    pub const fn root(&self) -> u64 {
        self.table.root()
    }

    /// First page that no mapping can reach.
    pub const fn limit(&self) -> Gpn {
        self.limit
    }

    /// The table itself, for those who only read it.
    pub const fn table(&self) -> &Table {
        &self.table
    }

    /// Whether writes are tracked.
    pub const fn is_tracking(&self) -> bool {
        self.tracking
    }

    /// Starts or stops tracking writes. What is mapped at the start counts as dirty until it is cleared.
    pub const fn set_tracking(&mut self, tracking: bool) {
        self.tracking = tracking;
    }

    /// Maps, from repetition `from` on, some of the request's pages.
    ///
    /// `source` gives the system address of a repetition's page, [`MapRequest::unit`] bytes in a row and aligned to
    /// them, or `None` if the caller may not give it away. It is not asked for pages without access.
    pub fn map<F: Frames>(
        &self,
        frames: &mut F,
        request: &MapRequest,
        from: u32,
        source: impl FnMut(u32) -> Option<Spa>,
    ) -> Step {
        match request.kind {
            Kind::Memory { rights, caching } => {
                let flags = self.slat.leaf(rights, caching, self.tracking);
                self.map_memory(frames, &request.range, flags, from, source)
            }
            Kind::NoAccess => {
                let change = Change::Mark { keep_dirty: self.tracking };
                self.change(frames, &request.range, change, from)
            }
        }
    }

    /// Unmaps, from repetition `from` on, some of the request's pages. That a page is not mapped is no error.
    pub fn unmap(&self, frames: &mut impl Frames, request: &UnmapRequest, from: u32) -> Step {
        self.change(frames, &request.range, Change::Unmap, from)
    }

    /// Puts a page of the hypervisor's own into the space, outside of what hypercalls do.
    pub fn map_page(&self, frames: &mut impl Frames, gpn: Gpn, page: Spa, rights: Rights) -> Step {
        let range = Range { first: gpn, count: 1, size: PageSize::Small };
        let flags = self.slat.leaf(rights, Caching::WriteBack, self.tracking);
        self.map_memory(frames, &range, flags, 0, |_| Some(page))
    }

    /// Gives back up to `tables` table pages, the root not; true when only the root is left. No LP uses the space.
    pub fn prune(&self, frames: &mut impl Frames, tables: u32) -> bool {
        self.table.prune(frames, tables)
    }

    /// Gives back what is left. No LP uses the space.
    pub fn destroy(self, frames: &mut impl Frames) {
        self.table.destroy(frames);
    }

    fn map_memory<F: Frames>(
        &self,
        frames: &mut F,
        range: &Range,
        flags: u64,
        from: u32,
        mut source: impl FnMut(u32) -> Option<Spa>,
    ) -> Step {
        let mut watch = Watch::new(frames, self.slat.format);
        let mut status = HvStatus::SUCCESS;
        let mut rep = from;
        while rep < self.step_end(range, from) {
            let Some(page) = source(rep).filter(|page| page.is_aligned_to(range.size.bytes()))
            else {
                status = HvStatus::INVALID_PARAMETER;
                break;
            };
            let change = Change::Map {
                output: page.0,
                flags,
                largest: range.size,
                keep_dirty: self.tracking,
            };
            let done =
                self.table.change(&mut watch, range.address(rep), range.size.bytes(), change);
            if done.is_err() {
                status = HvStatus::INSUFFICIENT_MEMORY;
                break;
            }
            rep += 1;
        }
        Step { reps: rep.saturating_sub(from), status, flush: watch.flush }
    }

    fn change(&self, frames: &mut impl Frames, range: &Range, change: Change, from: u32) -> Step {
        let mut watch = Watch::new(frames, self.slat.format);
        let reps = self.step_end(range, from).saturating_sub(from);
        let unit = range.size.bytes();
        let done =
            self.table.change(&mut watch, range.address(from), u64::from(reps) * unit, change);
        let (reps, status) = match done {
            Ok(()) => (reps, HvStatus::SUCCESS),
            // An entry that covers several repetitions changes at once, so what is done is whole ones.
            Err(Truncated { done }) => ((done / unit) as u32, HvStatus::INSUFFICIENT_MEMORY),
        };
        Step { reps, status, flush: watch.flush }
    }
    /// The repetition before which a call that begins at `from` stops.
    fn step_end(&self, range: &Range, from: u32) -> u32 {
        let most = match range.size {
            PageSize::Small => STEP_SMALL,
            _ if self.tracking => STEP_TRACKED,
            _ => STEP_LARGE,
        };
        range.count.min(from.saturating_add(most))
    }
}
