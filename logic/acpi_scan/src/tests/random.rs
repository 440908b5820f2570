//! Random tables with good checksums, so that their contents are read.

use super::{LP_0, ROOT, RSDP, Ram, firmware, madt, rsdp, scan, table};
use proptest::prelude::*;
use std::string::ToString;
use std::vec::Vec;

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..most)
}

proptest! {
    #[test]
    fn random_madt_entries_never_panic(entries in proptest::collection::vec((0_u8..12, bytes(20)), 0..40)) {
        let entries: Vec<Vec<u8>> =
            entries.iter().map(|(kind, body)| [&[*kind, body.len() as u8 + 2], &body[..]].concat()).collect();
        let mut all: Vec<&[u8]> = entries.iter().map(|entry| &entry[..]).collect();
        all.push(&LP_0);
        match scan(&firmware(&[madt(&all)])) {
            Ok(acpi) => prop_assert!(acpi.madt.enabled_lps().next().is_some()),
            Err(error) => prop_assert!(!error.to_string().contains('\n')),
        }
    }

    #[test]
    fn random_tables_never_panic(bodies in proptest::collection::vec((0_usize..5, bytes(300)), 0..8)) {
        let names = [b"FACP", b"HPET", b"MCFG", b"APIC", b"\xFF\0\n!"];
        let mut tables: Vec<_> = bodies.iter().map(|(name, body)| table(names[*name], body)).collect();
        tables.push(madt(&[&LP_0]));
        if let Ok(acpi) = scan(&firmware(&tables)) {
            prop_assert_eq!(acpi.tables.len(), tables.len());
        }
    }

    #[test]
    fn random_root_tables_never_panic(list in bytes(200), broken in any::<prop::sample::Index>(), byte: u8) {
        let mut root = table(b"XSDT", &list);
        *broken.get_mut(&mut root) = byte;
        let mut ram = Ram::new();
        ram.put(RSDP, &rsdp(0, ROOT));
        ram.put(ROOT, &root[..]);
        prop_assert!(scan(&ram).is_err());
    }
}
