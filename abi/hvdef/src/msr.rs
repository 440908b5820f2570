//! Synthetic MSRs: numbers and formats (TLFS, appendix "MSRs").

use crate::Gpn;
use bitfield_struct::bitfield;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Identity of the guest's operating system, [`GuestOsId`]. While it is 0 there is no hypercall page.
pub const GUEST_OS_ID: u32 = 0x4000_0000;
/// Where the hypercall page is, [`PageMsr`]; bit 1 locks it.
pub const HYPERCALL: u32 = 0x4000_0001;
/// Index of this VP. Read-only.
pub const VP_INDEX: u32 = 0x4000_0002;
/// Writing bit 0 resets the machine.
pub const RESET: u32 = 0x4000_0003;
/// Time this VP ran, in units of 100 ns. Read-only.
pub const VP_RUNTIME: u32 = 0x4000_0010;
/// Reference time of the partition, in units of 100 ns. Read-only.
pub const TIME_REF_COUNT: u32 = 0x4000_0020;
/// Where the reference TSC page is, [`PageMsr`].
pub const REFERENCE_TSC: u32 = 0x4000_0021;
/// Frequency of the TSC in Hz. Read-only.
pub const TSC_FREQUENCY: u32 = 0x4000_0022;
/// Frequency of the local APIC's timer in Hz. Read-only.
pub const APIC_FREQUENCY: u32 = 0x4000_0023;
/// First of the non-privileged performance monitor's registers.
pub const NPIEP_CONFIG: u32 = 0x4000_0040;
/// End of interrupt. Write-only.
pub const EOI: u32 = 0x4000_0070;
/// Interrupt command register in xAPIC format.
pub const ICR: u32 = 0x4000_0071;
/// Task priority.
pub const TPR: u32 = 0x4000_0072;
/// Where this VP's assist page is, [`PageMsr`].
pub const VP_ASSIST_PAGE: u32 = 0x4000_0073;
/// SynIC on or off, [`Scontrol`].
pub const SCONTROL: u32 = 0x4000_0080;
/// SynIC version. Read-only.
pub const SVERSION: u32 = 0x4000_0081;
/// Where this VP's event flags page is, [`PageMsr`].
pub const SIEFP: u32 = 0x4000_0082;
/// Where this VP's message page is, [`PageMsr`].
pub const SIMP: u32 = 0x4000_0083;
/// End of message: deliver what waits. Write-only.
pub const EOM: u32 = 0x4000_0084;
/// Where this VP's event ring page is, [`PageMsr`]. For the root.
pub const SIRBP: u32 = 0x4000_0085;
/// First of the 16 synthetic interrupt sources, [`SintConfig`].
pub const SINT0: u32 = 0x4000_0090;
/// Last synthetic interrupt source.
pub const SINT15: u32 = 0x4000_009F;
/// First synthetic timer's [`StimerConfig`]. Configuration and count alternate, four timers.
pub const STIMER0_CONFIG: u32 = 0x4000_00B0;
/// First synthetic timer's time of expiry, or period, in units of 100 ns.
pub const STIMER0_COUNT: u32 = 0x4000_00B1;
/// Last synthetic timer's time of expiry or period.
pub const STIMER3_COUNT: u32 = 0x4000_00B7;
/// Reading waits for an interrupt.
pub const GUEST_IDLE: u32 = 0x4000_00F0;
/// First crash parameter.
pub const CRASH_P0: u32 = 0x4000_0100;
/// Last crash parameter.
pub const CRASH_P4: u32 = 0x4000_0104;
/// Crash report, [`CrashControl`].
pub const CRASH_CTL: u32 = 0x4000_0105;
/// Interrupt on a change of the TSC's frequency.
pub const REENLIGHTENMENT_CONTROL: u32 = 0x4000_0106;
/// Emulation of the old TSC frequency.
pub const TSC_EMULATION_CONTROL: u32 = 0x4000_0107;
/// Whether the TSC is emulated.
pub const TSC_EMULATION_STATUS: u32 = 0x4000_0108;
/// Writing bit 0 makes CPUID admit that the TSC is invariant.
pub const TSC_INVARIANT_CONTROL: u32 = 0x4000_0118;

/// Synthetic interrupt sources of a VP.
pub const SINT_COUNT: usize = 16;
/// Synthetic timers of a VP.
pub const STIMER_COUNT: usize = 4;

/// MSRs that place a page: a child says where, the root is told where.
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PageMsr {
    /// The page is there.
    pub enabled: bool,
    /// Kept as written. Of the hypercall MSR bit 1 of the register locks it.
    #[bits(11)]
    pub preserved: u16,
    /// Page number.
    #[bits(52)]
    pub page_number: u64,
}

impl PageMsr {
    /// Where the page is.
    pub const fn gpn(self) -> Gpn {
        Gpn(self.page_number())
    }
}

/// TLFS `HV_X64_MSR_GUEST_OS_ID`, open-source form.
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct GuestOsId {
    /// Build number of the distribution.
    pub build: u16,
    /// Version of the operating system.
    pub version: u32,
    /// Id of the distribution.
    pub os_id: u8,
    /// 1 for Linux.
    #[bits(7)]
    pub os_type: u8,
    /// Open source.
    pub is_open_source: bool,
}

/// Format of [`SCONTROL`].
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Scontrol {
    /// Messages and events are delivered.
    pub enabled: bool,
    /// Kept as written.
    #[bits(63)]
    pub preserved: u64,
}

/// Format of [`SINT0`] and its like. Reset value: masked.
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SintConfig {
    /// Vector, 0x10 to 0xFF.
    pub vector: u8,
    /// Kept as written.
    pub preserved_8: u8,
    /// No interrupt.
    pub masked: bool,
    /// The interrupt needs no end-of-interrupt.
    pub auto_eoi: bool,
    /// The guest polls: messages without interrupts.
    pub polling: bool,
    /// Instead of an interrupt, an intercept message to SINT 0. For the root.
    pub as_intercept: bool,
    /// The source stands for that of another level.
    pub proxy: bool,
    /// Kept as written.
    #[bits(43)]
    pub preserved_21: u64,
}

/// Format of [`STIMER0_CONFIG`] and its like.
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct StimerConfig {
    /// Running.
    pub enabled: bool,
    /// The count is a period.
    pub periodic: bool,
    /// May fire late.
    pub lazy: bool,
    /// Writing the count starts it.
    pub auto_enable: bool,
    /// Vector of direct mode.
    pub apic_vector: u8,
    /// An interrupt rather than a message.
    pub direct_mode: bool,
    #[bits(3)]
    __: u8,
    /// SINT that gets the message.
    #[bits(4)]
    pub sintx: u8,
    #[bits(44)]
    __: u64,
}

/// Format of [`CRASH_CTL`].
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CrashControl {
    #[bits(58)]
    __: u64,
    /// In which phase of its boot the guest was.
    #[bits(3)]
    pub pre_os_id: u8,
    /// The guest made no crash dump.
    pub no_crash_dump: bool,
    /// Parameter 3 is the GPA of a text and parameter 4 its length.
    pub crash_message: bool,
    /// A crash is to be reported; read: it can be.
    pub crash_notify: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timer_that_linux_programs_is_direct_and_enables_itself() {
        let config = StimerConfig::from_bits(0x1ED9);
        assert!(config.enabled() && config.auto_enable() && config.direct_mode());
        assert!(!config.periodic() && !config.lazy());
        assert_eq!((config.apic_vector(), config.sintx()), (0xED, 0));
        assert_eq!(StimerConfig::from_bits(0x0002_0009).sintx(), 2);
    }

    #[test]
    fn the_sints_that_the_root_programs_are_understood() {
        let sint5 = SintConfig::from_bits(0x0A_00F3);
        assert!(sint5.auto_eoi() && sint5.as_intercept() && !sint5.masked());
        assert_eq!(sint5.vector(), 0xF3);
        assert_eq!(SintConfig::new().with_masked(true).into_bits(), 0x1_0000);
    }

    #[test]
    fn a_page_msr_keeps_bits_and_number_apart() {
        let msr = PageMsr::from_bits(0x1234_5FFF);
        assert!(msr.enabled());
        assert_eq!(msr.preserved(), 0x7FF);
        assert_eq!(msr.gpn(), Gpn(0x1_2345));
    }

    #[test]
    fn crash_control_has_its_two_flags_on_top() {
        let both = CrashControl::new().with_crash_notify(true).with_crash_message(true);
        assert_eq!(both.into_bits(), 0xC000_0000_0000_0000);
    }

    #[test]
    fn linux_introduces_itself_as_open_source() {
        let id = GuestOsId::from_bits(0x8100 << 48 | 0x07_0300 << 16);
        assert!(id.is_open_source());
        assert_eq!((id.os_type(), id.os_id(), id.version()), (1, 0, 0x07_0300));
    }
}
