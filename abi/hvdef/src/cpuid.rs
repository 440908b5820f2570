//! CPUID leaves of the hypervisor (TLFS, "Feature and Interface Discovery").

use bitfield_struct::bitfield;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// EAX: highest leaf; EBX, ECX, EDX: the vendor.
pub const VENDOR_AND_MAX: u32 = 0x4000_0000;
/// EAX: [`INTERFACE_SIGNATURE`].
pub const INTERFACE: u32 = 0x4000_0001;
/// EAX: build; EBX: major and minor; ECX: service pack; EDX: service branch and number.
pub const VERSION: u32 = 0x4000_0002;
/// EAX, EBX: [`PartitionPrivileges`]; ECX: [`PowerFeatures`]; EDX: [`Features`].
pub const FEATURES: u32 = 0x4000_0003;
/// EAX: [`Hints`]; EBX: how often to spin before telling the hypervisor, all ones for never; ECX: [`HintsEcx`].
pub const ENLIGHTENMENTS: u32 = 0x4000_0004;
/// EAX: most VPs of a partition; EBX: most LPs; ECX: remapping entries for physical interrupts.
pub const IMPLEMENTATION_LIMITS: u32 = 0x4000_0005;
/// EAX: what of the hardware the hypervisor uses.
pub const HARDWARE_FEATURES: u32 = 0x4000_0006;
/// EAX, EBX, ECX: for the root, about LPs.
pub const CPU_MANAGEMENT_FEATURES: u32 = 0x4000_0007;
/// Shared virtual memory.
pub const SVM_FEATURES: u32 = 0x4000_0008;
/// Features of the hypervisor below, for a nested one.
pub const NESTED_FEATURES: u32 = 0x4000_0009;
/// EAX: what helps nested virtualization; 0 for none.
pub const NESTED_OPTIMIZATIONS: u32 = 0x4000_000A;
/// EAX, EBX: isolation of the partition from its host.
pub const ISOLATION: u32 = 0x4000_000C;
/// Virtualization stack: EBX, ECX, EDX: "Microsoft VS".
pub const VS_VENDOR_AND_MAX: u32 = 0x4000_0080;
/// Virtualization stack: EAX: "VS#1".
pub const VS_INTERFACE: u32 = 0x4000_0081;
/// Virtualization stack: EAX: properties. Linux reads it whatever the highest leaf is; 0 for a root.
pub const VS_PROPERTIES: u32 = 0x4000_0082;

/// EBX of [`VENDOR_AND_MAX`]: "Micr".
pub const VENDOR_EBX: u32 = 0x7263_694D;
/// ECX of [`VENDOR_AND_MAX`]: "osof".
pub const VENDOR_ECX: u32 = 0x666F_736F;
/// EDX of [`VENDOR_AND_MAX`]: "t Hv".
pub const VENDOR_EDX: u32 = 0x7648_2074;
/// EAX of [`INTERFACE`]: "Hv#1".
pub const INTERFACE_SIGNATURE: u32 = 0x3123_7648;
/// EAX of [`VS_INTERFACE`]: "VS#1".
pub const VS_INTERFACE_SIGNATURE: u32 = 0x3123_5356;

/// TLFS `HV_PARTITION_PRIVILEGE_MASK`: EAX (bits 31:0) and EBX (bits 63:32) of [`FEATURES`]. Some of these give a
/// register, some the right to a hypercall.
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PartitionPrivileges {
    /// MSR of the VP's run time.
    pub access_vp_runtime: bool,
    /// MSR of the reference time.
    pub access_reference_counter: bool,
    /// SynIC MSRs.
    pub access_synic: bool,
    /// Synthetic timer MSRs.
    pub access_synthetic_timers: bool,
    /// APIC MSRs.
    pub access_apic: bool,
    /// Guest id and hypercall MSRs. Without it and the next Linux takes the machine for bare.
    pub access_hypercall: bool,
    /// MSR of the VP's index.
    pub access_vp_index: bool,
    /// Reset MSR.
    pub access_reset: bool,
    /// Statistics page MSRs.
    pub access_stats_msrs: bool,
    /// Reference TSC MSR.
    pub access_reference_tsc: bool,
    /// Guest idle MSR.
    pub access_guest_idle: bool,
    /// Frequency MSRs, with [`Features::frequency_msrs`].
    pub access_frequency: bool,
    /// Debug MSRs.
    pub access_debug: bool,
    /// Reenlightenment MSRs.
    pub access_reenlightenment: bool,
    /// Root scheduler MSRs.
    pub access_root_scheduler: bool,
    /// TSC invariant control. Linux expects it not to be there for a root.
    pub access_tsc_invariant: bool,
    __: u16,
    /// Bit 32. Create partitions. With `cpu_management` Linux is a root, without it an L1VH host.
    pub create_partitions: bool,
    /// Ask for the own partition id.
    pub access_partition_id: bool,
    /// Deposit and withdraw memory.
    pub access_memory_pool: bool,
    /// Change numbers of message buffers.
    pub adjust_message_buffers: bool,
    /// Post messages.
    pub post_messages: bool,
    /// Signal events.
    pub signal_events: bool,
    /// Create ports.
    pub create_port: bool,
    /// Connect to ports.
    pub connect_port: bool,
    /// Map statistics.
    pub access_stats: bool,
    #[bits(2)]
    __: u8,
    /// Talk to the debugger.
    pub debugging: bool,
    /// Bit 44. Manage LPs.
    pub cpu_management: bool,
    /// Use the profiler.
    pub configure_profiler: bool,
    #[bits(2)]
    __: u8,
    /// Virtual secure mode.
    pub access_vsm: bool,
    /// Own VP registers by hypercall.
    pub access_vp_registers: bool,
    #[bits(2)]
    __: u8,
    /// Bit 52. Extended hypercalls.
    pub enable_extended_hypercalls: bool,
    /// Start VPs by hypercall.
    pub start_virtual_processor: bool,
    /// The partition is isolated from its host.
    pub isolation: bool,
    #[bits(9)]
    __: u16,
}

impl PartitionPrivileges {
    /// EAX of [`FEATURES`].
    pub const fn eax(self) -> u32 {
        self.into_bits() as u32
    }

    /// EBX of [`FEATURES`].
    pub const fn ebx(self) -> u32 {
        (self.into_bits() >> 32) as u32
    }

    /// Whether all of `other`'s are among these.
    pub const fn contains(self, other: Self) -> bool {
        self.into_bits() & other.into_bits() == other.into_bits()
    }
}

/// ECX of [`FEATURES`].
#[bitfield(u32)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PowerFeatures {
    /// Deepest C-state of the processor.
    #[bits(4)]
    pub max_c_state: u8,
    /// C3 needs the HPET.
    pub hpet_required_for_c3: bool,
    #[bits(4)]
    __: u8,
    /// A dispatched VP takes interrupts from its register page (root scheduler).
    pub vp_dispatch_interrupt_injection: bool,
    /// GHCB pages of root VPs.
    pub vp_ghcb_root_mapping: bool,
    #[bits(21)]
    __: u32,
}

/// EDX of [`FEATURES`].
#[bitfield(u32)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Features {
    /// MWAIT.
    pub mwait: bool,
    /// Debugging of guests.
    pub guest_debugging: bool,
    /// Performance monitor.
    pub performance_monitor: bool,
    /// LPs come and go.
    pub dynamic_partitioning: bool,
    /// Input of hypercalls in XMM registers.
    pub xmm_fast_input: bool,
    /// Virtual idle state.
    pub virtual_guest_idle: bool,
    /// The hypervisor can sleep.
    pub hypervisor_sleep: bool,
    /// Distances between NUMA nodes.
    pub numa_distance: bool,
    /// MSRs of the TSC's and the APIC timer's frequency.
    pub frequency_msrs: bool,
    /// Injection of machine checks.
    pub synthetic_machine_check: bool,
    /// Crash MSRs.
    pub guest_crash_msrs: bool,
    /// Debug MSRs.
    pub debug_msrs: bool,
    /// NPIEP.
    pub npiep: bool,
    /// The hypervisor can be disabled.
    pub disable_hypervisor: bool,
    /// Flush lists may have large ranges.
    pub extended_gva_ranges: bool,
    /// Output of hypercalls in XMM registers.
    pub xmm_fast_output: bool,
    __: bool,
    /// SINTs can be polled.
    pub sint_polling: bool,
    /// The hypercall MSR can be locked.
    pub hypercall_msr_lock: bool,
    /// Synthetic timers can interrupt without a message.
    pub direct_synthetic_timers: bool,
    /// A page attribute table for each virtual trust level.
    pub vsm_pat: bool,
    /// A BNDCFGS for each virtual trust level.
    pub vsm_bndcfgs: bool,
    __: bool,
    /// A timer of unhalted time.
    pub synthetic_time_unhalted_timer: bool,
    #[bits(2)]
    __: u8,
    /// Last branch records.
    pub lbr: bool,
    #[bits(5)]
    __: u8,
}

/// EAX of [`ENLIGHTENMENTS`]: what the hypervisor recommends.
#[bitfield(u32)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Hints {
    /// Hypercall to switch address spaces.
    pub hypercall_for_address_switch: bool,
    /// Hypercall for local flushes.
    pub hypercall_for_local_flush: bool,
    /// Hypercall for flushes on other VPs.
    pub hypercall_for_remote_flush: bool,
    /// MSRs for EOI, ICR and TPR.
    pub msr_for_apic: bool,
    /// MSR to reset.
    pub msr_for_reset: bool,
    /// Watchdogs should be patient.
    pub relaxed_timing: bool,
    /// DMA remapping.
    pub dma_remapping: bool,
    /// Interrupt remapping.
    pub interrupt_remapping: bool,
    /// x2APIC MSRs.
    pub x2apic_msrs: bool,
    /// Auto-EOI should not be used.
    pub deprecate_auto_eoi: bool,
    /// Hypercall for IPIs.
    pub hypercall_for_ipi: bool,
    /// The calls with VP sets.
    pub extended_processor_masks: bool,
    /// The hypervisor is nested: Linux then uses other MSRs and sets the nested bit in hypercalls.
    pub nested: bool,
    /// Interrupts for MBEC system calls.
    pub int_for_mbec: bool,
    /// Enlightened VMCS.
    pub enlightened_vmcs: bool,
    /// Synced timeline.
    pub synced_timeline: bool,
    __: bool,
    /// Local flushes of everything by the instruction.
    pub direct_local_flush_entire: bool,
    /// VPs of different partitions never share a core.
    pub no_nonarchitectural_core_sharing: bool,
    #[bits(2)]
    __: u8,
    /// Hypercalls for memory-mapped registers of virtual PCI devices.
    pub hypercall_for_mmio: bool,
    #[bits(10)]
    __: u16,
}

/// ECX of [`ENLIGHTENMENTS`].
#[bitfield(u32)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HintsEcx {
    /// Physical address bits the processor has, 0 for unknown.
    #[bits(7)]
    pub physical_address_bits: u8,
    #[bits(25)]
    __: u32,
}

/// EAX of [`VS_PROPERTIES`].
#[bitfield(u32)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct VsProperties {
    /// The partition is portable.
    pub partition_is_portable: bool,
    /// The debug device is available.
    pub debug_device: bool,
    /// I/O APIC entries have destinations of 15 bits.
    pub extended_ioapic_rte: bool,
    /// VMBus can be confidential.
    pub confidential_vmbus: bool,
    #[bits(28)]
    __: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privileges_are_split_into_the_two_registers() {
        let root =
            PartitionPrivileges::new().with_create_partitions(true).with_cpu_management(true);
        assert_eq!((root.eax(), root.ebx()), (0, 0x1001));
        let isolated = PartitionPrivileges::new().with_isolation(true);
        assert_eq!(isolated.ebx(), 1 << 22);
        let extended = PartitionPrivileges::new().with_enable_extended_hypercalls(true);
        assert_eq!(extended.ebx(), 1 << 20);
        let guest =
            PartitionPrivileges::new().with_access_hypercall(true).with_access_vp_index(true);
        assert_eq!((guest.eax(), guest.ebx()), (0x60, 0));
        assert_eq!(PartitionPrivileges::new().with_access_stats(true).ebx(), 1 << 8);
        assert_eq!(PartitionPrivileges::new().with_access_vp_registers(true).ebx(), 1 << 17);
    }

    #[test]
    fn containing_is_about_every_bit() {
        let both = PartitionPrivileges::new().with_post_messages(true).with_signal_events(true);
        let one = PartitionPrivileges::new().with_post_messages(true);
        assert!(both.contains(one) && both.contains(PartitionPrivileges::new()));
        assert!(!one.contains(both));
    }

    #[test]
    fn features_and_hints_have_the_documented_bits() {
        assert_eq!(Features::new().with_frequency_msrs(true).into_bits(), 1 << 8);
        assert_eq!(Features::new().with_guest_crash_msrs(true).into_bits(), 1 << 10);
        assert_eq!(Features::new().with_xmm_fast_output(true).into_bits(), 1 << 15);
        assert_eq!(Features::new().with_direct_synthetic_timers(true).into_bits(), 1 << 19);
        assert_eq!(Hints::new().with_deprecate_auto_eoi(true).into_bits(), 1 << 9);
        assert_eq!(Hints::new().with_enlightened_vmcs(true).into_bits(), 1 << 14);
        assert_eq!(Hints::new().with_no_nonarchitectural_core_sharing(true).into_bits(), 1 << 18);
        assert_eq!(Hints::new().with_hypercall_for_mmio(true).into_bits(), 1 << 21);
        assert_eq!(PowerFeatures::new().with_vp_ghcb_root_mapping(true).into_bits(), 1 << 10);
        assert_eq!(VsProperties::new().with_confidential_vmbus(true).into_bits(), 1 << 3);
    }

    #[test]
    fn signatures_are_the_ascii_they_stand_for() {
        assert_eq!(VENDOR_EBX.to_le_bytes(), *b"Micr");
        assert_eq!(VENDOR_ECX.to_le_bytes(), *b"osof");
        assert_eq!(VENDOR_EDX.to_le_bytes(), *b"t Hv");
        assert_eq!(INTERFACE_SIGNATURE.to_le_bytes(), *b"Hv#1");
        assert_eq!(VS_INTERFACE_SIGNATURE.to_le_bytes(), *b"VS#1");
    }
}
