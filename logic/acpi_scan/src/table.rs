//! One table: reading it within its bounds.

use crate::error::{Fault, TableFault};
use acpidefs::sdt::{SdtHeader, Signature};
use boot_plan::{OutOfRange, PhysRange, PhysRead, read_as};
use zerocopy::{FromBytes, IntoBytes};

/// Longest table that we believe in. DSDTs of large machines reach a few MiB.
const MAX_LENGTH: u32 = 16 << 20;
/// Bytes of memory read at once.
const CHUNK: u64 = 256;

/// A table that the root table lists. Its length is plausible; its checksum may not have been looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Table {
    /// Which table.
    pub signature: Signature,
    /// Physical address of its header.
    pub address: u64,
    /// Bytes, with the header.
    pub length: u32,
    /// Of its layout.
    pub revision: u8,
    /// Name its maker gave it.
    pub oem_table_id: [u8; 8],
}

impl Table {
    pub(crate) const NONE: Self = Self {
        signature: Signature([0; 4]),
        address: 0,
        length: 0,
        revision: 0,
        oem_table_id: [0; 8],
    };

    /// Reads the header at `address`.
    pub(crate) fn open(address: u64, memory: &impl PhysRead) -> Result<Self, TableFault> {
        let unknown = Self { address, ..Self::NONE };
        let header: SdtHeader =
            read_as(memory, address).map_err(|OutOfRange| unknown.fault(Fault::Unreadable))?;
        let table = Self {
            signature: header.signature,
            address,
            length: header.length.get(),
            revision: header.revision,
            oem_table_id: header.oem_table_id,
        };
        if (size_of::<SdtHeader>()..=MAX_LENGTH as usize).contains(&(table.length as usize)) {
            Ok(table)
        } else {
            Err(table.fault(Fault::BadLength(table.length)))
        }
    }

    /// Where it lies.
    pub fn range(&self) -> PhysRange {
        PhysRange::at(self.address, self.length.into())
    }

    pub(crate) fn fault(&self, fault: Fault) -> TableFault {
        TableFault { signature: self.signature, address: self.address, fault }
    }

    /// Checks that its bytes add up to 0.
    pub(crate) fn check(&self, memory: &impl PhysRead) -> Result<(), TableFault> {
        match checksum(self.address, self.length.into(), memory) {
            Ok(0) => Ok(()),
            Ok(sum) => Err(self.fault(Fault::BadChecksum(sum))),
            Err(OutOfRange) => Err(self.fault(Fault::Unreadable)),
        }
    }

    /// The `T` at `offset`, or `None` if the table ends before it does.
    pub(crate) fn read<T: FromBytes + IntoBytes>(
        &self,
        offset: u32,
        memory: &impl PhysRead,
    ) -> Result<Option<T>, TableFault> {
        let end = u64::from(offset).saturating_add(size_of::<T>() as u64);
        if end > self.length.into() {
            return Ok(None);
        }
        let address = self.address.saturating_add(offset.into());
        read_as(memory, address).map(Some).map_err(|OutOfRange| self.fault(Fault::Unreadable))
    }

    /// The `T` at the table's start, with zeros for what lies beyond its end; at least `least` bytes must be there.
    pub(crate) fn read_start<T: FromBytes + IntoBytes>(
        &self,
        least: usize,
        memory: &impl PhysRead,
    ) -> Result<T, TableFault> {
        if (self.length as usize) < least {
            return Err(self.fault(Fault::BadLength(self.length)));
        }
        let mut value = T::new_zeroed();
        let bytes = value.as_mut_bytes();
        let len = bytes.len().min(self.length as usize);
        let there = bytes.get_mut(..len).unwrap_or_default();
        memory.read(self.address, there).map_err(|OutOfRange| self.fault(Fault::Unreadable))?;
        Ok(value)
    }
}

/// What `len` bytes at `address` add up to.
pub(crate) fn checksum(address: u64, len: u64, memory: &impl PhysRead) -> Result<u8, OutOfRange> {
    let end = address.checked_add(len).ok_or(OutOfRange)?;
    let mut at = address;
    let mut sum = 0_u8;
    while at < end {
        let mut chunk = [0; CHUNK as usize];
        let step = CHUNK.min(end - at);
        let bytes = chunk.get_mut(..step as usize).ok_or(OutOfRange)?;
        memory.read(at, bytes)?;
        sum = bytes.iter().fold(sum, |sum, byte| sum.wrapping_add(*byte));
        at += step;
    }
    Ok(sum)
}
