//! Which right an access to a synthetic MSR takes (TLFS, "Partition Privilege Flags").

use hvdef::cpuid::PartitionPrivileges;
use hvdef::msr;

/// The right that an access to the MSR takes: none for those that everybody has, or nobody.
pub const fn msr_rights(index: u32) -> PartitionPrivileges {
    let none = PartitionPrivileges::new();
    match index {
        msr::GUEST_OS_ID | msr::HYPERCALL => none.with_access_hypercall(true),
        msr::VP_INDEX => none.with_access_vp_index(true),
        msr::VP_RUNTIME => none.with_access_vp_runtime(true),
        msr::TIME_REF_COUNT => none.with_access_reference_counter(true),
        msr::REFERENCE_TSC => none.with_access_reference_tsc(true),
        msr::TSC_FREQUENCY | msr::APIC_FREQUENCY => none.with_access_frequency(true),
        msr::EOI..=msr::VP_ASSIST_PAGE => none.with_access_apic(true),
        msr::SCONTROL..=msr::EOM | msr::SINT0..=msr::SINT15 => none.with_access_synic(true),
        msr::STIMER0_CONFIG..=msr::STIMER3_COUNT => none.with_access_synthetic_timers(true),
        msr::GUEST_IDLE => none.with_access_guest_idle(true),
        _ => none,
    }
}

/// All of those rights: whoever has them need not be asked for each.
pub const ALL_MSR_RIGHTS: PartitionPrivileges = PartitionPrivileges::new()
    .with_access_hypercall(true)
    .with_access_vp_index(true)
    .with_access_vp_runtime(true)
    .with_access_reference_counter(true)
    .with_access_reference_tsc(true)
    .with_access_frequency(true)
    .with_access_apic(true)
    .with_access_synic(true)
    .with_access_synthetic_timers(true)
    .with_access_guest_idle(true);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_all_rights_may_access_every_register_of_this_kind() {
        let all =
            (0x4000_0000..0x4001_0000).fold(0, |all, index| all | msr_rights(index).into_bits());
        assert_eq!(all, ALL_MSR_RIGHTS.into_bits());
    }

    #[test]
    fn each_right_is_the_one_that_cpuid_tells_of() {
        // Numbers and bits of leaf 0x40000003 EAX, as the specification has them.
        let pairs = [
            (0x4000_0000, 5),
            (0x4000_0002, 6),
            (0x4000_0010, 0),
            (0x4000_0020, 1),
            (0x4000_0021, 9),
            (0x4000_0023, 11),
            (0x4000_0070, 4),
            (0x4000_0073, 4),
            (0x4000_0080, 2),
            (0x4000_0084, 2),
            (0x4000_009F, 2),
            (0x4000_00B7, 3),
            (0x4000_00F0, 10),
        ];
        for (index, bit) in pairs {
            assert_eq!(msr_rights(index).eax(), 1 << bit, "{index:#x}");
        }
        assert_eq!(msr_rights(msr::CRASH_CTL).into_bits(), 0);
    }
}
