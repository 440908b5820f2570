//! The table of interrupt controllers: a local APIC for each VP, one IOAPIC, NMI on LINT1.

use super::{OEM_ID, OEM_REVISION, OEM_TABLE_ID};
use crate::memory::layout::{IOAPIC_BASE, LOCAL_APIC_BASE};
use acpi_tables::madt::{
    EnabledStatus, IoApic, LocalInterruptController, MADT, ProcessorLocalApic,
};
use acpi_tables::{Aml, AmlSink};
use zerocopy::{Immutable, IntoBytes};

/// Id of the IOAPIC, of no consequence.
pub const IOAPIC_ID: u8 = 0;

/// APIC ids from here on do not fit the short entry.
const FIRST_LONG_ID: u32 = 255;

/// "Processor Local x2APIC" (ACPI 6.5, section 5.2.12.12).
#[repr(C, packed)]
#[derive(Clone, Copy, IntoBytes, Immutable)]
struct LocalX2apic {
    kind: u8,
    length: u8,
    reserved: u16,
    id: u32,
    flags: u32,
    uid: u32,
}

/// "Local APIC NMI" (section 5.2.12.7).
#[repr(C, packed)]
#[derive(Clone, Copy, IntoBytes, Immutable)]
struct LocalApicNmi {
    kind: u8,
    length: u8,
    uid: u8,
    flags: u16,
    pin: u8,
}

impl Aml for LocalX2apic {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.vec(self.as_bytes());
    }
}

impl Aml for LocalApicNmi {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.vec(self.as_bytes());
    }
}

/// The table for `cpus` VPs.
pub fn madt(cpus: u32) -> MADT {
    let base = LocalInterruptController::Address(LOCAL_APIC_BASE as u32);
    let mut table = MADT::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION, base);
    for id in 0..cpus {
        add_processor(&mut table, id);
    }
    table.add_structure(IoApic::new(IOAPIC_ID, IOAPIC_BASE as u32, 0));
    let every_processor = 0xFF;
    table.add_structure(LocalApicNmi {
        kind: 4,
        length: 6,
        uid: every_processor,
        flags: 0,
        pin: 1,
    });
    table
}

fn add_processor(table: &mut MADT, id: u32) {
    if id < FIRST_LONG_ID {
        let short = ProcessorLocalApic::new(id as u8, id as u8, EnabledStatus::Enabled);
        table.add_structure(short);
    } else {
        let enabled = 1;
        table.add_structure(LocalX2apic {
            kind: 9,
            length: 16,
            reserved: 0,
            id,
            flags: enabled,
            uid: id,
        });
    }
}
