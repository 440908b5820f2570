use super::{LP_0, Ram, TABLES, firmware, madt, scan, table};
use crate::{
    Fault, LogicalProcessor, MAX_LPS, Nmi, NmiInput, Override, Register, Reset, ScanError,
    TableFault, hide_processors, hide_table,
};
use acpidefs::fadt::{Fadt, LENGTH_1_0, flags};
use acpidefs::gas::{GenericAddress, space};
use acpidefs::sdt::{SdtHeader, Signature};
use std::string::ToString;
use std::vec::Vec;
use zerocopy::{FromZeros, IntoBytes};

fn madt_fault(ram: &Ram) -> Fault {
    match scan(ram).unwrap_err() {
        ScanError::Corrupt(TableFault { signature: Signature::MADT, address: TABLES, fault }) => {
            fault
        }
        error => panic!("{error}"),
    }
}

#[test]
fn processors_and_interrupt_controllers_are_read() {
    let entries: [&[u8]; 10] = [
        &LP_0,
        &[0, 8, 2, 1, 0, 0, 0, 0], // neither enabled nor to come
        &[0, 8, 3, 2, 2, 0, 0, 0], // may be plugged in
        &[9, 16, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0], // x2APIC 256
        &[1, 12, 7, 0, 0, 0, 0xC0, 0xFE, 24, 0, 0, 0], // I/O APIC
        &[2, 10, 0, 9, 20, 0, 0, 0, 0x0F, 0], // IRQ 9: low, level
        &[3, 8, 5, 0, 3, 0, 0, 0], // NMI at GSI 3: high, edge
        &[4, 6, 0xFF, 0, 0, 1],    // NMI at LINT1 of all
        &[0x7F, 3, 0],             // unknown
        &[5, 12, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0], // local APICs above 4 GiB
    ];
    let acpi = scan(&firmware(&[madt(&entries)])).unwrap();
    let lp = |apic_id, acpi_id, enabled| LogicalProcessor {
        apic_id,
        acpi_id,
        enabled,
        online_capable: !enabled,
    };
    assert_eq!(&acpi.madt.lps[..], &[lp(0, 1, true), lp(2, 3, false), lp(256, 9, true)]);
    assert_eq!(acpi.madt.enabled_lps().count(), 2);
    let io = acpi.madt.io_apics[0];
    assert_eq!((io.id, io.address, io.gsi_base), (7, 0xFEC0_0000, 24));
    assert_eq!(
        &acpi.madt.overrides[..],
        &[Override { source: 9, gsi: 20, active_low: true, level: true }]
    );
    let nmi = |input| Nmi { input, active_low: false, level: false };
    assert_eq!(
        &acpi.madt.nmis[..],
        &[nmi(NmiInput::Gsi(3)), nmi(NmiInput::Lint { acpi_id: None, pin: 1 })]
    );
    assert_eq!(acpi.madt.local_apic, 1 << 32);
    assert!(acpi.madt.has_8259);
    assert!(acpi.faults.is_empty());
}

#[test]
fn a_processor_listed_twice_counts_once_and_empty_entries_do_not() {
    let twice = [9, 16, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0];
    let empty = [0, 8, 9, 0xFF, 1, 0, 0, 0];
    let acpi = scan(&firmware(&[madt(&[&LP_0, &twice, &empty])])).unwrap();
    assert_eq!(acpi.madt.lps.len(), 1);
}

#[test]
fn more_processors_than_fit_are_remarked_once() {
    let entry = |id: u32| {
        let words: Vec<_> = [id, 1, id].iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
        [&[9, 16, 0, 0], &words[..]].concat()
    };
    let all: Vec<_> = (0..300).map(entry).collect();
    let all: Vec<_> = all.iter().map(|entry| &entry[..]).collect();
    let acpi = scan(&firmware(&[madt(&all)])).unwrap();
    assert_eq!(acpi.madt.lps.len(), MAX_LPS);
    assert_eq!(acpi.faults.len(), 1);
    let message = acpi.faults[0].to_string();
    assert_eq!(
        message,
        "table APIC at 0x110000 lists more than 256 processors; the rest is ignored"
    );
}

#[test]
fn a_madt_that_is_missing_truncated_or_corrupt_stops_the_boot() {
    assert_eq!(scan(&firmware(&[])).unwrap_err().to_string(), "no APIC table");

    let mut ram = firmware(&[madt(&[&LP_0])]);
    ram.0[TABLES as usize + 40] ^= 1;
    assert!(matches!(madt_fault(&ram), Fault::BadChecksum(_)));

    for length in [0_u32, 35, 1 << 25] {
        ram.put(TABLES + 4, &length);
        assert_eq!(madt_fault(&ram), Fault::BadLength(length));
    }
    ram.put(TABLES + 4, &0x10_0000_u32);
    assert_eq!(madt_fault(&ram), Fault::Unreadable);
    assert_eq!(madt_fault(&firmware(&[table(b"APIC", &[0; 4])])), Fault::BadLength(40));
}

#[test]
fn entries_that_run_out_of_the_table_or_stand_still_are_refused() {
    let bad = |entry: &[u8]| madt_fault(&firmware(&[madt(&[&LP_0, entry])]));
    let fault = |kind, length| Fault::BadEntry { offset: 52, kind, length };
    assert_eq!(bad(&[0, 0, 0]), fault(0, 0));
    assert_eq!(bad(&[7, 1, 0]), fault(7, 1));
    assert_eq!(bad(&[7, 4, 0]), fault(7, 4));
    assert_eq!(bad(&[0, 7, 0, 0, 0, 0, 0]), fault(0, 7));
    assert_eq!(bad(&[9, 8, 0, 0, 0, 0, 0, 0]), fault(9, 8));
    let message = scan(&firmware(&[madt(&[&[1, 2]])])).unwrap_err().to_string();
    assert_eq!(
        message,
        "table APIC at 0x110000 has a malformed entry at offset 0x2c (type 1, length 2)"
    );
}

#[test]
fn a_machine_without_an_enabled_processor_is_refused() {
    assert_eq!(madt_fault(&firmware(&[madt(&[])])), Fault::Nothing("enabled processor"));
}

/// A FADT cut to `length`, with a valid header.
fn fadt(fadt: &Fadt, length: usize) -> Vec<u8> {
    table(b"FACP", &fadt.as_bytes()[size_of::<SdtHeader>()..length])
}

fn gas(space: u8, address: u64) -> GenericAddress {
    GenericAddress { space, bit_width: 8, bit_offset: 0, access_size: 1, address: address.into() }
}

fn some_fadt() -> Fadt {
    let mut fadt = Fadt::new_zeroed();
    fadt.sci_interrupt.set(9);
    fadt.pm1a_control.set(0x604);
    fadt.pm1_control_length = 2;
    fadt.pm_timer.set(0x608);
    fadt.pm_timer_length = 4;
    fadt.dsdt.set(0x1000);
    fadt.flags.set(flags::TMR_VAL_EXT | flags::RESET_REG_SUP);
    fadt.reset_register = gas(space::IO, 0xCF9);
    fadt.reset_value = 6;
    fadt
}

#[test]
fn the_fixed_registers_are_read() {
    let fixed = scan(&firmware(&[madt(&[&LP_0]), fadt(&some_fadt(), 244)])).unwrap().fixed;
    let port = |width, address| Some(Register { space: space::IO, width, address });
    assert_eq!(fixed.sci_interrupt, 9);
    assert_eq!((fixed.pm1a_control, fixed.pm1b_control), (port(16, 0x604), None));
    assert_eq!((fixed.pm_timer, fixed.pm_timer_32bit), (port(32, 0x608), true));
    assert_eq!(fixed.pm_timer.unwrap().port(), Some(0x608));
    assert_eq!(fixed.reset, Some(Reset { register: port(8, 0xCF9).unwrap(), value: 6 }));
    assert_eq!(fixed.dsdt, 0x1000);
}

#[test]
fn extended_fields_win_where_they_are_set_and_present() {
    let mut both = some_fadt();
    both.x_pm1a_control = gas(space::IO, 0xB004);
    both.x_pm_timer = gas(space::MEMORY, 0xFED8_0808);
    both.x_dsdt.set(0x2000);
    let read = |length| scan(&firmware(&[madt(&[&LP_0]), fadt(&both, length)])).unwrap().fixed;
    let whole = read(244);
    assert_eq!(whole.pm1a_control.unwrap().port(), Some(0xB004));
    assert_eq!(whole.pm_timer.unwrap().port(), None);
    assert_eq!(whole.pm_timer.unwrap().address, 0xFED8_0808);
    assert_eq!(whole.dsdt, 0x2000);
    let old = read(LENGTH_1_0);
    assert_eq!(old.pm1a_control.unwrap().port(), Some(0x604));
    assert_eq!((old.reset, old.dsdt), (None, 0x1000));
}

#[test]
fn a_reset_register_that_the_flags_deny_is_none() {
    let mut denied = some_fadt();
    denied.flags.set(0);
    assert_eq!(scan(&firmware(&[madt(&[&LP_0]), fadt(&denied, 244)])).unwrap().fixed.reset, None);
}

#[test]
fn a_fault_in_a_table_that_is_not_needed_is_a_remark() {
    let mut broken = fadt(&some_fadt(), 244);
    broken[60] ^= 1;
    let acpi = scan(&firmware(&[madt(&[&LP_0]), broken, fadt(&some_fadt(), 100)])).unwrap();
    assert_eq!(acpi.fixed, crate::Fixed::default());
    assert!(matches!(
        acpi.faults[..],
        [TableFault { signature: Signature::FADT, fault: Fault::BadChecksum(_), .. }]
    ));
    let acpi = scan(&firmware(&[madt(&[&LP_0]), fadt(&some_fadt(), 100)])).unwrap();
    assert_eq!(
        acpi.faults[0].to_string(),
        "table FACP at 0x120000 has an impossible length of 100 bytes"
    );
}

#[test]
fn event_timers_and_configuration_space_are_found() {
    let mut hpet = std::vec![0x01, 0xA2, 0x86, 0x80];
    hpet.extend(gas(space::MEMORY, 0xFED0_0000).as_bytes());
    hpet.extend([0; 4]);
    let mut mcfg = std::vec![0; 8];
    mcfg.extend(0xB000_0000_u64.to_le_bytes());
    mcfg.extend([0, 0, 0x10, 0xFF, 0, 0, 0, 0]);
    let acpi =
        scan(&firmware(&[madt(&[&LP_0]), table(b"HPET", &hpet), table(b"MCFG", &mcfg)])).unwrap();
    let hpet = acpi.hpet.unwrap();
    assert_eq!((hpet.address, hpet.timers, hpet.timer_config(1)), (0xFED0_0000, 3, 0xFED0_0120));
    let range = acpi.config_spaces[0].range();
    assert_eq!((range.start, range.end), (0xB100_0000, 0xC000_0000));
}

#[test]
fn a_hidden_table_is_gone_and_its_checksum_good() {
    let mut ram = firmware(&[madt(&[&LP_0]), table(b"DMAR", &[1; 12]), table(b"IVRS", &[2; 12])]);
    for name in [Signature::DMAR, Signature::IVRS] {
        let hidden = *scan(&ram).unwrap().find(name).unwrap();
        for edit in hide_table(hidden.address, &ram).unwrap() {
            assert_eq!(ram.0[edit.address as usize], edit.old);
            ram.0[edit.address as usize] = edit.new;
        }
        let acpi = scan(&ram).unwrap();
        assert_eq!(acpi.find(name), None);
        let same = acpi.tables.iter().find(|table| table.address == hidden.address).unwrap();
        assert_eq!(same.check(&ram), Ok(()));
        assert_eq!(same.signature.0[1..], name.0[1..]);
    }
    assert_eq!(hide_table(1 << 50, &ram).unwrap_err().fault, Fault::Unreadable);
}

#[test]
fn a_second_scan_starts_afresh() {
    let ram = firmware(&[madt(&[&LP_0]), fadt(&some_fadt(), 244)]);
    let mut acpi = scan(&ram).unwrap();
    acpi.scan(&crate::RsdpHints::default(), &ram).unwrap();
    assert_eq!((acpi.tables.len(), acpi.madt.lps.len()), (2, 1));
}

#[test]
fn hidden_processors_are_gone_and_the_others_stay() {
    let entries: [&[u8]; 6] = [
        &LP_0,
        &[0, 8, 2, 1, 1, 0, 0, 0],
        &[0, 8, 3, 2, 2, 0, 0, 0], // may be plugged in
        &[1, 12, 7, 0, 0, 0, 0xC0, 0xFE, 24, 0, 0, 0],
        &[9, 16, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0], // the second again
        &[9, 16, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0], // x2APIC 256
    ];
    let mut ram = firmware(&[madt(&entries)]);
    let mut edits = Vec::new();
    hide_processors(TABLES, |id| id == 0 || id == 256, &ram, |edit| edits.push(edit)).unwrap();
    for edit in edits {
        assert_eq!(ram.0[edit.address as usize], edit.old);
        ram.0[edit.address as usize] = edit.new;
    }
    // The scan checks the sum.
    let acpi = scan(&ram).unwrap();
    let ids: Vec<_> = acpi.madt.lps.iter().map(|lp| lp.apic_id).collect();
    assert_eq!(ids, [0, 256]);
    assert_eq!(acpi.madt.io_apics.len(), 1);
    let bytes = &ram.0[TABLES as usize..];
    assert_eq!(bytes[52..60], [0, 8, 2, 0xFF, 0, 0, 0, 0]);
    assert_eq!(bytes[60..68], [0, 8, 3, 0xFF, 0, 0, 0, 0]);
    assert_eq!(bytes[80..96], [9, 16, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 2, 0, 0, 0]);
}

#[test]
fn a_processor_is_left_out_if_others_are_there() {
    let entry = |id: u8| [0, 8, id, id, 1, 0, 0, 0];
    let left = |ids: &[u8], without| {
        let entries: Vec<_> = ids.iter().copied().map(entry).collect();
        let entries: Vec<_> = entries.iter().map(|entry| &entry[..]).collect();
        let mut acpi = scan(&firmware(&[madt(&entries)])).unwrap();
        let other = acpi.madt.leave_out(without);
        (other, acpi.madt.enabled_lps().map(|lp| lp.apic_id).collect::<Vec<_>>())
    };
    assert_eq!(left(&[0, 1, 2], 0), (Some(1), std::vec![1, 2]));
    assert_eq!(left(&[0, 1, 2], 1), (Some(0), std::vec![0, 2]));
    assert_eq!(left(&[4], 4), (None, std::vec![4]));
    assert_eq!(left(&[4, 5], 9), (Some(4), std::vec![4, 5]));
}

#[test]
fn kept_processors_are_the_first_in_the_list_and_the_one_that_boots() {
    let entry = |id: u8| [0, 8, id, id, 1, 0, 0, 0];
    let entries = [0, 1, 2, 3].map(entry);
    let entries: Vec<_> = entries.iter().map(|entry| &entry[..]).collect();
    let kept = |limit, first| {
        let mut acpi = scan(&firmware(&[madt(&entries)])).unwrap();
        acpi.madt.keep_lps(limit, first);
        acpi.madt.enabled_lps().map(|lp| lp.apic_id).collect::<Vec<_>>()
    };
    assert_eq!(kept(1, 0), [0]);
    assert_eq!(kept(2, 3), [0, 3]);
    assert_eq!(kept(0, 2), [2]);
    assert_eq!(kept(9, 1), [0, 1, 2, 3]);
}
