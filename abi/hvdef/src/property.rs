//! Properties of the system and of partitions (Linux `hvhdk_mini.h`; the rest from the published VMM crates).

use bitfield_struct::bitfield;
use wire::{layout, open_enum, wire};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

open_enum! {
    /// Properties of GET_SYSTEM_PROPERTY and SET_SYSTEM_PROPERTY.
    pub struct SystemProperty(u32) {
        /// Set: [`SleepStateInfo`](crate::hypercall::system::SleepStateInfo), what to write for a sleep state.
        SLEEP_STATE = 3;
        /// Get: [`SchedulerType`].
        SCHEDULER_TYPE = 15;
        /// Get: which processor features can be switched.
        DYNAMIC_PROCESSOR_FEATURES = 21;
        /// Get: page range of the crash dump area, base in bits 39:0, further pages in bits 63:40.
        CRASH_DUMP_AREA = 47;
    }
}

open_enum! {
    /// Value of [`SystemProperty::SCHEDULER_TYPE`].
    pub struct SchedulerType(u32) {
        /// The hypervisor schedules VPs on LPs, without regard to hardware threads.
        CLASSIC = 1;
        /// The hypervisor schedules VPs on LPs.
        CLASSIC_SMT = 2;
        /// The hypervisor schedules VPs on cores.
        CORE = 3;
        /// The root dispatches VPs.
        ROOT = 4;
    }
}

open_enum! {
    /// Properties of GET_PARTITION_PROPERTY, SET_PARTITION_PROPERTY and, from 0x00090000, GET_PARTITION_PROPERTY_EX.
    pub struct PartitionProperty(u32) {
        /// Privilege mask. Not after initialization.
        PRIVILEGE_FLAGS = 0x0001_0000;
        /// [`SyntheticProcessorFeatures`]: what the partition's CPUID offers. Before initialization.
        SYNTHETIC_PROC_FEATURES = 0x0001_0001;
        /// Suspends all VPs.
        SUSPEND = 0x0002_0000;
        /// CPU reserve: of one LP for each VP, in units of 1/65536.
        CPU_RESERVE = 0x0002_0001;
        /// CPU limit, in the same units.
        CPU_CAP = 0x0002_0002;
        /// CPU weight, 1 to 10,000.
        CPU_WEIGHT = 0x0002_0003;
        /// CPU group.
        CPU_GROUP_ID = 0x0002_0004;
        /// Scheduling by root and hypervisor together.
        INTEGRATED_SCHEDULER_ENABLED = 0x0002_0005;
        /// 1: reference time and TSC of the partition stand still.
        TIME_FREEZE = 0x0003_0003;
        /// Reference time in units of 100 ns.
        REFERENCE_TIME = 0x0003_0005;
        /// VPs of one socket.
        PROCESSORS_PER_SOCKET = 0x0005_0003;
        /// 1: accessed and dirty bits of GPA pages are kept.
        GPA_PAGE_ACCESS_TRACKING = 0x0005_0005;
        /// [`UnimplementedMsrAction`].
        UNIMPLEMENTED_MSR_ACTION = 0x0005_0017;
        /// [`ProcessorVendor`].
        PROCESSOR_VENDOR = 0x0006_0000;
        /// First bank of processor features.
        PROCESSOR_FEATURES_DEPRECATED = 0x0006_0001;
        /// XSAVE features.
        PROCESSOR_XSAVE_FEATURES = 0x0006_0002;
        /// Bytes that CLFLUSH flushes.
        PROCESSOR_CL_FLUSH_SIZE = 0x0006_0003;
        /// Bits of a physical address.
        PHYSICAL_ADDRESS_WIDTH = 0x0006_0006;
        /// XSAVE components the partition may use.
        XSAVE_STATES = 0x0006_0007;
        /// Bytes of an XSAVE area with all of them.
        MAX_XSAVE_DATA_SIZE = 0x0006_0008;
        /// TSC frequency in Hz.
        PROCESSOR_CLOCK_FREQUENCY = 0x0006_0009;
        /// First bank of processor features.
        PROCESSOR_FEATURES0 = 0x0006_000A;
        /// Second bank of processor features.
        PROCESSOR_FEATURES1 = 0x0006_000B;
        /// Guest OS id MSR.
        GUEST_OS_ID = 0x0007_0000;
        /// [`VmmCapabilities`].
        VMM_CAPABILITIES = 0x0009_0007;
        /// [`AssignableSyntheticProcessorFeatures`].
        ASSIGNABLE_SYNTHETIC_PROC_FEATURES = 0x0009_0009;
    }
}

open_enum! {
    /// Value of [`PartitionProperty::PROCESSOR_VENDOR`].
    pub struct ProcessorVendor(u64) {
        /// AMD.
        AMD = 0;
        /// Intel.
        INTEL = 1;
        /// Hygon.
        HYGON = 2;
    }
}

open_enum! {
    /// Value of [`PartitionProperty::UNIMPLEMENTED_MSR_ACTION`]: an access to an MSR that the hypervisor does not know.
    pub struct UnimplementedMsrAction(u64) {
        /// Faults.
        FAULT = 0;
        /// Writes are ignored, reads are zero.
        IGNORE_WRITE_READ_ZERO = 1;
    }
}

/// Value of [`PartitionProperty::SYNTHETIC_PROC_FEATURES`], bank 0: which parts of this ABI a child gets.
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SyntheticProcessorFeatures {
    /// CPUID leaf 1 tells of a hypervisor.
    pub hypervisor_present: bool,
    /// Leaves 0x40000000 to 0x40000006.
    pub hv1: bool,
    /// VP run time MSR.
    pub access_vp_run_time_reg: bool,
    /// Reference time MSR.
    pub access_partition_reference_counter: bool,
    /// SynIC MSRs.
    pub access_synic_regs: bool,
    /// Synthetic timer MSRs.
    pub access_synthetic_timer_regs: bool,
    /// APIC MSRs and VP assist page.
    pub access_intr_ctrl_regs: bool,
    /// Guest id and hypercall MSRs.
    pub access_hypercall_regs: bool,
    /// VP index MSR.
    pub access_vp_index: bool,
    /// Reference TSC MSR.
    pub access_partition_reference_tsc: bool,
    /// Guest idle MSR.
    pub access_guest_idle_reg: bool,
    /// Frequency MSRs.
    pub access_frequency_regs: bool,
    #[bits(3)]
    __: u8,
    /// Extended ranges in flush lists.
    pub extended_gva_ranges_for_flush: bool,
    #[bits(2)]
    __: u8,
    /// Output of fast hypercalls in registers.
    pub fast_hypercall_output: bool,
    __: bool,
    /// START_VP.
    pub start_virtual_processor: bool,
    __: bool,
    /// Direct synthetic timers.
    pub direct_synthetic_timers: bool,
    __: bool,
    /// VP sets.
    pub extended_processor_masks: bool,
    /// TLB flush hypercalls.
    pub tb_flush_hypercalls: bool,
    /// IPI hypercalls.
    pub synthetic_cluster_ipi: bool,
    /// NOTIFY_LONG_SPIN_WAIT.
    pub notify_long_spin_wait: bool,
    /// NUMA distances.
    pub query_numa_distance: bool,
    /// SIGNAL_EVENT.
    pub signal_events: bool,
    /// RETARGET_DEVICE_INTERRUPT.
    pub retarget_device_interrupt: bool,
    /// Restoring time.
    pub restore_time: bool,
    /// Enlightened VMCS.
    pub enlightened_vmcs: bool,
    #[bits(5)]
    __: u8,
    /// Own VP registers by hypercall.
    pub access_vp_regs: bool,
    #[bits(9)]
    __: u16,
    /// INSTALL_INTERCEPT.
    pub install_intercept: bool,
    #[bits(4)]
    __: u8,
    /// FLUSH_GUEST_PHYSICAL_ADDRESS_SPACE.
    pub flush_guest_physical_address_space: bool,
    #[bits(10)]
    __: u16,
}

wire! {
    /// Value of [`PartitionProperty::VMM_CAPABILITIES`].
    pub struct VmmCapabilities {
        /// Words of capabilities: 1.
        pub bank_count: u16,
        /// 0.
        pub reserved: [u16; 3],
        /// What there is.
        pub capabilities: VmmCapabilityFlags,
    }

    /// Value of [`PartitionProperty::ASSIGNABLE_SYNTHETIC_PROC_FEATURES`].
    pub struct AssignableSyntheticProcessorFeatures {
        /// Words of features: 1.
        pub bank_count: u16,
        /// 0.
        pub reserved: [u16; 3],
        /// What a child can get.
        pub features: SyntheticProcessorFeatures,
    }
}
layout!(VmmCapabilities, 16, bank_count @ 0, capabilities @ 8);
layout!(AssignableSyntheticProcessorFeatures, 16, bank_count @ 0, features @ 8);

/// Flags of [`VmmCapabilities`].
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct VmmCapabilityFlags {
    /// Mapping keeps the adjustable flag.
    pub map_gpa_preserve_adjustable: bool,
    /// The VMM may say where overlays go.
    pub vmm_can_provide_overlay_gpfn: bool,
    /// VP affinity property.
    pub vp_affinity_property: bool,
    __: bool,
    /// [`PartitionProperty::ASSIGNABLE_SYNTHETIC_PROC_FEATURES`].
    pub assignable_synthetic_proc_features: bool,
    __: bool,
    /// Integrated scheduler.
    pub vmm_enable_integrated_scheduler: bool,
    #[bits(57)]
    __: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_features_that_vmms_ask_for_are_understood() {
        let plain = SyntheticProcessorFeatures::from_bits(0x0020_0040_0640_0FFB);
        assert!(plain.hypervisor_present() && plain.hv1() && !plain.access_vp_run_time_reg());
        assert!(plain.access_frequency_regs() && plain.direct_synthetic_timers());
        assert!(plain.tb_flush_hypercalls() && plain.synthetic_cluster_ipi());
        assert!(plain.access_vp_regs() && plain.flush_guest_physical_address_space());
        let vmbus = SyntheticProcessorFeatures::from_bits(0x7F44_8FFF);
        assert!(vmbus.extended_gva_ranges_for_flush() && vmbus.fast_hypercall_output());
        assert!(vmbus.extended_processor_masks() && vmbus.notify_long_spin_wait());
        assert!(
            vmbus.query_numa_distance()
                && vmbus.signal_events()
                && vmbus.retarget_device_interrupt()
        );
        assert_eq!(
            SyntheticProcessorFeatures::new().with_install_intercept(true).into_bits(),
            1 << 48
        );
        assert_eq!(
            SyntheticProcessorFeatures::new().with_enlightened_vmcs(true).into_bits(),
            1 << 32
        );
    }

    #[test]
    fn capabilities_have_the_documented_bits() {
        let assignable = VmmCapabilityFlags::new().with_assignable_synthetic_proc_features(true);
        assert_eq!(assignable.into_bits(), 1 << 4);
        assert_eq!(
            VmmCapabilityFlags::new().with_vmm_enable_integrated_scheduler(true).into_bits(),
            1 << 6
        );
    }
}
