//! Keeping a table from the parent.
//!
//! The parent's kernel looks tables up by signature, so a table whose signature nobody knows is not there. Changing a
//! letter and the checksum is enough, and the root table stays as the firmware made it.

use crate::error::{Fault, TableFault};
use crate::table::Table;
use acpidefs::sdt::SdtHeader;
use boot_plan::{OutOfRange, PhysRead, read_as};
use core::mem::offset_of;

/// What the first letter of a hidden table's signature becomes; no table's signature begins with it.
const HIDDEN: u8 = b'!';

/// One byte to be changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Edit {
    /// Physical address.
    pub address: u64,
    /// What is there.
    pub old: u8,
    /// What is to be there.
    pub new: u8,
}

/// The bytes that hide the table at `address`: its signature's first letter, and the checksum made good again.
pub fn hide_table(address: u64, memory: &impl PhysRead) -> Result<[Edit; 2], TableFault> {
    let table = Table::open(address, memory)?;
    let header: SdtHeader =
        read_as(memory, address).map_err(|OutOfRange| table.fault(Fault::Unreadable))?;
    let [old, ..] = header.signature.0;
    let sum = header.checksum;
    let fixed = sum.wrapping_add(old).wrapping_sub(HIDDEN);
    let checksum_at = address.saturating_add(offset_of!(SdtHeader, checksum) as u64);
    Ok([Edit { address, old, new: HIDDEN }, Edit { address: checksum_at, old: sum, new: fixed }])
}
