//! Keeping tables and processors from the parent.
//!
//! The parent's kernel looks tables up by signature, so a table whose signature nobody knows is not there. Changing a
//! letter and the checksum is enough, and the root table stays as the firmware made it. A processor is not there when its
//! entry has no APIC id and is not enabled: kernels skip such entries as room that firmware left empty.

use crate::error::{Fault, TableFault};
use crate::madt::{NO_APIC, NO_X2APIC};
use crate::table::Table;
use acpidefs::madt::{EntryHeader, LocalApic, LocalX2Apic, Madt, entry, lapic};
use acpidefs::sdt::SdtHeader;
use boot_plan::{OutOfRange, PhysRead, read_as};
use core::mem::offset_of;
use zerocopy::IntoBytes;

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

/// Hides all processors but those whose APIC id `keep` accepts: gives the bytes to be changed in the MADT at `address`,
/// its checksum last, to `edit`.
pub fn hide_processors(
    address: u64,
    keep: impl Fn(u32) -> bool,
    memory: &impl PhysRead,
    mut edit: impl FnMut(Edit),
) -> Result<(), TableFault> {
    let table = Table::open(address, memory)?;
    let mut sum = 0_u8;
    let mut change = |at: u64, old: &[u8], new: &[u8]| {
        for ((address, &old), &new) in (at..).zip(old).zip(new).filter(|((_, old), new)| old != new)
        {
            sum = sum.wrapping_add(old).wrapping_sub(new);
            edit(Edit { address, old, new });
        }
    };
    let mut offset = size_of::<Madt>() as u32;
    while let Some(head) = table.read::<EntryHeader>(offset, memory)? {
        let at = address.saturating_add(offset.into());
        let is = |kind, len| head.kind == kind && usize::from(head.length) >= len;
        if is(entry::LOCAL_APIC, size_of::<LocalApic>()) {
            if let Some(old) = table.read::<LocalApic>(offset, memory)?
                && !keep(old.apic_id.into())
            {
                change(at, old.as_bytes(), without_apic(old).as_bytes());
            }
        } else if is(entry::LOCAL_X2APIC, size_of::<LocalX2Apic>())
            && let Some(old) = table.read::<LocalX2Apic>(offset, memory)?
            && !keep(old.apic_id.get())
        {
            change(at, old.as_bytes(), without_x2apic(old).as_bytes());
        }
        let length = u32::from(head.length).max(size_of::<EntryHeader>() as u32);
        offset = offset.saturating_add(length);
    }
    let checksum = address.saturating_add(offset_of!(SdtHeader, checksum) as u64);
    let old: u8 = read_as(memory, checksum).map_err(|OutOfRange| table.fault(Fault::Unreadable))?;
    edit(Edit { address: checksum, old, new: old.wrapping_add(sum) });
    Ok(())
}

const PRESENT: u32 = lapic::ENABLED | lapic::ONLINE_CAPABLE;

fn without_apic(mut entry: LocalApic) -> LocalApic {
    entry.apic_id = NO_APIC as u8;
    entry.flags.set(entry.flags.get() & !PRESENT);
    entry
}

fn without_x2apic(mut entry: LocalX2Apic) -> LocalX2Apic {
    entry.apic_id.set(NO_X2APIC);
    entry.flags.set(entry.flags.get() & !PRESENT);
    entry
}
