//! The physical memory map: what the firmware said, what the hypervisor took, what is left for the parent.

use crate::list::{Full, List};
use crate::range::{PAGE, PhysRange};
use bootdef::linux::e820;
use core::fmt;

/// What a region is for. The order is that of precedence: where two claims overlap, the later one here wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// The parent's RAM.
    Ram,
    /// ACPI tables (e820 type 3).
    AcpiReclaim,
    /// Firmware's, preserved over sleep (e820 type 4).
    AcpiNvs,
    /// Persistent memory (e820 type 7).
    Persistent,
    /// Defective RAM (e820 type 5).
    Unusable,
    /// Anything the firmware keeps, and all types unknown to us.
    Reserved,
    /// RAM that `parent_mem=` keeps from the parent.
    Withheld,
    /// Pages of the hypervisor that the parent may access: hypercall page, SynIC pages and the like.
    Shared,
    /// The hypervisor's own.
    Hypervisor,
}

impl Kind {
    /// The kind of a region that the firmware gave e820 type `kind`.
    pub const fn from_e820(kind: u32) -> Self {
        match kind {
            e820::RAM => Self::Ram,
            e820::ACPI => Self::AcpiReclaim,
            e820::NVS => Self::AcpiNvs,
            e820::UNUSABLE => Self::Unusable,
            e820::PMEM => Self::Persistent,
            _ => Self::Reserved,
        }
    }

    /// The e820 type that the parent is told.
    pub const fn e820(self) -> u32 {
        match self {
            Self::Ram => e820::RAM,
            Self::AcpiReclaim => e820::ACPI,
            Self::AcpiNvs => e820::NVS,
            Self::Persistent => e820::PMEM,
            Self::Unusable => e820::UNUSABLE,
            Self::Reserved | Self::Withheld | Self::Shared | Self::Hypervisor => e820::RESERVED,
        }
    }
}

/// One region.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region {
    /// Where.
    pub range: PhysRange,
    /// What for.
    pub kind: Kind,
}

/// Why [`MemoryMap::carve`] refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CarveError {
    /// Not all of the range is RAM.
    NotRam(PhysRange),
    /// The map has no room for more regions.
    Full,
}

impl fmt::Display for CarveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRam(range) => write!(f, "{range} is not RAM in the memory map"),
            Self::Full => write!(f, "the memory map has more than {} regions", MemoryMap::MAX),
        }
    }
}

/// Which end of a window a search starts from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The lowest fitting address.
    Bottom,
    /// The highest fitting address.
    Top,
}

/// What [`MemoryMap::find_free`] looks for.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    /// Bytes.
    pub len: u64,
    /// Alignment of the first byte: a power of two.
    pub align: u64,
    /// All of it must lie in here.
    pub within: PhysRange,
    /// RAM that is in use.
    pub avoid: &'a [PhysRange],
    /// Which end of `within` is better.
    pub from: End,
}

/// Sorted, disjoint regions; neighbours of one kind are one region. Holes are addresses that nobody described.
#[derive(Clone, Copy, Debug)]
pub struct MemoryMap {
    /// Two more than the limit, for the moment between a split and a merge.
    regions: List<Region, { Self::MAX + 2 }>,
}

impl MemoryMap {
    /// Most regions: as many as Linux' zero page takes.
    pub const MAX: usize = e820::MAX_ENTRIES;

    /// A map of nothing.
    pub const fn empty() -> Self {
        Self { regions: List::new(Region { range: PhysRange::EMPTY, kind: Kind::Ram }) }
    }

    /// The regions, ascending.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.regions.clear();
    }

    /// Adds a claim of the firmware. Where it overlaps others, the stronger kind wins ([`Kind`]'s order).
    pub fn add(&mut self, range: PhysRange, kind: Kind) -> Result<(), Full> {
        let mut at = range.start;
        while at < range.end {
            let (piece, there) = self.piece(at, range.end);
            if there.is_none_or(|there| there < kind) {
                self.overwrite(piece, kind)?;
            }
            at = piece.end;
        }
        Ok(())
    }

    /// Gives RAM, or what was RAM, a new purpose.
    pub fn carve(&mut self, range: PhysRange, kind: Kind) -> Result<(), CarveError> {
        let takes =
            |there| matches!(there, Kind::Ram | Kind::Withheld | Kind::Shared | Kind::Hypervisor);
        if !self.all(range, takes) {
            return Err(CarveError::NotRam(range));
        }
        self.overwrite(range, kind).map_err(|Full| CarveError::Full)
    }

    /// Leaves the parent the first `limit` bytes of its RAM, in whole pages, and withholds the rest.
    pub fn withhold_above(&mut self, limit: u64) -> Result<(), Full> {
        let mut left = limit;
        let mut index = 0;
        while let Some(region) = self.regions.get(index).copied() {
            index += 1;
            if region.kind != Kind::Ram {
                continue;
            }
            let keep = left.min(region.range.len());
            left -= keep;
            let from = region.range.start.saturating_add(keep);
            let cut =
                PhysRange::new((from - from % PAGE).max(region.range.start), region.range.end);
            if keep < region.range.len() {
                self.overwrite(cut, Kind::Withheld)?;
                // Merging may have moved the regions after this one down, never up.
                index =
                    self.regions.iter().take_while(|region| region.range.end <= cut.end).count();
            }
        }
        Ok(())
    }

    /// Bytes of one kind.
    pub fn total(&self, kind: Kind) -> u64 {
        let of_kind = self.regions.iter().filter(|region| region.kind == kind);
        of_kind.fold(0, |sum, region| sum.saturating_add(region.range.len()))
    }

    /// What `address` is for, or `None` in a hole.
    pub fn kind_at(&self, address: u64) -> Option<Kind> {
        self.piece(address, u64::MAX).1
    }

    /// Whether every byte of `range` is the parent's RAM.
    pub fn is_ram(&self, range: PhysRange) -> bool {
        self.all(range, |kind| kind == Kind::Ram)
    }

    /// Free RAM as `search` wants it.
    pub fn find_free(&self, search: &Search<'_>) -> Option<PhysRange> {
        let fits = |region: &Region| search.fit(region);
        match search.from {
            End::Bottom => self.regions.iter().find_map(fits),
            End::Top => self.regions.iter().rev().find_map(fits),
        }
    }

    /// Bytes of the largest run of free pages inside `within` and outside `avoid`.
    pub fn largest_free(&self, within: PhysRange, avoid: &[PhysRange]) -> u64 {
        let ram = self.regions.iter().filter(|region| region.kind == Kind::Ram);
        ram.map(|region| largest_gap(region.range.intersection(within), avoid)).max().unwrap_or(0)
    }

    fn all(&self, range: PhysRange, accept: impl Fn(Kind) -> bool) -> bool {
        let mut at = range.start;
        while at < range.end {
            let (piece, kind) = self.piece(at, range.end);
            if !kind.is_some_and(&accept) {
                return false;
            }
            at = piece.end;
        }
        true
    }

    /// The part of `[at, end)` from `at` on that one region, or one hole, covers.
    fn piece(&self, at: u64, end: u64) -> (PhysRange, Option<Kind>) {
        match self.regions.iter().find(|region| region.range.end > at) {
            Some(region) if region.range.start <= at => {
                (PhysRange::new(at, region.range.end.min(end)), Some(region.kind))
            }
            Some(region) => (PhysRange::new(at, region.range.start.min(end)), None),
            None => (PhysRange::new(at, end), None),
        }
    }

    /// Makes `range` one region of `kind`, whatever was there.
    fn overwrite(&mut self, range: PhysRange, kind: Kind) -> Result<(), Full> {
        if range.is_empty() {
            return Ok(());
        }
        self.split(range.start)?;
        self.split(range.end)?;
        let index =
            self.regions.iter().take_while(|region| region.range.end <= range.start).count();
        while self.regions.get(index).is_some_and(|region| region.range.end <= range.end) {
            self.regions.remove(index);
        }
        self.regions.insert(index, Region { range, kind })?;
        self.merge(index.saturating_add(1));
        self.merge(index);
        if self.regions.len() > Self::MAX { Err(Full) } else { Ok(()) }
    }

    /// Cuts the region that `at` lies inside of in two.
    fn split(&mut self, at: u64) -> Result<(), Full> {
        let inside = |region: &Region| region.range.start < at && at < region.range.end;
        let Some(index) = self.regions.iter().position(inside) else { return Ok(()) };
        let Some(region) = self.regions.get_mut(index) else { return Ok(()) };
        let upper = Region { range: PhysRange::new(at, region.range.end), kind: region.kind };
        region.range.end = at;
        self.regions.insert(index.saturating_add(1), upper)
    }

    /// Makes the region at `index` and the one below it one, if they touch and are of one kind.
    fn merge(&mut self, index: usize) {
        let Some(upper) = self.regions.get(index).copied() else { return };
        let Some(lower) = index.checked_sub(1).and_then(|below| self.regions.get_mut(below)) else {
            return;
        };
        if lower.kind == upper.kind && lower.range.end == upper.range.start {
            lower.range.end = upper.range.end;
            self.regions.remove(index);
        }
    }
}

impl Search<'_> {
    /// The best place for this in `region`.
    fn fit(&self, region: &Region) -> Option<PhysRange> {
        if region.kind != Kind::Ram || self.len == 0 || !self.align.is_power_of_two() {
            return None;
        }
        let mut room = region.range.intersection(self.within);
        // Every round either ends or takes at least one of `avoid` out of `room` for good.
        for _ in 0..=self.avoid.len() {
            let candidate = self.candidate(room)?;
            let Some(hit) = self.avoid.iter().find(|avoid| avoid.overlaps(candidate)) else {
                return Some(candidate);
            };
            room = match self.from {
                End::Bottom => PhysRange::new(hit.end, room.end),
                End::Top => PhysRange::new(room.start, hit.start),
            };
        }
        None
    }

    fn candidate(&self, room: PhysRange) -> Option<PhysRange> {
        let start = match self.from {
            End::Bottom => room.start.checked_next_multiple_of(self.align)?,
            End::Top => room.end.checked_sub(self.len)? & !(self.align - 1),
        };
        let range = PhysRange::new(start, start.checked_add(self.len)?);
        room.contains(range).then_some(range)
    }
}

/// Bytes of the largest run of whole pages of `room` that no range of `avoid` touches.
fn largest_gap(room: PhysRange, avoid: &[PhysRange]) -> u64 {
    let mut largest = 0;
    let mut at = room.start;
    while at < room.end {
        let covering = avoid.iter().filter(|range| range.start <= at && at < range.end);
        if let Some(end) = covering.map(|range| range.end).max() {
            at = end;
            continue;
        }
        let next = avoid.iter().map(|range| range.start).filter(|start| *start > at).min();
        let end = next.unwrap_or(u64::MAX).min(room.end);
        let first = at.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX);
        largest = largest.max((end - end % PAGE).saturating_sub(first));
        at = end;
    }
    largest
}

#[cfg(test)]
#[path = "memory_map_tests.rs"]
mod tests;
