//! CPUID as a child sees it: the processor's answer without what a child does not get, and the hypervisor's leaves as its
//! synthetic features say.

use super::cpuid::{self, leaf1};
use crate::vp::{State, Vp};
use crate::{lp, partition};
use arch_x86::cpu::{self, CR4_OSXSAVE, CpuidResult};
use arch_x86::fpu::SUPPORTED_XCR0;
use arch_x86::vcpu::SystemReg;
use core::sync::atomic::Ordering;
use hvdef::cpuid as hv;
use hvdef::cpuid::{Features, Hints, PartitionPrivileges};
use hvdef::property::SyntheticProcessorFeatures;

/// Answers CPUID.
pub fn handle(vp: &Vp, state: &mut State) {
    let (leaf, subleaf) = cpuid::operands(state);
    let result = match leaf {
        0x4000_0000..=0x4000_FFFF => synthetic(vp, leaf),
        _ => native(vp, state, leaf, subleaf),
    };
    cpuid::answer(state, result);
}

fn native(vp: &Vp, state: &State, leaf: u32, subleaf: u32) -> CpuidResult {
    let mut result = cpu::cpuid(leaf, subleaf);
    let nothing = CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 };
    match leaf {
        1 => {
            let osxsave = state.vcpu.system(SystemReg::Cr4) & CR4_OSXSAVE != 0;
            let hidden = leaf1::MONITOR | leaf1::VMX | leaf1::TSC_DEADLINE | leaf1::OSXSAVE;
            result.ecx = result.ecx & !hidden
                | leaf1::HYPERVISOR
                | leaf1::X2APIC
                | if osxsave { leaf1::OSXSAVE } else { 0 };
            result.ebx =
                result.ebx & 0xFF00 | (vp.partition.vp_count() & 0xFF) << 16 | vp.apic_id << 24;
            // No MTRRs, no machine check, no performance events: their registers are not a child's.
            result.edx &= !(1 << 12 | 1 << 7 | 1 << 14);
        }
        4 | 5 | 6 | 0xA | 0x12 | 0x14 | 0x8000_001B | 0x8000_001C => result = nothing,
        0xB | 0x1F => result = CpuidResult { edx: vp.apic_id, ecx: subleaf, ..nothing },
        0xD if subleaf == 0 => {
            result.eax &= SUPPORTED_XCR0 as u32;
            result.edx = 0;
        }
        0x8000_0001 => result.ecx &= !(1 << 2 | 1 << 12),
        0x8000_0008 => result.ecx = 0,
        0x8000_000A | 0x8000_001F => result = nothing,
        0x8000_001E => result = CpuidResult { eax: vp.apic_id, ebx: vp.apic_id, ..nothing },
        _ => {}
    }
    result
}

fn features(vp: &Vp) -> SyntheticProcessorFeatures {
    SyntheticProcessorFeatures::from_bits(vp.partition.synthetic_features.load(Ordering::Relaxed))
}

/// The features that a child can be given.
pub const ASSIGNABLE: SyntheticProcessorFeatures = SyntheticProcessorFeatures::new()
    .with_hypervisor_present(true)
    .with_hv1(true)
    .with_access_vp_run_time_reg(true)
    .with_access_partition_reference_counter(true)
    .with_access_synic_regs(true)
    .with_access_synthetic_timer_regs(true)
    .with_access_intr_ctrl_regs(true)
    .with_access_hypercall_regs(true)
    .with_access_vp_index(true)
    .with_access_partition_reference_tsc(true)
    .with_access_frequency_regs(true)
    .with_direct_synthetic_timers(true)
    .with_tb_flush_hypercalls(true)
    .with_synthetic_cluster_ipi(true);

/// Privileges a child has by its synthetic features.
pub fn privileges(features: SyntheticProcessorFeatures) -> PartitionPrivileges {
    PartitionPrivileges::from_bits(features.into_bits() >> 2 & 0x1FF)
        .with_access_reference_tsc(features.access_partition_reference_tsc())
        .with_access_frequency(features.access_frequency_regs())
        .with_post_messages(features.access_synic_regs())
        .with_signal_events(features.access_synic_regs())
}

fn synthetic(vp: &Vp, leaf: u32) -> CpuidResult {
    let features = features(vp);
    let answer = |eax, ebx, ecx, edx| CpuidResult { eax, ebx, ecx, edx };
    if !features.hv1() {
        return answer(0, 0, 0, 0);
    }
    match leaf {
        hv::VENDOR_AND_MAX => {
            answer(hv::IMPLEMENTATION_LIMITS, hv::VENDOR_EBX, hv::VENDOR_ECX, hv::VENDOR_EDX)
        }
        hv::INTERFACE => answer(hv::INTERFACE_SIGNATURE, 0, 0, 0),
        hv::VERSION => answer(27_744, 10 << 16, 0, 0),
        hv::FEATURES => {
            let mask = privileges(features);
            let edx = Features::new()
                .with_frequency_msrs(features.access_frequency_regs())
                .with_guest_crash_msrs(true)
                .with_direct_synthetic_timers(features.direct_synthetic_timers());
            answer(mask.eax(), mask.ebx(), 0, edx.into_bits())
        }
        hv::ENLIGHTENMENTS => {
            let hints = Hints::new()
                .with_hypercall_for_remote_flush(features.tb_flush_hypercalls())
                .with_msr_for_apic(features.access_intr_ctrl_regs())
                .with_hypercall_for_ipi(features.synthetic_cluster_ipi())
                .with_deprecate_auto_eoi(true)
                .with_relaxed_timing(true);
            answer(hints.into_bits(), u32::MAX, 0, 0)
        }
        hv::IMPLEMENTATION_LIMITS => answer(partition::MAX_VPS as u32, lp::MAX_LPS as u32, 0, 0),
        _ => answer(0, 0, 0, 0),
    }
}
