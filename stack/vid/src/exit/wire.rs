//! Payloads of intercept messages, byte for byte (TLFS, "Intercepts"; offsets from the published VMM crates).

use hvdef::register::SegmentRegister;
use zerocopy::{FromBytes, Immutable, KnownLayout};

macro_rules! payload {
    ($($(#[$meta:meta])* $type:ident = $size:literal { $($body:tt)* })+) => {
        $(
            $(#[$meta])*
            #[repr(C)]
            #[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout)]
            pub struct $type { $($body)* }
            const _: () = assert!(size_of::<$type>() == $size);
        )+
    };
}

payload! {
    /// First in nearly all of them.
    Header = 40 {
        pub vp_index: u32,
        /// Length in 3:0, CR8 in 7:4.
        pub instruction: u8,
        pub access: u8,
        pub execution_state: u16,
        pub cs: SegmentRegister,
        pub rip: u64,
        pub rflags: u64,
    }

    /// `HV_X64_IO_PORT_INTERCEPT_MESSAGE`.
    IoPort = 128 {
        pub header: Header,
        pub port: u16,
        /// Size in 2:0, string 3, repeated 4.
        pub access: u8,
        pub byte_count: u8,
        pub reserved: u32,
        pub rax: u64,
        pub bytes: [u8; 16],
        pub ds: SegmentRegister,
        pub es: SegmentRegister,
        pub rcx: u64,
        pub rsi: u64,
        pub rdi: u64,
    }

    /// `HV_X64_MEMORY_INTERCEPT_MESSAGE`.
    Memory = 80 {
        pub header: Header,
        pub cache_type: u32,
        pub byte_count: u8,
        /// GVA valid 0, GVA is of GPA 1.
        pub access: u8,
        pub tpr: u8,
        pub reserved: u8,
        pub gva: u64,
        pub gpa: u64,
        pub bytes: [u8; 16],
    }

    /// `HV_X64_MSR_INTERCEPT_MESSAGE`.
    Msr = 64 {
        pub header: Header,
        pub msr: u32,
        pub reserved: u32,
        pub rdx: u64,
        pub rax: u64,
    }

    /// `HV_X64_CPUID_INTERCEPT_MESSAGE`.
    Cpuid = 104 {
        pub header: Header,
        pub rax: u64,
        pub rcx: u64,
        pub rdx: u64,
        pub rbx: u64,
        pub default_rax: u64,
        pub default_rcx: u64,
        pub default_rdx: u64,
        pub default_rbx: u64,
    }

    /// The part of `HV_X64_EXCEPTION_INTERCEPT_MESSAGE` that is looked at.
    Exception = 56 {
        pub header: Header,
        pub vector: u16,
        pub info: u8,
        pub byte_count: u8,
        pub error_code: u32,
        pub parameter: u64,
    }

    /// `HV_HYPERCALL_INTERCEPT_MESSAGE` without its vector registers and flags.
    Hypercall = 96 {
        pub header: Header,
        pub rax: u64,
        pub rbx: u64,
        pub rcx: u64,
        pub rdx: u64,
        pub r8: u64,
        pub rsi: u64,
        pub rdi: u64,
    }

    /// `HV_X64_APIC_EOI_MESSAGE`; also the first fields of the other payloads that have no header.
    Pair = 8 {
        pub vp_index: u32,
        pub value: u32,
    }

    /// `HV_X64_SYNIC_SINT_DELIVERABLE_MESSAGE`.
    SintDeliverable = 48 {
        pub header: Header,
        pub sints: u16,
        pub reserved: [u8; 6],
    }
}
