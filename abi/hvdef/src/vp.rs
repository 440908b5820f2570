//! Pages and state of one VP: register page, VP assist page, reference TSC page, local APIC and timers (TLFS, "Virtual
//! Processor Assist Page", "Partition Reference Time"; Linux `hvhdk.h` for the rest).

mod register_page;
mod state;

pub use register_page::{DirtyClasses, InterruptVectors, REGISTER_PAGE_VERSION, RegisterPage};
pub use state::{LocalApicState, StimerState, SyntheticTimersState, VpStateType};

use wire::{layout, open_enum, wire};

open_enum! {
    /// Pages that MAP_VP_STATE_PAGE shares.
    pub struct VpStatePageType(u16) {
        /// The register page.
        REGISTERS = 0;
        /// One message: the last intercept.
        INTERCEPT_MESSAGE = 1;
        /// Guest-hypervisor communication block of an encrypted guest.
        GHCB = 2;
    }
}

wire! {
    /// TLFS `HV_VP_ASSIST_PAGE`, less the rest of its page. Of these fields the first is used without virtual trust
    /// levels and nested virtualization.
    pub struct VpAssistPage {
        /// Bit 0: the interrupt in service needs no EOI; the guest clears it instead of writing one.
        pub apic_assist: u32,
        /// 0.
        pub reserved_4: u32,
        /// Why this virtual trust level was entered.
        pub vtl_entry_reason: u32,
        /// 0.
        pub vtl_reserved: u32,
        /// RAX of the lower level on return.
        pub vtl_return_rax: u64,
        /// RCX of the lower level on return.
        pub vtl_return_rcx: u64,
        /// Nested enlightenments.
        pub nested_control: u64,
        /// Enlightened VM entry.
        pub enlighten_vm_entry: u8,
        /// 0.
        pub reserved_41: [u8; 7],
        /// GPA of the current enlightened VMCS.
        pub current_nested_vmcs: u64,
    }

    /// TLFS `HV_REFERENCE_TSC_PAGE`, less the rest of its page.
    ///
    /// Time in units of 100 ns is `((tsc * scale) >> 64) + offset`. The reader repeats if the sequence changed
    /// meanwhile.
    pub struct ReferenceTscPage {
        /// Changes with the other two. 0: use the MSR instead.
        pub sequence: u32,
        /// 0.
        pub reserved: u32,
        /// Units per tick, as a fraction of 2^64.
        pub scale: u64,
        /// Units at tick 0.
        pub offset: i64,
    }
}
layout!(
    VpAssistPage, 56, apic_assist @ 0, vtl_entry_reason @ 8, nested_control @ 32, enlighten_vm_entry @ 40,
    current_nested_vmcs @ 48
);
layout!(ReferenceTscPage, 24, sequence @ 0, scale @ 8, offset @ 16);

/// Bit 0 of [`VpAssistPage::apic_assist`].
pub const NO_EOI_REQUIRED: u32 = 1;

/// Sequence of a [`ReferenceTscPage`] that is not to be used.
pub const TSC_SEQUENCE_INVALID: u32 = 0;

impl ReferenceTscPage {
    /// Reference time at `tsc`; `None` if the page is not valid.
    pub const fn time_at(&self, tsc: u64) -> Option<u64> {
        if self.sequence == TSC_SEQUENCE_INVALID {
            return None;
        }
        let scaled = ((tsc as u128 * self.scale as u128) >> 64) as u64;
        Some(scaled.wrapping_add_signed(self.offset))
    }

    /// Scale for a TSC of `hz`; `None` if it runs no faster than reference time.
    pub const fn scale_for(hz: u64) -> Option<u64> {
        if hz <= 10_000_000 {
            return None;
        }
        Some((((10_000_000u128) << 64) / hz as u128) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reference_time_never_goes_back(hz in 10_000_001u64..20_000_000_000, tsc: u64, ticks in 0u64..1 << 40) {
            let scale = ReferenceTscPage::scale_for(hz).unwrap();
            let page = ReferenceTscPage { sequence: 1, reserved: 0, scale, offset: 0 };
            prop_assert!(page.time_at(tsc) <= page.time_at(tsc.saturating_add(ticks)));
        }
    }

    #[test]
    fn a_second_of_ticks_is_a_second_of_reference_time() {
        let hz = 2_500_000_000;
        let scale = ReferenceTscPage::scale_for(hz).unwrap();
        let page = ReferenceTscPage { sequence: 1, reserved: 0, scale, offset: -5 };
        // The scale is rounded down; a tick more makes up for it.
        assert_eq!(page.time_at(hz), Some(10_000_000 - 1 - 5));
        assert_eq!(page.time_at(hz * 1000 + 1), Some(10_000_000_000 - 5));
    }

    #[test]
    fn a_page_without_sequence_and_a_slow_clock_are_refused() {
        let page = ReferenceTscPage { sequence: 0, reserved: 0, scale: 1, offset: 0 };
        assert_eq!(page.time_at(1), None);
        assert_eq!(ReferenceTscPage::scale_for(0), None);
        assert_eq!(ReferenceTscPage::scale_for(10_000_000), None);
    }
}
