//! Scaffolding, gone when the real crates land.
#![allow(missing_docs, unused, reason = "scaffolding")]
pub mod msr {
    pub const GUEST_OS_ID: u32 = 0x4000_0000;
    pub const HYPERCALL: u32 = 0x4000_0001;
    pub const VP_INDEX: u32 = 0x4000_0002;
    pub const RESET: u32 = 0x4000_0003;
    pub const VP_RUNTIME: u32 = 0x4000_0010;
    pub const TIME_REF_COUNT: u32 = 0x4000_0020;
    pub const REFERENCE_TSC: u32 = 0x4000_0021;
    pub const TSC_FREQUENCY: u32 = 0x4000_0022;
    pub const APIC_FREQUENCY: u32 = 0x4000_0023;
    pub const EOI: u32 = 0x4000_0070;
    pub const ICR: u32 = 0x4000_0071;
    pub const TPR: u32 = 0x4000_0072;
    pub const VP_ASSIST_PAGE: u32 = 0x4000_0073;
    pub const CRASH_P0: u32 = 0x4000_0100;
    pub const CRASH_CTL: u32 = 0x4000_0105;
}
pub mod cpuid {
    pub const VENDOR_AND_MAX: u32 = 0x4000_0000;
    pub const INTERFACE: u32 = 0x4000_0001;
    pub const VERSION: u32 = 0x4000_0002;
    pub const FEATURES: u32 = 0x4000_0003;
    pub const ENLIGHTENMENTS: u32 = 0x4000_0004;
    pub const IMPLEMENTATION_LIMITS: u32 = 0x4000_0005;
    pub const VENDOR_EBX: u32 = 0x7263_694D;
    pub const VENDOR_ECX: u32 = 0x666F_736F;
    pub const VENDOR_EDX: u32 = 0x7648_2074;
    pub const INTERFACE_SIGNATURE: u32 = 0x3123_7648;
}
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartitionId(pub u64);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Privileges(pub u64);
impl Privileges {
    pub const ROOT: Self = Self(u64::MAX);
}
pub enum Outcome {
    Done { reps: u16 },
    Continue { reps: u16 },
    Failed { status: hvdef::HvStatus, reps: u16 },
    Inject(u8),
}
pub mod tlb {
    use zerocopy::*;
    #[repr(C)] #[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
    pub struct Flags(pub u64);
    impl Flags { pub fn all_processors(self) -> bool { self.0 & 1 != 0 } }
    #[repr(C)] #[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
    pub struct FlushVirtualAddressSpace { pub address_space: u64, pub flags: Flags, pub processor_mask: u64 }
    #[repr(C)] #[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
    pub struct FlushVirtualAddressSpaceEx { pub address_space: u64, pub flags: Flags, pub vp_set: hvdef::hypercall::VpSetHeader }
}
