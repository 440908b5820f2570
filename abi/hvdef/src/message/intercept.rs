//! Payloads of intercepts: what a VP did and the state it was in (TLFS, "Intercept Messages"; those Linux does not
//! define from the published VMM crates).

use crate::register::{RegisterValue, SegmentRegister};
use crate::{Gpa, VpIndex};
use bitfield_struct::bitfield;
use wire::{layout, open_enum, wire};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

wire! {
    /// TLFS `HV_X64_INTERCEPT_MESSAGE_HEADER`: begins most payloads.
    ///
    /// RIP is that of the intercepted instruction. Its length must be right, for a VMM adds it to go on.
    pub struct InterceptHeader {
        /// Which VP.
        pub vp_index: VpIndex,
        /// Length of the instruction, and CR8.
        pub instruction: InstructionInfo,
        /// What kind of access.
        pub access_type: AccessType,
        /// Mode the VP was in.
        pub execution_state: ExecutionState,
        /// CS.
        pub cs: SegmentRegister,
        /// RIP.
        pub rip: u64,
        /// RFLAGS.
        pub rflags: u64,
    }

    /// [`UNMAPPED_GPA`](super::MessageType::UNMAPPED_GPA) and [`GPA_INTERCEPT`](super::MessageType::GPA_INTERCEPT).
    pub struct MemoryIntercept {
        /// Where and how.
        pub header: InterceptHeader,
        /// Memory type as in MTRRs: 0 uncached, 6 write-back.
        pub cache_type: u32,
        /// Bytes of the instruction that are known, 0 for none.
        pub instruction_byte_count: u8,
        /// What is known of the address.
        pub access_info: MemoryAccessInfo,
        /// Task priority.
        pub tpr_priority: u8,
        /// 0.
        pub reserved: u8,
        /// Virtual address, if known.
        pub gva: u64,
        /// Physical address.
        pub gpa: Gpa,
        /// The instruction.
        pub instruction_bytes: [u8; 16],
    }

    /// [`X64_IO_PORT_INTERCEPT`](super::MessageType::X64_IO_PORT_INTERCEPT).
    pub struct IoPortIntercept {
        /// Where and how.
        pub header: InterceptHeader,
        /// Port.
        pub port: u16,
        /// Width and form.
        pub access_info: IoPortAccessInfo,
        /// Bytes of the instruction that are known, 0 for none.
        pub instruction_byte_count: u8,
        /// 0.
        pub reserved: u32,
        /// RAX.
        pub rax: u64,
        /// The instruction.
        pub instruction_bytes: [u8; 16],
        /// DS.
        pub ds: SegmentRegister,
        /// ES.
        pub es: SegmentRegister,
        /// RCX.
        pub rcx: u64,
        /// RSI.
        pub rsi: u64,
        /// RDI.
        pub rdi: u64,
    }

    /// [`X64_MSR_INTERCEPT`](super::MessageType::X64_MSR_INTERCEPT).
    pub struct MsrIntercept {
        /// Where and how.
        pub header: InterceptHeader,
        /// Index.
        pub msr: u32,
        /// 0.
        pub reserved: u32,
        /// RDX.
        pub rdx: u64,
        /// RAX.
        pub rax: u64,
    }

    /// [`X64_CPUID_INTERCEPT`](super::MessageType::X64_CPUID_INTERCEPT).
    pub struct CpuidIntercept {
        /// Where and how.
        pub header: InterceptHeader,
        /// RAX: the leaf.
        pub rax: u64,
        /// RCX: the subleaf.
        pub rcx: u64,
        /// RDX.
        pub rdx: u64,
        /// RBX.
        pub rbx: u64,
        /// EAX the hypervisor would answer.
        pub default_rax: u64,
        /// ECX the hypervisor would answer.
        pub default_rcx: u64,
        /// EDX the hypervisor would answer.
        pub default_rdx: u64,
        /// EBX the hypervisor would answer.
        pub default_rbx: u64,
    }

    /// [`X64_EXCEPTION_INTERCEPT`](super::MessageType::X64_EXCEPTION_INTERCEPT).
    pub struct ExceptionIntercept {
        /// Where and how.
        pub header: InterceptHeader,
        /// Vector.
        pub vector: u16,
        /// Bit 0: the error code is valid. Bit 1: a software exception.
        pub info: u8,
        /// Bytes of the instruction that are known, 0 for none.
        pub instruction_byte_count: u8,
        /// Error code.
        pub error_code: u32,
        /// CR2 or DR6.
        pub parameter: u64,
        /// 0.
        pub reserved: u64,
        /// The instruction.
        pub instruction_bytes: [u8; 16],
        /// DS.
        pub ds: SegmentRegister,
        /// SS.
        pub ss: SegmentRegister,
        /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
        pub gp: [u64; 16],
    }

    /// [`HYPERCALL_INTERCEPT`](super::MessageType::HYPERCALL_INTERCEPT). RIP is that of the hypercall instruction.
    pub struct HypercallIntercept {
        /// Where and how.
        pub header: InterceptHeader,
        /// RAX.
        pub rax: u64,
        /// RBX.
        pub rbx: u64,
        /// RCX.
        pub rcx: u64,
        /// RDX.
        pub rdx: u64,
        /// R8.
        pub r8: u64,
        /// RSI.
        pub rsi: u64,
        /// RDI.
        pub rdi: u64,
        /// XMM0 to XMM5.
        pub xmm: [RegisterValue; 6],
        /// Bit 0: the caller is isolated.
        pub flags: u32,
        /// 0.
        pub reserved: u32,
    }

    /// [`SYNIC_SINT_DELIVERABLE`](super::MessageType::SYNIC_SINT_DELIVERABLE).
    pub struct SintDeliverable {
        /// Where.
        pub header: InterceptHeader,
        /// SINTs whose slot became free, by bit.
        pub deliverable_sints: u16,
        /// 0.
        pub reserved_42: u16,
        /// 0.
        pub reserved_44: u32,
    }

    /// [`X64_INTERRUPTION_DELIVERABLE`](super::MessageType::X64_INTERRUPTION_DELIVERABLE).
    pub struct InterruptionDeliverable {
        /// Where.
        pub header: InterceptHeader,
        /// 0 interrupt, 2 NMI, 3 exception.
        pub deliverable_type: u32,
        /// 0.
        pub reserved: u32,
    }

    /// [`X64_SIPI_INTERCEPT`](super::MessageType::X64_SIPI_INTERCEPT).
    pub struct SipiIntercept {
        /// Where.
        pub header: InterceptHeader,
        /// To which VP.
        pub target_vp_index: VpIndex,
        /// Page of the entry point.
        pub vector: u32,
    }

    /// [`X64_APIC_EOI`](super::MessageType::X64_APIC_EOI). Without the header.
    pub struct ApicEoi {
        /// Which VP.
        pub vp_index: VpIndex,
        /// Vector of the interrupt that ended.
        pub vector: u32,
    }

    /// [`UNSUPPORTED_FEATURE`](super::MessageType::UNSUPPORTED_FEATURE). Without the header.
    pub struct UnsupportedFeature {
        /// Which VP.
        pub vp_index: VpIndex,
        /// What.
        pub feature: u32,
        /// More about it.
        pub parameter: u64,
    }

    /// [`INVALID_VP_REGISTER_VALUE`](super::MessageType::INVALID_VP_REGISTER_VALUE). Without the header.
    pub struct InvalidVpRegisterValue {
        /// Which VP.
        pub vp_index: VpIndex,
        /// 0.
        pub reserved: u32,
    }
}

layout!(
    InterceptHeader, 40, vp_index @ 0, instruction @ 4, access_type @ 5, execution_state @ 6, cs @ 8, rip @ 24,
    rflags @ 32
);
layout!(
    MemoryIntercept, 80, cache_type @ 40, instruction_byte_count @ 44, access_info @ 45, tpr_priority @ 46,
    gva @ 48, gpa @ 56, instruction_bytes @ 64
);
layout!(
    IoPortIntercept, 128, port @ 40, access_info @ 42, instruction_byte_count @ 43, rax @ 48,
    instruction_bytes @ 56, ds @ 72, es @ 88, rcx @ 104, rsi @ 112, rdi @ 120
);
layout!(MsrIntercept, 64, msr @ 40, rdx @ 48, rax @ 56);
layout!(CpuidIntercept, 104, rax @ 40, rcx @ 48, rdx @ 56, rbx @ 64, default_rax @ 72, default_rbx @ 96);
layout!(
    ExceptionIntercept, 240, vector @ 40, info @ 42, instruction_byte_count @ 43, error_code @ 44, parameter @ 48,
    instruction_bytes @ 64, ds @ 80, ss @ 96, gp @ 112
);
layout!(HypercallIntercept, 200, rax @ 40, rbx @ 48, rcx @ 56, rdx @ 64, r8 @ 72, rsi @ 80, rdi @ 88, xmm @ 96, flags @ 192);
layout!(SintDeliverable, 48, deliverable_sints @ 40);
layout!(InterruptionDeliverable, 48, deliverable_type @ 40);
layout!(SipiIntercept, 48, target_vp_index @ 40, vector @ 44);
layout!(ApicEoi, 8, vp_index @ 0, vector @ 4);
layout!(UnsupportedFeature, 16, vp_index @ 0, feature @ 4, parameter @ 8);
layout!(InvalidVpRegisterValue, 8, vp_index @ 0);

open_enum! {
    /// TLFS `HV_INTERCEPT_ACCESS_TYPE`.
    pub struct AccessType(u8) {
        /// Read.
        READ = 0;
        /// Write.
        WRITE = 1;
        /// Execution.
        EXECUTE = 2;
    }
}

/// Fifth byte of the header.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct InstructionInfo {
    /// Bytes of the instruction, 1 to 15.
    #[bits(4)]
    pub length: u8,
    /// CR8.
    #[bits(4)]
    pub cr8: u8,
}

/// TLFS `HV_X64_VP_EXECUTION_STATE`.
#[bitfield(u16)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ExecutionState {
    /// Privilege level.
    #[bits(2)]
    pub cpl: u8,
    /// CR0.PE.
    pub cr0_pe: bool,
    /// CR0.AM.
    pub cr0_am: bool,
    /// EFER.LMA.
    pub efer_lma: bool,
    /// Breakpoints are active.
    pub debug_active: bool,
    /// An event was being delivered.
    pub interruption_pending: bool,
    /// Virtual trust level.
    #[bits(4)]
    pub vtl: u8,
    /// In an enclave.
    pub enclave_mode: bool,
    /// After STI or a load of SS.
    pub interrupt_shadow: bool,
    /// During a virtualization exception.
    pub virtualization_fault_active: bool,
    #[bits(2)]
    __: u8,
}

/// TLFS `HV_X64_MEMORY_ACCESS_INFO`.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct MemoryAccessInfo {
    /// The virtual address is known.
    pub gva_valid: bool,
    /// The physical address is the translation of it.
    pub gva_gpa_valid: bool,
    /// The access writes the output of a hypercall.
    pub hypercall_output_pending: bool,
    /// The TLB is locked.
    pub tlb_locked: bool,
    #[bits(4)]
    __: u8,
}

/// TLFS `HV_X64_IO_PORT_ACCESS_INFO`.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct IoPortAccessInfo {
    /// Bytes: 1, 2, 4.
    #[bits(3)]
    pub size: u8,
    /// INS or OUTS.
    pub is_string: bool,
    /// With a repeat prefix.
    pub is_rep: bool,
    #[bits(3)]
    __: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_payload_fits_a_message() {
        let sizes = [
            size_of::<MemoryIntercept>(),
            size_of::<IoPortIntercept>(),
            size_of::<ExceptionIntercept>(),
            size_of::<HypercallIntercept>(),
        ];
        assert!(sizes.iter().all(|&size| size <= super::super::PAYLOAD_MAX));
    }

    #[test]
    fn mode_and_instruction_have_the_documented_bits() {
        let long = ExecutionState::new().with_cr0_pe(true).with_efer_lma(true).with_cpl(3);
        assert_eq!(long.into_bits(), 0b1_0111);
        assert_eq!(ExecutionState::new().with_interruption_pending(true).into_bits(), 1 << 6);
        assert_eq!(ExecutionState::new().with_interrupt_shadow(true).into_bits(), 1 << 12);
        assert_eq!(InstructionInfo::new().with_length(3).with_cr8(0xF).into_bits(), 0xF3);
        assert_eq!(IoPortAccessInfo::from_bits(0b11100).size(), 4);
        assert!(IoPortAccessInfo::from_bits(0b11000).is_rep());
    }
}
