//! Fixed ACPI Description Table (ACPI 5.2.9): the fixed registers. Older revisions end early: 116 bytes in ACPI 1.0,
//! 244 in 2.0.

use crate::gas::GenericAddress;
use crate::sdt::SdtHeader;
use core::mem::{offset_of, size_of};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Length of the shortest table: ACPI 1.0.
pub const LENGTH_1_0: usize = 116;

/// `Fadt::flags`.
pub mod flags {
    /// The PM timer has 32 bits, not 24.
    pub const TMR_VAL_EXT: u32 = 1 << 8;
    /// `reset_register` and `reset_value` work.
    pub const RESET_REG_SUP: u32 = 1 << 10;
    /// There is no fixed hardware at all.
    pub const HW_REDUCED_ACPI: u32 = 1 << 20;
}

/// The table up to `X_GPE1_BLK`. Fields that a shorter table does not have count as 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Fadt {
    /// Signature "FACP".
    pub header: SdtHeader,
    /// Address of the FACS.
    pub facs: U32,
    /// Address of the DSDT.
    pub dsdt: U32,
    /// Obsolete.
    pub model: u8,
    /// Desktop, server, …
    pub preferred_profile: u8,
    /// Interrupt of ACPI events.
    pub sci_interrupt: U16,
    /// Port that hands ACPI over to the OS.
    pub smi_command: U32,
    /// Value for it: hand over.
    pub acpi_enable: u8,
    /// Value for it: take back.
    pub acpi_disable: u8,
    /// Value for it: sleep to disk.
    pub s4bios_request: u8,
    /// Value for it: take over P-states.
    pub pstate_control: u8,
    /// Ports of the PM1 event registers, a and b.
    pub pm1_event: [U32; 2],
    /// Port of `PM1a_CNT`.
    pub pm1a_control: U32,
    /// Port of `PM1b_CNT`, or 0.
    pub pm1b_control: U32,
    /// Port of `PM2_CNT`.
    pub pm2_control: U32,
    /// Port of the PM timer, or 0.
    pub pm_timer: U32,
    /// Ports of the general-purpose events.
    pub gpe: [U32; 2],
    /// Bytes of the PM1 event registers.
    pub pm1_event_length: u8,
    /// Bytes of the PM1 control registers.
    pub pm1_control_length: u8,
    /// Bytes of the PM2 control register.
    pub pm2_control_length: u8,
    /// Bytes of the PM timer: 4, or 0 if there is none.
    pub pm_timer_length: u8,
    /// General-purpose events, C-states, cache, duty cycle, RTC: not needed here.
    pub pad_92: [u8; 17],
    /// Boot architecture.
    pub boot_flags: U16,
    /// 0.
    pub reserved: u8,
    /// [`flags`].
    pub flags: U32,
    /// Register that resets the machine.
    pub reset_register: GenericAddress,
    /// Value that does it.
    pub reset_value: u8,
    /// Of ARM.
    pub arm_boot_flags: U16,
    /// Minor version.
    pub minor_revision: u8,
    /// Address of the FACS.
    pub x_facs: U64,
    /// Address of the DSDT.
    pub x_dsdt: U64,
    /// PM1 event registers.
    pub x_pm1_event: [GenericAddress; 2],
    /// `PM1a_CNT`.
    pub x_pm1a_control: GenericAddress,
    /// `PM1b_CNT`.
    pub x_pm1b_control: GenericAddress,
    /// `PM2_CNT`.
    pub x_pm2_control: GenericAddress,
    /// PM timer.
    pub x_pm_timer: GenericAddress,
    /// General-purpose events.
    pub x_gpe: [GenericAddress; 2],
}
const _: () = assert!(size_of::<Fadt>() == 244);
const _: () = assert!(offset_of!(Fadt, sci_interrupt) == 46);
const _: () = assert!(offset_of!(Fadt, pm1a_control) == 64);
const _: () = assert!(offset_of!(Fadt, pm_timer) == 76);
const _: () = assert!(offset_of!(Fadt, pm_timer_length) == 91);
const _: () = assert!(offset_of!(Fadt, flags) == 112);
const _: () = assert!(offset_of!(Fadt, reset_register) == LENGTH_1_0);
const _: () = assert!(offset_of!(Fadt, x_dsdt) == 140);
const _: () = assert!(offset_of!(Fadt, x_pm1a_control) == 172);
const _: () = assert!(offset_of!(Fadt, x_pm_timer) == 208);
