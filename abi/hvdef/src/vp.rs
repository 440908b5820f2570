//! Pages of one VP: VP assist page, reference TSC page (TLFS, "Virtual Processor Assist Page", "Partition Reference
//! Time").

use crate::macros::{layout, open_enum, wire};

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

open_enum! {
    /// Parts of a VP's state that GET_VP_STATE and SET_VP_STATE move. Bit 31: passed by page.
    pub struct VpStateType(u32) {
        /// Four timers.
        SYNTHETIC_TIMERS = 0x0000_0004;
        /// The local APIC.
        LAPIC = 0x8000_0000;
        /// XSAVE area, compacted.
        XSAVE = 0x8000_0001;
        /// Message page.
        SIM_PAGE = 0x8000_0002;
        /// Event flags page.
        SIEF_PAGE = 0x8000_0003;
    }
}

impl VpStateType {
    /// Whether the data is in pages that the variable header lists.
    pub const fn is_passed_by_page(self) -> bool {
        self.0 >> 31 != 0
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
