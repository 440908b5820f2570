//! What a child can be given of the hypervisor's features, and the privileges that come with them.

use hvdef::cpuid::PartitionPrivileges;
use hvdef::property::SyntheticProcessorFeatures;

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
    .with_access_guest_idle_reg(true)
    .with_access_frequency_regs(true)
    .with_direct_synthetic_timers(true)
    .with_tb_flush_hypercalls(true)
    .with_synthetic_cluster_ipi(true)
    .with_notify_long_spin_wait(true)
    .with_extended_processor_masks(true)
    .with_signal_events(true);

/// Privileges a child has by its synthetic features. Messages and events need no more than a SynIC: what connections there
/// are is its parent's to say.
pub fn privileges(features: SyntheticProcessorFeatures) -> PartitionPrivileges {
    let granted =
        SyntheticProcessorFeatures::from_bits(features.into_bits() & ASSIGNABLE.into_bits());
    let communicates = granted.access_synic_regs();
    cpuid_policy::privileges(granted, false)
        .with_post_messages(communicates)
        .with_signal_events(communicates)
}
