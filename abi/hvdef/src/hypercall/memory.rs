//! A partition's memory pool and its GPA space (TLFS, "Physical Memory Management", "Guest Physical Address Spaces").

use crate::id::ProximityDomain;
use crate::{Gpn, PartitionId};
use bitfield_struct::bitfield;
use wire::{layout, wire};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

wire! {
    /// [`DEPOSIT_MEMORY`](super::HypercallCode::DEPOSIT_MEMORY): list of [`Gpn`] of the caller follows.
    pub struct DepositMemory {
        /// Whose pool.
        pub partition_id: PartitionId,
    }

    /// [`WITHDRAW_MEMORY`](super::HypercallCode::WITHDRAW_MEMORY): output is a list of [`Gpn`] of the caller.
    pub struct WithdrawMemory {
        /// Whose pool.
        pub partition_id: PartitionId,
        /// Wish, ignored.
        pub proximity: ProximityDomain,
    }

    /// [`MAP_GPA_PAGES`](super::HypercallCode::MAP_GPA_PAGES): list of source [`Gpn`] of the caller follows.
    pub struct MapGpaPages {
        /// Into which partition.
        pub target_partition_id: PartitionId,
        /// Where the first page goes. In 4 KiB units, for large pages too.
        pub target_base: Gpn,
        /// How.
        pub flags: MapGpaFlags,
        /// Linux leaves garbage here.
        pub padding: u32,
    }

    /// [`UNMAP_GPA_PAGES`](super::HypercallCode::UNMAP_GPA_PAGES): a rep call without a list, element `i` is page
    /// `base + i`, or `base + 512 * i` for large pages.
    pub struct UnmapGpaPages {
        /// In which partition.
        pub target_partition_id: PartitionId,
        /// First page. In 4 KiB units, for large pages too.
        pub target_base: Gpn,
        /// How.
        pub flags: UnmapGpaFlags,
        /// Linux leaves garbage here.
        pub padding: u32,
    }

    /// [`GET_GPA_PAGES_ACCESS_STATES`](super::HypercallCode::GET_GPA_PAGES_ACCESS_STATES): a rep call without a list;
    /// output is a list of [`GpaPageAccessState`].
    pub struct GetGpaPagesAccessStates {
        /// In which partition.
        pub partition_id: PartitionId,
        /// What to change after reading.
        pub flags: AccessStateFlags,
        /// First page.
        pub base: Gpn,
    }

    /// [`ACQUIRE_SPARSE_SPA_PAGE_HOST_ACCESS`](super::HypercallCode::ACQUIRE_SPARSE_SPA_PAGE_HOST_ACCESS) and its
    /// opposite: list of page numbers follows.
    pub struct SparsePageHostAccess {
        /// Bits 1:0, 1 read and 2 write.
        pub host_access: u32,
        /// 1 exclusive, 2 shared, 4 large pages, 8 huge pages.
        pub flags: u32,
        /// Of which partition.
        pub partition_id: PartitionId,
    }

    /// [`MEMORY_HEAT_HINT`](super::HypercallCode::MEMORY_HEAT_HINT): list of [`ExtendedRange`](super::tlb::ExtendedRange)
    /// in the extended format follows.
    pub struct MemoryHeatHint {
        /// Bits 1:0: 2, the pages are free.
        pub heat_type: u64,
    }
}

layout!(DepositMemory, 8, partition_id @ 0);
layout!(WithdrawMemory, 16, partition_id @ 0, proximity @ 8);
layout!(MapGpaPages, 24, target_partition_id @ 0, target_base @ 8, flags @ 16, padding @ 20);
layout!(UnmapGpaPages, 24, target_partition_id @ 0, target_base @ 8, flags @ 16, padding @ 20);
layout!(GetGpaPagesAccessStates, 24, partition_id @ 0, flags @ 8, base @ 16);
layout!(SparsePageHostAccess, 16, host_access @ 0, flags @ 4, partition_id @ 8);
layout!(MemoryHeatHint, 8, heat_type @ 0);

/// TLFS `HV_MAP_GPA_FLAGS`: what the partition may do with a page and how it is mapped.
#[bitfield(u32)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct MapGpaFlags {
    /// Read.
    pub readable: bool,
    /// Write.
    pub writable: bool,
    /// Execute in kernel mode. Linux sets both execute flags or none.
    pub kernel_executable: bool,
    /// Execute in user mode.
    pub user_executable: bool,
    #[bits(11)]
    __: u16,
    /// The flags of all RAM may be changed later; no effect.
    pub adjustable: bool,
    /// Known to the parent, not backed: any access is an intercept. The source page number is 0.
    pub no_access: bool,
    #[bits(4)]
    __: u8,
    /// Uncached: device memory.
    pub not_cached: bool,
    #[bits(9)]
    __: u16,
    /// One element is 2 MiB, both sides aligned to it.
    pub large_page: bool,
}

/// Flags of [`UnmapGpaPages`], as Linux uses them.
#[bitfield(u32)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct UnmapGpaFlags {
    __: bool,
    /// One element is 2 MiB.
    pub large_page: bool,
    #[bits(30)]
    __: u32,
}

/// Flags of [`GetGpaPagesAccessStates`].
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct AccessStateFlags {
    /// Make pages not accessed.
    pub clear_accessed: bool,
    /// Make pages accessed.
    pub set_accessed: bool,
    /// Make pages clean.
    pub clear_dirty: bool,
    /// Make pages dirty.
    pub set_dirty: bool,
    #[bits(60)]
    __: u64,
}

/// What a page went through, before the requested change.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct GpaPageAccessState {
    /// Read or written.
    pub accessed: bool,
    /// Written.
    pub dirty: bool,
    #[bits(6)]
    __: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn map_flags_have_the_values_linux_passes() {
        assert_eq!(MapGpaFlags::new().with_readable(true).with_writable(true).into_bits(), 3);
        assert_eq!(MapGpaFlags::new().with_adjustable(true).into_bits(), 0x8000);
        assert_eq!(MapGpaFlags::new().with_no_access(true).into_bits(), 0x1_0000);
        assert_eq!(MapGpaFlags::new().with_not_cached(true).into_bits(), 0x20_0000);
        assert_eq!(MapGpaFlags::new().with_large_page(true).into_bits(), 0x8000_0000);
        assert_eq!(UnmapGpaFlags::new().with_large_page(true).into_bits(), 2);
    }
}
