//! ACPI tables: RSDP → XSDT → FADT (→ DSDT), MADT.
//!
//! The machine is *hardware-reduced* (ACPI 5.0, section 4.1): no PIC, no PIT, no SCI, no PM1 blocks, so that a guest probes
//! for none of them. Sleep and reset are plain registers, the PM timer is kept. Linux takes this path at once, without
//! waiting for hardware that would have to be emulated.
//!
//! All tables lie from [`ACPI_START`](crate::memory::layout::ACPI_START) on, where software searches for the RSDP.

mod dsdt;
mod fadt;
mod madt;

use crate::memory::MemoryLayout;
use crate::memory::layout::{ACPI_START, RESET_VECTOR};
use acpi_tables::rsdp::Rsdp;
use acpi_tables::xsdt::XSDT;
use acpi_tables::{Aml, AmlSink};
use thiserror::Error;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// Who made the tables.
const OEM_ID: [u8; 6] = *b"ZEMIN ";
/// Of which machine.
const OEM_TABLE_ID: [u8; 8] = *b"ZEMINVM ";
const OEM_REVISION: u32 = 1;

/// The tables could not be placed.
#[derive(Debug, Error)]
pub enum AcpiError {
    /// There is no room between 0xE0000 and the reset vector.
    #[error("the ACPI tables need {0} bytes, and there is room for 128 KiB")]
    TooLarge(usize),
    /// Guest memory refused.
    #[error("cannot write the ACPI tables")]
    Write(#[from] vm_memory::GuestMemoryError),
}

/// What the tables describe.
#[derive(Clone, Debug)]
pub struct AcpiConfig {
    /// VPs, whose APIC ids are 0 to `cpus` − 1.
    pub cpus: u32,
    /// The address space.
    pub layout: MemoryLayout,
}

/// Tables as bytes, ready to be copied to [`ACPI_START`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcpiTables {
    bytes: Vec<u8>,
}

impl AcpiTables {
    /// All tables for `config`. The RSDP comes first.
    pub fn new(config: &AcpiConfig) -> Self {
        let mut tables = Self { bytes: vec![0; align(Rsdp::len())] };
        let dsdt = tables.add(&dsdt::dsdt(config));
        let fadt = tables.add(&fadt::fadt(dsdt));
        let madt = tables.add(&madt::madt(config.cpus));
        let mut xsdt = XSDT::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION);
        xsdt.add_entry(fadt);
        xsdt.add_entry(madt);
        let xsdt = tables.add(&xsdt);
        let rsdp = bytes_of(&Rsdp::new(OEM_ID, xsdt));
        tables.bytes[..rsdp.len()].copy_from_slice(&rsdp);
        tables
    }

    /// Where the RSDP will be.
    pub const fn rsdp(&self) -> u64 {
        ACPI_START
    }

    /// Copies the tables to their place.
    pub fn write(&self, memory: &GuestMemoryMmap) -> Result<(), AcpiError> {
        if self.bytes.len() as u64 > RESET_VECTOR - ACPI_START {
            return Err(AcpiError::TooLarge(self.bytes.len()));
        }
        Ok(memory.write_slice(&self.bytes, GuestAddress(ACPI_START))?)
    }

    /// Appends a table; its address.
    fn add(&mut self, table: &dyn Aml) -> u64 {
        let address = ACPI_START + self.bytes.len() as u64;
        self.bytes.extend(bytes_of(table));
        self.bytes.resize(align(self.bytes.len()), 0);
        address
    }
}

/// Tables start at multiples of 16.
const fn align(size: usize) -> usize {
    size.next_multiple_of(16)
}

/// The bytes of a table or of an object.
fn bytes_of(object: &dyn Aml) -> Vec<u8> {
    struct Sink(Vec<u8>);
    impl AmlSink for Sink {
        fn byte(&mut self, byte: u8) {
            self.0.push(byte);
        }
    }
    let mut sink = Sink(Vec::new());
    object.to_aml_bytes(&mut sink);
    sink.0
}

#[cfg(test)]
mod tests;
