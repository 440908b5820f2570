//! What the parent is told it may use, and what of the processor the hypervisor uses.

use super::FACTS;
use arch_x86::apic;
use arch_x86::cpu;
use hvdef::cpuid::{Features, Hints, PartitionPrivileges};
use zemindef::info::CpuFeatures;

/// Privileges and features of the parent, CPUID 0x40000003: EAX and EBX, and EDX.
pub const PARENT_FEATURES: (PartitionPrivileges, Features) = (
    PartitionPrivileges::new()
        .with_access_vp_runtime(true)
        .with_access_reference_counter(true)
        .with_access_synic(true)
        .with_access_synthetic_timers(true)
        .with_access_apic(true)
        .with_access_hypercall(true)
        .with_access_vp_index(true)
        .with_access_reference_tsc(true)
        .with_access_frequency(true)
        .with_create_partitions(true)
        .with_access_partition_id(true)
        .with_access_memory_pool(true)
        .with_post_messages(true)
        .with_signal_events(true)
        .with_create_port(true)
        .with_connect_port(true)
        .with_access_stats(true)
        .with_cpu_management(true),
    Features::new()
        .with_frequency_msrs(true)
        .with_guest_crash_msrs(true)
        .with_direct_synthetic_timers(true),
);

/// Hints for the parent, CPUID 0x40000004 EAX. Each spares it exits: end of interrupt through the VP assist page, one
/// call for an interrupt or a flush of many VPs.
pub const PARENT_HINTS: Hints = Hints::new()
    .with_hypercall_for_remote_flush(true)
    .with_msr_for_apic(true)
    .with_deprecate_auto_eoi(true)
    .with_hypercall_for_ipi(true)
    .with_extended_processor_masks(true);

/// What of the processor is in use.
pub fn cpu_features() -> CpuFeatures {
    let capabilities = FACTS.get().capabilities;
    let invariant_tsc = cpu::cpuid(0x8000_0007, 0).edx & 1 << 8 != 0;
    let xsave = cpu::cpuid(1, 0).ecx & 1 << 26 != 0;
    CpuFeatures::SLAT
        .with(CpuFeatures::NEXT_RIP, capabilities.next_rip)
        .with(CpuFeatures::DECODE_ASSISTS, capabilities.decode_assists)
        .with(CpuFeatures::FLUSH_BY_ASID, capabilities.flush_by_asid)
        .with(CpuFeatures::HUGE_PAGES, capabilities.huge_pages)
        .with(CpuFeatures::PAUSE_FILTER, capabilities.pause_filter)
        .with(CpuFeatures::X2APIC, apic::has_x2apic())
        .with(CpuFeatures::INVARIANT_TSC, invariant_tsc)
        .with(CpuFeatures::XSAVE, xsave)
}
