//! The fixed description table: which registers there are.

use super::{OEM_ID, OEM_REVISION, OEM_TABLE_ID};
use crate::chipset::ports;
use acpi_tables::fadt::{FADT, FADTBuilder, Flags, PmProfile};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};

/// There are legacy devices: COM1.
const BOOT_LEGACY_DEVICES: u16 = 1 << 0;
/// There is no VGA.
const BOOT_NO_VGA: u16 = 1 << 2;

/// A register in port space.
fn port(address: u16, bits: u8, access: AccessSize) -> GAS {
    GAS::new(AddressSpace::SystemIo, bits, 0, access, u64::from(address))
}

/// The table, with the DSDT at `dsdt`.
pub fn fadt(dsdt: u64) -> FADT {
    let mut table = FADTBuilder::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION)
        .dsdt_64(dsdt)
        .preferred_pm_profile(PmProfile::EnterpriseServer)
        .flag(Flags::Wbinvd)
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton)
        .flag(Flags::TmrValExt)
        .flag(Flags::ResetRegSup)
        .flag(Flags::HwReducedAcpi);
    let byte = |address| port(address, 8, AccessSize::ByteAccess);
    table.reset_reg = byte(ports::RESET);
    table.reset_value = ports::RESET_VALUE;
    table.sleep_control_reg = byte(ports::SLEEP_CONTROL);
    table.sleep_status_reg = byte(ports::SLEEP_STATUS);
    table.pm_tmr_blk = u32::from(ports::PM_TIMER).into();
    table.pm_tmr_len = 4;
    table.x_pm_tmr_blk = port(ports::PM_TIMER, 32, AccessSize::DwordAccess);
    table.iapc_boot_arch = (BOOT_LEGACY_DEVICES | BOOT_NO_VGA).into();
    table.hypervisor_vendor_identity = u64::from_le_bytes(*b"Zemin\0\0\0").into();
    table.finalize()
}
