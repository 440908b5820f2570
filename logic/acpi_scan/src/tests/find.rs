use super::{LP_0, ROOT, RSDP, Ram, TABLES, firmware, madt, rsdp, scan, table};
use crate::{Fault, Rsdp, RsdpHints, ScanError, TableFault, find_rsdp};
use acpidefs::rsdp::{EFI_GUID_1, EFI_GUID_2, Rsdp2};
use acpidefs::sdt::Signature;
use boot_plan::RsdpCopy;
use std::string::ToString;
use std::vec::Vec;
use zerocopy::IntoBytes;

fn found(ram: &Ram) -> Option<Rsdp> {
    find_rsdp(&RsdpHints::default(), ram)
}

#[test]
fn the_rsdp_is_found_in_the_bios_area_and_in_the_ebda() {
    let mut ram = firmware(&[]);
    let bios = Rsdp { address: Some(RSDP), revision: 2, rsdt: 0, xsdt: ROOT };
    assert_eq!(found(&ram), Some(bios));
    ram.put(0x40E, &0x9FC0_u16);
    ram.put(0x9_FFE0, &rsdp(1, 2));
    assert_eq!(found(&ram).unwrap().address, Some(0x9_FFE0), "the EBDA comes first");
    ram.put(0x40E, &0x0010_u16);
    assert_eq!(found(&ram), Some(bios), "an EBDA in the interrupt vectors is none");
}

#[test]
fn an_rsdp_off_its_alignment_or_with_a_bad_checksum_does_not_count() {
    let mut ram = Ram::new();
    ram.put(RSDP + 8, &rsdp(1, 2));
    assert_eq!(found(&ram), None);
    assert_eq!(scan(&ram).unwrap_err(), ScanError::NoRsdp);
    let mut ram = firmware(&[]);
    ram.0[RSDP as usize + 10] ^= 1;
    assert_eq!(found(&ram), None);
}

#[test]
fn a_broken_second_half_leaves_the_first() {
    for broken in [20, 24, 32] {
        let mut ram = Ram::new();
        ram.put(RSDP, &rsdp(0x1234, 0x5678));
        ram.0[RSDP as usize + broken] ^= 0xFF;
        let expected = Rsdp { address: Some(RSDP), revision: 0, rsdt: 0x1234, xsdt: 0 };
        assert_eq!(found(&ram), Some(expected), "{broken}");
    }
}

/// An EFI system table at 0x1000 whose configuration table has these entries.
fn efi(ram: &mut Ram, entries: &[([u8; 16], u64)]) -> RsdpHints {
    ram.put(0x1000, b"IBI SYST");
    ram.put(0x1000 + 104, &(entries.len() as u64));
    ram.put(0x1000 + 112, &0x2000_u64);
    for (index, (guid, address)) in (0..).zip(entries) {
        ram.put(0x2000 + index * 24, guid);
        ram.put(0x2010 + index * 24, address);
    }
    RsdpHints { efi_system_table: Some(0x1000), copy: None }
}

#[test]
fn efi_names_the_rsdp_and_the_newer_one_is_better() {
    let mut ram = Ram::new();
    ram.put(0x3000, &rsdp(1, 0));
    ram.put(0x4000, &rsdp(1, 2));
    let hints = efi(&mut ram, &[([7; 16], 0x3000), (EFI_GUID_1, 0x3000), (EFI_GUID_2, 0x4000)]);
    assert_eq!(find_rsdp(&hints, &ram).unwrap().address, Some(0x4000));
    let hints = efi(&mut ram, &[(EFI_GUID_1, 0x3000)]);
    assert_eq!(find_rsdp(&hints, &ram).unwrap().address, Some(0x3000));
}

#[test]
fn an_efi_table_that_leads_nowhere_ends() {
    let mut ram = Ram::new();
    let hints = efi(&mut ram, &[(EFI_GUID_2, u64::MAX)]);
    ram.put(0x1000 + 104, &u64::MAX);
    assert_eq!(find_rsdp(&hints, &ram), None);
    ram.put(0x1000 + 112, &(u64::MAX - 4));
    assert_eq!(find_rsdp(&hints, &ram), None);
    let hints = RsdpHints { efi_system_table: Some(u64::MAX), copy: None };
    assert_eq!(find_rsdp(&hints, &ram), None);
}

fn copy_of(rsdp: &Rsdp2, len: usize) -> RsdpHints {
    let bytes = rsdp.as_bytes().try_into().unwrap();
    RsdpHints { efi_system_table: None, copy: Some(RsdpCopy { bytes, len }) }
}

#[test]
fn the_loaders_copy_is_the_last_resort_and_has_no_address() {
    let hints = copy_of(&rsdp(1, 2), 36);
    assert_eq!(find_rsdp(&hints, &firmware(&[])).unwrap().address, Some(RSDP));
    let expected = Rsdp { address: None, revision: 2, rsdt: 1, xsdt: 2 };
    assert_eq!(find_rsdp(&hints, &Ram::new()), Some(expected));
    let old = Rsdp { address: None, revision: 0, rsdt: 1, xsdt: 0 };
    assert_eq!(find_rsdp(&copy_of(&rsdp(1, 2), 20), &Ram::new()), Some(old));
    let mut broken = rsdp(1, 2);
    broken.v1.rsdt.set(3);
    assert_eq!(find_rsdp(&copy_of(&broken, 36), &Ram::new()), None);
}

#[test]
fn an_rsdt_serves_where_there_is_no_sound_xsdt() {
    let mut ram = firmware(&[madt(&[&LP_0])]);
    ram.put(0x1F_0000, &table(b"RSDT", &(TABLES as u32).to_le_bytes())[..]);
    for xsdt in [0, 0x1E_0000, u64::MAX] {
        ram.put(RSDP, &rsdp(0x1F_0000, xsdt));
        assert_eq!(scan(&ram).unwrap().madt.lps.len(), 1, "{xsdt:#x}");
    }
}

#[test]
fn a_corrupt_root_table_is_named() {
    let mut ram = firmware(&[madt(&[&LP_0])]);
    ram.0[ROOT as usize + 9] ^= 1;
    let error = scan(&ram).unwrap_err().to_string();
    assert!(
        error.starts_with("table XSDT at 0x100000 has a bad checksum (bytes add up to 0x"),
        "{error}"
    );
    let mut ram = firmware(&[]);
    ram.put(RSDP, &rsdp(0, TABLES));
    ram.put(TABLES, &madt(&[&LP_0])[..]);
    let error = scan(&ram).unwrap_err().to_string();
    assert_eq!(error, "table APIC at 0x110000 has another signature than XSDT");
    ram.put(RSDP, &rsdp(0, 0));
    assert_eq!(scan(&ram).unwrap_err(), ScanError::Missing(Signature::XSDT));
}

#[test]
fn all_tables_are_listed_and_unreadable_ones_remarked() {
    let mut ram = firmware(&[madt(&[&LP_0]), table(b"SSDT", &[1, 2, 3]), table(b"DMAR", &[0; 12])]);
    let list: Vec<u8> = [TABLES, 0, TABLES + 0x1_0000, TABLES + 0x2_0000, 1 << 40]
        .iter()
        .flat_map(|address: &u64| address.to_le_bytes())
        .collect();
    ram.put(ROOT, &table(b"XSDT", &list)[..]);
    let acpi = scan(&ram).unwrap();
    let names: Vec<_> = acpi.tables.iter().map(|table| table.signature.to_string()).collect();
    assert_eq!(names, ["APIC", "SSDT", "DMAR"]);
    assert_eq!(acpi.find(Signature::DMAR).unwrap().range().len(), 48);
    let fault =
        TableFault { signature: Signature([0; 4]), address: 1 << 40, fault: Fault::Unreadable };
    assert_eq!(&acpi.faults[..], &[fault]);
    assert_eq!(
        fault.to_string(),
        "table .... at 0x10000000000 reaches beyond the memory that can be read"
    );
}

#[test]
fn more_tables_than_fit_are_remarked_once() {
    let mut ram = firmware(&[madt(&[&LP_0])]);
    let list = TABLES.to_le_bytes().repeat(200);
    ram.put(ROOT, &table(b"XSDT", &list)[..]);
    let acpi = scan(&ram).unwrap();
    assert_eq!((acpi.tables.len(), acpi.faults.len()), (crate::MAX_TABLES, 1));
}
