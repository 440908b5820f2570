//! The hypervisor's leaves (TLFS, "Feature and Interface Discovery").

use crate::entry::ZERO;
use crate::{Config, Registers};
use hvdef::cpuid as leaf;
use hvdef::cpuid::{Features, Hints, HintsEcx, PartitionPrivileges};
use hvdef::property::SyntheticProcessorFeatures;

/// Spins before a guest tells that it waits for long, if it may.
const LONG_SPIN: u32 = 0xFFF;
/// The highest leaf.
const HIGHEST: u32 = leaf::HARDWARE_FEATURES;
/// Leaf 0x40000006 EAX: MSR bitmaps, second-level translation.
const HARDWARE: u32 = 1 << 1 | 1 << 3;

/// The rights that a child has, by what its parent asked for: what leaf 0x40000003 says in EAX and EBX.
pub const fn privileges(
    wanted: SyntheticProcessorFeatures,
    tsc_invariant: bool,
) -> PartitionPrivileges {
    PartitionPrivileges::new()
        .with_access_vp_runtime(wanted.access_vp_run_time_reg())
        .with_access_reference_counter(wanted.access_partition_reference_counter())
        .with_access_synic(wanted.access_synic_regs())
        .with_access_synthetic_timers(wanted.access_synthetic_timer_regs())
        .with_access_apic(wanted.access_intr_ctrl_regs())
        .with_access_hypercall(wanted.access_hypercall_regs())
        .with_access_vp_index(wanted.access_vp_index())
        .with_access_reference_tsc(wanted.access_partition_reference_tsc())
        .with_access_guest_idle(wanted.access_guest_idle_reg())
        .with_access_frequency(wanted.access_frequency_regs())
        .with_access_tsc_invariant(tsc_invariant)
        .with_post_messages(wanted.signal_events() && wanted.access_synic_regs())
        .with_signal_events(wanted.signal_events())
        .with_access_vp_registers(wanted.access_vp_regs())
        .with_start_virtual_processor(wanted.start_virtual_processor())
}

fn features(wanted: SyntheticProcessorFeatures) -> Features {
    Features::new()
        .with_xmm_fast_output(wanted.fast_hypercall_output())
        .with_virtual_guest_idle(wanted.access_guest_idle_reg())
        .with_numa_distance(wanted.query_numa_distance())
        .with_frequency_msrs(wanted.access_frequency_regs())
        .with_guest_crash_msrs(true)
        .with_extended_gva_ranges(wanted.extended_gva_ranges_for_flush())
        .with_direct_synthetic_timers(wanted.direct_synthetic_timers())
}

fn hints(config: &Config) -> Hints {
    let wanted = config.synthetic;
    Hints::new()
        .with_hypercall_for_remote_flush(wanted.tb_flush_hypercalls())
        .with_msr_for_apic(wanted.access_intr_ctrl_regs() && config.recommend_apic_msrs)
        .with_relaxed_timing(true)
        .with_deprecate_auto_eoi(true)
        .with_hypercall_for_ipi(wanted.synthetic_cluster_ipi())
        .with_extended_processor_masks(wanted.extended_processor_masks())
}

/// The answer to one of the leaves from 0x40000000 to [`HIGHEST`], for a partition that has them.
pub(crate) fn answer(config: &Config, number: u32) -> Registers {
    let wanted = config.synthetic;
    match number {
        leaf::VENDOR_AND_MAX => Registers {
            eax: HIGHEST,
            ebx: leaf::VENDOR_EBX,
            ecx: leaf::VENDOR_ECX,
            edx: leaf::VENDOR_EDX,
        },
        leaf::INTERFACE => Registers { eax: leaf::INTERFACE_SIGNATURE, ..ZERO },
        leaf::VERSION => config.version,
        leaf::FEATURES => {
            let rights = privileges(wanted, config.tsc_invariant);
            let edx = features(wanted).into_bits();
            Registers { eax: rights.eax(), ebx: rights.ebx(), ecx: 0, edx }
        }
        leaf::ENLIGHTENMENTS => {
            let ebx = if wanted.notify_long_spin_wait() { LONG_SPIN } else { u32::MAX };
            let ecx = HintsEcx::new().with_physical_address_bits(config.address_bits & 0x7F);
            Registers { eax: hints(config).into_bits(), ebx, ecx: ecx.into_bits(), edx: 0 }
        }
        leaf::IMPLEMENTATION_LIMITS => {
            Registers { eax: config.limits.vps, ebx: config.limits.lps, ..ZERO }
        }
        leaf::HARDWARE_FEATURES => Registers { eax: HARDWARE, ..ZERO },
        _ => ZERO,
    }
}

/// The leaves there are.
pub(crate) fn leaves() -> core::ops::RangeInclusive<u32> {
    leaf::VENDOR_AND_MAX..=HIGHEST
}
