//! The output of the property [`crate::property::STATUS`].

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The hypervisor as a whole, at one moment.
///
/// Grows at the end: `size` says how much the hypervisor filled in. A reader zero-fills what is missing.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HvInfo {
    /// Bytes of this structure that are filled in.
    pub size: u32,
    /// [`crate::cpuid::Version`].
    pub version: u32,
    /// Linker's build id (SHA-1), which identifies the symbols of this very binary.
    pub build_id: [u8; 20],
    /// Logical processors in use.
    pub lp_count: u32,
    /// Virtual processors of the root.
    pub root_vp_count: u32,
    /// Partitions, the root included.
    pub partition_count: u32,
    /// [`Backend`].
    pub backend: Backend,
    /// TLFS `HV_SCHEDULER_TYPE`: 1 classic, 2 classic with SMT, 3 core, 4 root.
    pub scheduler_type: u32,
    /// Highest [`crate::log::Level`] that is recorded.
    pub log_level: u32,
    /// 0.
    pub reserved: u32,
    /// Features of the processor that are in use.
    pub cpu_features: CpuFeatures,
    /// Time-stamp counter frequency.
    pub tsc_hz: u64,
    /// Physical APIC timer frequency.
    pub apic_hz: u64,
    /// Time since the hypervisor started, in 100 ns.
    pub uptime_100ns: u64,
    /// Pages of the hypervisor's own pool.
    pub pool_total_pages: u64,
    /// Pages of the pool that are free.
    pub pool_free_pages: u64,
    /// Pages the parent has deposited for its own partition and not withdrawn.
    pub root_deposited_pages: u64,
    /// Memory taken by the hypervisor's image: code, data and zeroed data, in bytes.
    pub image_bytes: u64,
    /// Size of the log ring in bytes.
    pub log_ring_bytes: u64,
    /// Position after the newest log record.
    pub log_next: u64,
    /// Random-access memory of the machine in bytes, as firmware reports it.
    pub ram_total_bytes: u64,
}
const _: () = assert!(size_of::<HvInfo>() == 144);
const _: () = assert!(core::mem::offset_of!(HvInfo, cpu_features) == 56);
const _: () = assert!(core::mem::offset_of!(HvInfo, ram_total_bytes) == 136);

/// Which virtualization extension is in use. Open: later releases add values.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Backend(pub u32);

impl Backend {
    /// AMD-V with nested paging.
    pub const SVM: Self = Self(1);
    /// VT-x with EPT.
    pub const VMX: Self = Self(2);

    /// The extension's name, `None` for a value this release does not know.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::SVM => Some("AMD-V (SVM)"),
            Self::VMX => Some("Intel VT-x (VMX)"),
            _ => None,
        }
    }
}

/// Processor features that the hypervisor found and uses. Open: unknown bits stay.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CpuFeatures(pub u64);

impl CpuFeatures {
    /// None.
    pub const NONE: Self = Self(0);
    /// Nested paging or EPT.
    pub const SLAT: Self = Self(1 << 0);
    /// The next instruction's address is reported with an exit (NRIP save).
    pub const NEXT_RIP: Self = Self(1 << 1);
    /// Decode assists.
    pub const DECODE_ASSISTS: Self = Self(1 << 2);
    /// One guest's translations can be flushed without the others' (flush by ASID, VPID).
    pub const FLUSH_BY_ASID: Self = Self(1 << 3);
    /// 1 GiB leaves in second-level tables.
    pub const HUGE_PAGES: Self = Self(1 << 4);
    /// The physical APICs are in x2APIC mode.
    pub const X2APIC: Self = Self(1 << 5);
    /// The time-stamp counter ticks at one rate in all power states.
    pub const INVARIANT_TSC: Self = Self(1 << 6);
    /// A PAUSE loop exits only after a number of rounds.
    pub const PAUSE_FILTER: Self = Self(1 << 7);
    /// XSAVE.
    pub const XSAVE: Self = Self(1 << 8);

    /// Every bit this release knows, with its name.
    pub const NAMES: [(Self, &'static str); 9] = [
        (Self::SLAT, "nested paging"),
        (Self::NEXT_RIP, "next-RIP save"),
        (Self::DECODE_ASSISTS, "decode assists"),
        (Self::FLUSH_BY_ASID, "flush by ASID"),
        (Self::HUGE_PAGES, "1 GiB pages"),
        (Self::X2APIC, "x2APIC"),
        (Self::INVARIANT_TSC, "invariant TSC"),
        (Self::PAUSE_FILTER, "pause filter"),
        (Self::XSAVE, "XSAVE"),
    ];

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// `self` with `other` added when `condition` holds.
    #[must_use]
    pub const fn with(self, other: Self, condition: bool) -> Self {
        if condition { self.union(other) } else { self }
    }

    /// Whether all of `other`'s bits are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}
