//! Decoding and validating the hypercalls' inputs.

use crate::slat::{Caching, Rights};
use hvdef::hypercall::memory::{MapGpaFlags, MapGpaPages, UnmapGpaPages};
use hvdef::{Gpn, HvStatus};
use page_table::PageSize;

/// 4 KiB pages of a large one.
const LARGE: u64 = 512;

/// What pages become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Backed.
    Memory {
        /// By what it may be used for.
        rights: Rights,
        /// And how it is cached.
        caching: Caching,
    },
    /// Known, but any access is an intercept.
    NoAccess,
}

/// A valid MAP_GPA_PAGES.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapRequest {
    /// What the pages become.
    pub kind: Kind,
    pub(crate) range: Range,
}

/// A valid UNMAP_GPA_PAGES.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnmapRequest {
    pub(crate) range: Range,
}

/// Repetitions: `count` pages of `size` from `first` on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Range {
    pub first: Gpn,
    pub count: u32,
    pub size: PageSize,
}

impl MapRequest {
    /// Checks the input of a call with `reps` repetitions against the partition's end of memory, `limit`.
    ///
    /// INVALID_PARAMETER: unknown flags, rights that no processor can give (write or execute without read, execute in
    /// one mode only), a range beyond the limit, a large page that is not aligned.
    pub fn parse(input: &MapGpaPages, reps: u32, limit: Gpn) -> Result<Self, HvStatus> {
        let flags = input.flags;
        let range = Range::new(input.target_base, reps, flags.large_page(), limit)?;
        Ok(Self { kind: kind(flags)?, range })
    }

    /// Bytes that each repetition maps, aligned to as many on both sides.
    pub const fn unit(&self) -> u64 {
        self.range.size.bytes()
    }
}

impl UnmapRequest {
    /// As [`MapRequest::parse`].
    pub fn parse(input: &UnmapGpaPages, reps: u32, limit: Gpn) -> Result<Self, HvStatus> {
        if input.flags.into_bits() & !(1 << 1) != 0 {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        let range = Range::new(input.target_base, reps, input.flags.large_page(), limit)?;
        Ok(Self { range })
    }
}

impl Range {
    pub fn new(first: Gpn, count: u32, large: bool, limit: Gpn) -> Result<Self, HvStatus> {
        let (size, pages) = if large { (PageSize::Large, LARGE) } else { (PageSize::Small, 1) };
        let end = first.0.checked_add(u64::from(count) * pages);
        if !first.0.is_multiple_of(pages) || end.is_none_or(|end| end > limit.0) {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        Ok(Self { first, count, size })
    }

    /// First address of repetition `rep`.
    pub fn address(&self, rep: u32) -> u64 {
        (self.first.0 << 12).saturating_add(u64::from(rep) * self.size.bytes())
    }
}

fn kind(flags: MapGpaFlags) -> Result<Kind, HvStatus> {
    let known = MapGpaFlags::new()
        .with_readable(true)
        .with_writable(true)
        .with_kernel_executable(true)
        .with_user_executable(true)
        .with_adjustable(true)
        .with_no_access(true)
        .with_not_cached(true)
        .with_large_page(true);
    let execute = flags.kernel_executable();
    let any = flags.writable() || execute;
    let possible = flags.user_executable() == execute && (flags.readable() || !any);
    if flags.into_bits() & !known.into_bits() != 0 || !possible {
        return Err(HvStatus::INVALID_PARAMETER);
    }
    if flags.no_access() || !flags.readable() {
        return Ok(Kind::NoAccess);
    }
    let caching = if flags.not_cached() { Caching::Uncached } else { Caching::WriteBack };
    Ok(Kind::Memory { rights: Rights { write: flags.writable(), execute }, caching })
}
