//! What a parent wants to see or to answer in advance (TLFS, "Intercepts"; layouts of the results from the published
//! VMM crates).

use crate::{PartitionId, VpIndex};
use bitfield_struct::bitfield;
use wire::{layout, open_enum, wire};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

wire! {
    /// [`INSTALL_INTERCEPT`](super::HypercallCode::INSTALL_INTERCEPT).
    pub struct InstallIntercept {
        /// In which partition.
        pub partition_id: PartitionId,
        /// Which accesses; none removes the intercept.
        pub access: AccessMask,
        /// What.
        pub intercept_type: InterceptType,
        /// Which of them: port, leaf, vector, MSR.
        pub parameter: u64,
    }

    /// Parameters of [`RegisterInterceptResult`] for CPUID: `(default & !mask) | (value & mask)` for each register, in
    /// the order EAX, EBX, ECX, EDX.
    pub struct CpuidInterceptResult {
        /// Leaf.
        pub eax: u32,
        /// Subleaf.
        pub ecx: u32,
        /// Not 0: for this subleaf only.
        pub subleaf_specific: u8,
        /// Not 0: the result wins over what the hypervisor computes.
        pub always_override: u8,
        /// 0.
        pub padding: u16,
        /// The registers.
        pub registers: [MaskedValue; 4],
    }

    /// A register's new bits.
    pub struct MaskedValue {
        /// Bits.
        pub value: u32,
        /// Which of them count.
        pub mask: u32,
    }

    /// Parameters of [`RegisterInterceptResult`] for an MSR.
    pub struct MsrInterceptResult {
        /// Which.
        pub index: u32,
        /// 1 read, 2 write.
        pub access: u32,
        /// What to do.
        pub action: u32,
    }

    /// [`GET_VP_CPUID_VALUES`](super::HypercallCode::GET_VP_CPUID_VALUES): list of [`CpuidLeaf`] follows; output is a
    /// list of [`CpuidRegisters`].
    pub struct GetVpCpuidValues {
        /// In which partition.
        pub partition_id: PartitionId,
        /// On which VP.
        pub vp_index: VpIndex,
        /// How.
        pub flags: CpuidValuesFlags,
        /// 0.
        pub reserved: [u32; 2],
    }

    /// One question of [`GetVpCpuidValues`].
    pub struct CpuidLeaf {
        /// Leaf.
        pub eax: u32,
        /// Subleaf.
        pub ecx: u32,
        /// As if XCR0 were this.
        pub xfem: u64,
        /// As if XSS were this.
        pub xss: u64,
    }

    /// One answer of [`GetVpCpuidValues`].
    pub struct CpuidRegisters {
        /// EAX.
        pub eax: u32,
        /// EBX.
        pub ebx: u32,
        /// ECX.
        pub ecx: u32,
        /// EDX.
        pub edx: u32,
    }

    /// [`MMIO_READ`](super::HypercallCode::MMIO_READ). The output is the data, 64 bytes.
    pub struct MmioRead {
        /// From where.
        pub gpa: u64,
        /// How many bytes.
        pub size: u32,
        /// 0.
        pub reserved: u32,
    }

    /// [`MMIO_WRITE`](super::HypercallCode::MMIO_WRITE).
    pub struct MmioWrite {
        /// To where.
        pub gpa: u64,
        /// How many bytes.
        pub size: u32,
        /// 0.
        pub reserved: u32,
        /// What.
        pub data: [u8; 64],
    }
}

/// [`REGISTER_INTERCEPT_RESULT`](super::HypercallCode::REGISTER_INTERCEPT_RESULT). Packed: it ends after its parameters.
#[repr(C, packed(4))]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RegisterInterceptResult {
    /// In which partition.
    pub partition_id: PartitionId,
    /// For which VP; [`VpIndex::ANY`] for all.
    pub vp_index: VpIndex,
    /// What: CPUID or MSR.
    pub intercept_type: InterceptType,
    /// A [`CpuidInterceptResult`] or an [`MsrInterceptResult`].
    pub parameters: [u8; 44],
}

layout!(InstallIntercept, 24, partition_id @ 0, access @ 8, intercept_type @ 12, parameter @ 16);
layout!(RegisterInterceptResult, 60, partition_id @ 0, vp_index @ 8, intercept_type @ 12, parameters @ 16);
layout!(
    CpuidInterceptResult, 44, eax @ 0, ecx @ 4, subleaf_specific @ 8, always_override @ 9, padding @ 10,
    registers @ 12
);
layout!(MsrInterceptResult, 12, index @ 0, access @ 4, action @ 8);
layout!(GetVpCpuidValues, 24, partition_id @ 0, vp_index @ 8, flags @ 12, reserved @ 16);
layout!(CpuidLeaf, 24, eax @ 0, ecx @ 4, xfem @ 8, xss @ 16);
layout!(CpuidRegisters, 16);
layout!(MmioRead, 16, gpa @ 0, size @ 8);
layout!(MmioWrite, 80, gpa @ 0, size @ 8, data @ 16);

open_enum! {
    /// TLFS `HV_INTERCEPT_TYPE` (x64).
    pub struct InterceptType(u32) {
        /// A port; parameter u16.
        X64_IO_PORT = 0x00;
        /// All MSRs.
        X64_MSR = 0x01;
        /// CPUID; parameter the leaf.
        X64_CPUID = 0x02;
        /// An exception; parameter the vector.
        EXCEPTION = 0x03;
        /// A register.
        REGISTER = 0x04;
        /// Memory-mapped I/O.
        MMIO = 0x05;
        /// All CPUID.
        X64_GLOBAL_CPUID = 0x06;
        /// A system management interrupt by the APIC.
        X64_APIC_SMI = 0x07;
        /// Hypercalls the hypervisor does not handle.
        HYPERCALL = 0x08;
        /// INIT and start-up by the APIC.
        X64_APIC_INIT_SIPI = 0x09;
        /// Reads of the microcode level.
        MC_UPDATE_PATCH_LEVEL_MSR_READ = 0x0A;
        /// Writes to the APIC.
        X64_APIC_WRITE = 0x0B;
        /// One MSR; parameter its index.
        X64_MSR_INDEX = 0x0C;
        /// A message or event for a connection that does not exist.
        UNKNOWN_SYNIC_CONNECTION = 0x0D;
        /// End of interrupt.
        X64_APIC_EOI = 0x0E;
        /// RETARGET_DEVICE_INTERRUPT for a device that does not exist.
        RETARGET_INTERRUPT_WITH_UNKNOWN_DEVICE_ID = 0x0F;
        /// Ports; parameter the first in bits 15:0 and the last in bits 31:16.
        X64_IO_PORT_RANGE = 0x11;
    }
}

/// TLFS `HV_INTERCEPT_ACCESS_TYPE_MASK`.
#[bitfield(u32)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct AccessMask {
    /// Reads.
    pub read: bool,
    /// Writes.
    pub write: bool,
    /// Execution; for an instruction, its execution.
    pub execute: bool,
    #[bits(29)]
    __: u32,
}

/// Flags of [`GetVpCpuidValues`].
#[bitfield(u32)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CpuidValuesFlags {
    /// Take XCR0 and XSS from the VP.
    pub use_vp_xfem_xss: bool,
    /// As the guest would see it, with registered results.
    pub apply_registered_values: bool,
    #[bits(30)]
    __: u32,
}

impl MaskedValue {
    /// What becomes of `default`.
    pub const fn apply(self, default: u32) -> u32 {
        default & !self.mask | self.value & self.mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    #[test]
    fn a_masked_value_replaces_only_its_bits() {
        assert_eq!(MaskedValue { value: 0xFF, mask: 0x0F }.apply(0xA0), 0xAF);
        assert_eq!(MaskedValue { value: 0x00, mask: 0x80 }.apply(0xA0), 0x20);
    }

    #[test]
    fn parameters_of_a_cpuid_result_are_read_from_their_bytes() {
        let mut input = RegisterInterceptResult::new_zeroed();
        input.intercept_type = InterceptType::X64_CPUID;
        input.parameters[0] = 1;
        input.parameters[12 + 2 * 8 + 3] = 0x80;
        let (cpuid, rest) = CpuidInterceptResult::read_from_prefix(&input.parameters).unwrap();
        assert!(rest.is_empty());
        assert_eq!((cpuid.eax, cpuid.registers[2].value), (1, 1 << 31));
    }
}
