//! Firmware whose tables have sound headers and checksums, random contents, and some damage.
#![no_main]

use acpi_scan::{Acpi, Edit, RsdpHints, hide_processors, hide_table};
use boot_plan::{OutOfRange, PhysRead};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

const RSDP: usize = 0xE_0000;
const ROOT: usize = 0xE_1000;
const TABLES: usize = 0xE_2000;
const SIZE: usize = 0x10_0000;
const HEADER: usize = 36;

struct Ram(Vec<u8>);

impl PhysRead for Ram {
    fn read(&self, phys: u64, buf: &mut [u8]) -> Result<(), OutOfRange> {
        let start = usize::try_from(phys).map_err(|_| OutOfRange)?;
        let end = start.checked_add(buf.len()).ok_or(OutOfRange)?;
        buf.copy_from_slice(self.0.get(start..end).ok_or(OutOfRange)?);
        Ok(())
    }
}

#[derive(Arbitrary, Debug)]
struct Input {
    tables: Vec<Table>,
    /// Addresses that the root table lists besides.
    stray: Vec<u64>,
    wide: bool,
    efi: bool,
    damage: Vec<(u32, u8)>,
}

#[derive(Arbitrary, Debug)]
enum Table {
    Madt(Vec<(u8, Vec<u8>)>),
    Other(u8, Vec<u8>),
    Raw(Vec<u8>),
}

/// Makes `bytes` add up to 0 by its byte `at`.
fn balance(bytes: &mut [u8], at: usize) {
    bytes[at] = 0;
    bytes[at] = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
}

fn with_header(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut table = vec![0; HEADER];
    table[..4].copy_from_slice(signature);
    table.extend(body);
    let len = table.len() as u32;
    table[4..8].copy_from_slice(&len.to_le_bytes());
    balance(&mut table, 9);
    table
}

impl Table {
    fn bytes(&self) -> Vec<u8> {
        const NAMES: [&[u8; 4]; 6] = [b"FACP", b"HPET", b"MCFG", b"APIC", b"DMAR", b"\0\xFF\n "];
        match self {
            Self::Madt(entries) => {
                let mut body = vec![0, 0, 0xE0, 0xFE, 1, 0, 0, 0];
                for (kind, entry) in entries {
                    body.extend([kind % 12, (entry.len() as u8).saturating_add(2)]);
                    body.extend(entry.iter().take(253));
                }
                with_header(b"APIC", &body)
            }
            Self::Other(name, body) => with_header(NAMES[usize::from(*name) % NAMES.len()], body),
            Self::Raw(bytes) => bytes.clone(),
        }
    }
}

fn firmware(input: &Input) -> Ram {
    let mut ram = Ram(vec![0; SIZE]);
    let mut at = TABLES;
    let mut list = input.stray.clone();
    for table in &input.tables {
        let bytes = table.bytes();
        if at + bytes.len() <= SIZE {
            ram.0[at..at + bytes.len()].copy_from_slice(&bytes);
            list.push(at as u64);
            at += bytes.len();
        }
    }
    list.truncate(400);
    let entry = |address: &u64| address.to_le_bytes()[..if input.wide { 8 } else { 4 }].to_vec();
    let root = with_header(
        if input.wide { b"XSDT" } else { b"RSDT" },
        &list.iter().flat_map(entry).collect::<Vec<_>>(),
    );
    ram.0[ROOT..ROOT + root.len()].copy_from_slice(&root);
    let mut rsdp = [0; 36];
    rsdp[..8].copy_from_slice(b"RSD PTR ");
    rsdp[15] = 2;
    rsdp[16..20].copy_from_slice(&(ROOT as u32).to_le_bytes());
    balance(&mut rsdp[..20], 8);
    rsdp[20] = 36;
    rsdp[24..32].copy_from_slice(&if input.wide { ROOT as u64 } else { 0 }.to_le_bytes());
    balance(&mut rsdp, 32);
    ram.0[RSDP..RSDP + 36].copy_from_slice(&rsdp);
    for (at, byte) in &input.damage {
        ram.0[*at as usize % SIZE] = *byte;
    }
    ram
}

fuzz_target!(|input: Input| {
    let mut ram = firmware(&input);
    // Whatever is at 0 serves as EFI's system table.
    let hints = RsdpHints { efi_system_table: input.efi.then_some(0), copy: None };
    let mut acpi = Acpi::empty();
    match acpi.scan(&hints, &ram) {
        Ok(()) => assert!(acpi.madt.enabled_lps().next().is_some()),
        Err(error) => assert!(!error.to_string().contains('\n')),
    }
    for fault in &acpi.faults {
        assert!(!fault.to_string().contains('\n'));
    }
    let sum = |ram: &Ram, at: u64, len: u32| {
        let bytes = ram.0.get(at as usize..).and_then(|bytes| bytes.get(..len as usize));
        bytes.map(|bytes| bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)))
    };
    for table in &acpi.tables {
        let before = sum(&ram, table.address, table.length);
        let mut edits = Vec::new();
        let hidden = hide_processors(table.address, |id| id % 2 == 0, &ram, |it| edits.push(it));
        let inside = |at| table.range().start <= at && at < table.range().end;
        assert!(edits.iter().all(|edit| inside(edit.address)));
        if hidden.is_ok() {
            // Entries cannot overlap, so no byte is changed twice; not even the checksum, which is before them.
            let change = |sum: u8, edit: &Edit| sum.wrapping_sub(edit.old).wrapping_add(edit.new);
            assert_eq!(edits.iter().fold(0, change), 0);
        }
        // Hiding another table may have changed this one's header where the two overlap.
        let Ok(edits) = hide_table(table.address, &ram) else { continue };
        for edit in edits {
            ram.0[edit.address as usize] = edit.new;
        }
        assert_eq!(sum(&ram, table.address, table.length), before);
    }
});
