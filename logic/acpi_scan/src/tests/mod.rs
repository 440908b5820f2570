//! Tests over firmware made by hand.

mod find;
mod random;
mod tables;

use crate::{Acpi, RsdpHints, ScanError};
use acpidefs::rsdp::{Rsdp1, Rsdp2, SIGNATURE};
use acpidefs::sdt::SdtHeader;
use boot_plan::{OutOfRange, PhysRead};
use std::boxed::Box;
use std::vec::Vec;
use zerocopy::{FromZeros, Immutable, IntoBytes};

/// Where the firmware below puts its RSDP.
const RSDP: u64 = 0xF_5AA0;
/// And its root table.
const ROOT: u64 = 0x10_0000;
/// And its other tables, each at the next multiple of 64 KiB.
const TABLES: u64 = 0x11_0000;
const TABLE_STRIDE: u64 = 0x1_0000;

/// Physical memory from 0 on.
struct Ram(Vec<u8>);

impl PhysRead for Ram {
    fn read(&self, phys: u64, buf: &mut [u8]) -> Result<(), OutOfRange> {
        let start = usize::try_from(phys).map_err(|_| OutOfRange)?;
        let end = start.checked_add(buf.len()).ok_or(OutOfRange)?;
        buf.copy_from_slice(self.0.get(start..end).ok_or(OutOfRange)?);
        Ok(())
    }
}

impl Ram {
    fn new() -> Self {
        Self(std::vec![0; 0x20_0000])
    }

    fn put<T: IntoBytes + Immutable + ?Sized>(&mut self, at: u64, value: &T) {
        let bytes = value.as_bytes();
        self.0[at as usize..][..bytes.len()].copy_from_slice(bytes);
    }
}

/// The byte that makes `bytes`, where it is 0 itself, add up to 0.
fn balance(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte))
}

/// A table with a valid header before `body`.
fn table(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut header = SdtHeader::new_zeroed();
    header.signature.0 = *signature;
    header.length.set((size_of::<SdtHeader>() + body.len()) as u32);
    header.revision = 4;
    header.oem_table_id = *b"TESTDATA";
    let sum = balance(&[header.as_bytes(), body].concat());
    header.checksum = sum;
    [header.as_bytes(), body].concat()
}

/// An RSDP of revision 2.
fn rsdp(rsdt: u32, xsdt: u64) -> Rsdp2 {
    let mut rsdp = Rsdp2::new_zeroed();
    rsdp.v1.signature = SIGNATURE;
    rsdp.v1.revision = 2;
    rsdp.v1.rsdt.set(rsdt);
    rsdp.v1.checksum = balance(&rsdp.as_bytes()[..size_of::<Rsdp1>()]);
    rsdp.length.set(36);
    rsdp.xsdt.set(xsdt);
    rsdp.extended_checksum = balance(rsdp.as_bytes());
    rsdp
}

/// Memory with an RSDP, an XSDT and these tables.
fn firmware(tables: &[Vec<u8>]) -> Ram {
    let mut ram = Ram::new();
    let mut list = Vec::new();
    for (table, at) in tables.iter().zip((TABLES..).step_by(TABLE_STRIDE as usize)) {
        ram.put(at, &table[..]);
        list.extend(at.to_le_bytes());
    }
    ram.put(ROOT, &table(b"XSDT", &list)[..]);
    ram.put(RSDP, &rsdp(0, ROOT));
    ram
}

/// A MADT of these entries.
fn madt(entries: &[&[u8]]) -> Vec<u8> {
    let head = [0xFEE0_0000_u32.to_le_bytes(), 1_u32.to_le_bytes()].concat();
    table(b"APIC", &[&head[..], &entries.concat()].concat())
}

/// A usable processor.
const LP_0: [u8; 8] = [0, 8, 1, 0, 1, 0, 0, 0];

fn scan(ram: &Ram) -> Result<Box<Acpi>, ScanError> {
    let mut acpi = Box::new(Acpi::empty());
    acpi.scan(&RsdpHints::default(), ram).map(|()| acpi)
}
