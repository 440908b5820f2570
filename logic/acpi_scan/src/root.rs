//! The root table: the list of all others.

use crate::error::{Fault, ScanError, TableFault};
use crate::rsdp::Rsdp;
use crate::table::Table;
use acpidefs::sdt::{SdtHeader, Signature};
use boot_plan::PhysRead;
use zerocopy::little_endian::{U32, U64};

const ENTRIES: u32 = size_of::<SdtHeader>() as u32;

/// A valid root table.
pub(crate) struct Root {
    table: Table,
    wide: bool,
}

impl Root {
    /// The XSDT; the RSDT if there is none or it is corrupt, as old firmware has it.
    pub(crate) fn open(rsdp: &Rsdp, memory: &impl PhysRead) -> Result<Self, ScanError> {
        let mut fault = None;
        for (address, signature, wide) in
            [(rsdp.xsdt, Signature::XSDT, true), (rsdp.rsdt, Signature::RSDT, false)]
        {
            if address == 0 {
                continue;
            }
            match open_as(address, signature, memory) {
                Ok(table) => return Ok(Self { table, wide }),
                Err(error) => fault = fault.or(Some(error)),
            }
        }
        Err(fault.map_or(ScanError::Missing(Signature::XSDT), ScanError::Corrupt))
    }

    /// Where the root table is.
    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// Address of the table with number `index`, or `None` after the last one.
    pub(crate) fn entry(
        &self,
        index: u32,
        memory: &impl PhysRead,
    ) -> Result<Option<u64>, TableFault> {
        let size = if self.wide { size_of::<U64>() } else { size_of::<U32>() } as u32;
        let offset = index.saturating_mul(size).saturating_add(ENTRIES);
        Ok(if self.wide {
            self.table.read::<U64>(offset, memory)?.map(U64::get)
        } else {
            self.table.read::<U32>(offset, memory)?.map(|address| address.get().into())
        })
    }
}

fn open_as(
    address: u64,
    signature: Signature,
    memory: &impl PhysRead,
) -> Result<Table, TableFault> {
    let table = Table::open(address, memory)?;
    if table.signature != signature {
        return Err(table.fault(Fault::WrongSignature(signature)));
    }
    table.check(memory)?;
    Ok(table)
}
