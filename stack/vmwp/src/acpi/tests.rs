//! The tables, read back as a guest reads them.

use super::*;
use crate::chipset::ports;
use crate::memory::layout::{IOAPIC_BASE, LOCAL_APIC_BASE};

fn config(cpus: u32) -> AcpiConfig {
    AcpiConfig { cpus, layout: MemoryLayout::new(1 << 30).unwrap() }
}

/// Tables for `cpus`, as a guest finds them in memory.
struct Found(Vec<u8>);

impl Found {
    fn new(cpus: u32) -> Self {
        let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap();
        AcpiTables::new(&config(cpus)).write(&memory).unwrap();
        let mut bytes = vec![0; 0x2_0000];
        memory.read_slice(&mut bytes, GuestAddress(ACPI_START)).unwrap();
        Self(bytes)
    }

    fn at(&self, address: u64, size: usize) -> &[u8] {
        let offset = (address - ACPI_START) as usize;
        &self.0[offset..offset + size]
    }

    /// A table with a right checksum, by its address.
    fn table(&self, address: u64) -> &[u8] {
        let size = u32_at(self.at(address, 36), 4) as usize;
        let table = self.at(address, size);
        assert_eq!(sum(table), 0, "checksum of {:?}", String::from_utf8_lossy(&table[..4]));
        table
    }

    fn rsdp(&self) -> &[u8] {
        self.at(ACPI_START, 36)
    }

    /// The table with `signature` in the XSDT.
    fn by_name(&self, signature: &[u8; 4]) -> &[u8] {
        let xsdt = self.table(u64_at(self.rsdp(), 24));
        assert_eq!(&xsdt[..4], b"XSDT");
        let entries = xsdt[36..].chunks(8).map(|entry| u64_at(entry, 0));
        entries.map(|at| self.table(at)).find(|table| &table[..4] == signature).unwrap()
    }
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn the_rsdp_is_where_software_searches_and_sums_up() {
    let found = Found::new(1);
    let rsdp = found.rsdp();
    assert_eq!(&rsdp[..8], b"RSD PTR ");
    assert_eq!((sum(&rsdp[..20]), sum(rsdp), rsdp[15]), (0, 0, 2));
}

#[test]
fn the_fadt_says_hardware_reduced_with_sleep_reset_and_timer() {
    let found = Found::new(2);
    let fadt = found.by_name(b"FACP");
    let flags = u32_at(fadt, 112);
    assert_eq!(flags >> 20 & 1, 1, "hardware reduced");
    assert_eq!(flags >> 10 & 1, 1, "reset register");
    assert_eq!((u64_at(fadt, 116 + 4), fadt[128]), (0xCF9, 6), "reset");
    assert_eq!(fadt[116], 1, "in port space");
    assert_eq!(u64_at(fadt, 244 + 4), u64::from(ports::SLEEP_CONTROL));
    assert_eq!(u64_at(fadt, 256 + 4), u64::from(ports::SLEEP_STATUS));
    assert_eq!(u64_at(fadt, 208 + 4), u64::from(ports::PM_TIMER));
    assert_eq!(u16_at(fadt, 109) & 0b10_0110, 0b100, "no keyboard controller, no VGA, but a clock");
}

#[test]
fn the_dsdt_has_vmbus_below_its_windows_and_a_way_to_power_off() {
    let found = Found::new(1);
    let dsdt = found.table(u64_at(found.by_name(b"FACP"), 140));
    assert_eq!(&dsdt[..4], b"DSDT");
    assert!(dsdt[8] >= 2, "64-bit integers");
    let place = |needle: &[u8]| dsdt.windows(needle.len()).position(|window| window == needle);
    assert!(place(b"VMOD") < place(b"VMBS"));
    assert!(contains(dsdt, b"_HID\x0DVMBus\0"), "a string, not a number");
    assert!(contains(dsdt, b"_DDN\x0DVMBUS\0"));
    // 32-bit window: descriptor 0x87, memory, minimum 0xE0000000, maximum 0xFEBFFFFF.
    let low = [0xE000_0000u32.to_le_bytes(), 0xFEBF_FFFFu32.to_le_bytes()].concat();
    assert!(contains(dsdt, &low));
    let high = [0xF_0000_0000u64.to_le_bytes(), 0xF_FFFF_FFFFu64.to_le_bytes()].concat();
    assert!(contains(dsdt, &high));
    // Name (_S5, Package (4) {5, 0, 0, 0})
    assert!(contains(dsdt, b"\x08_S5_\x12\x07\x04\x0A\x05\x00\x00\x00"));
}

#[test]
fn every_vp_has_a_local_apic_and_a_device() {
    let found = Found::new(64);
    let madt = found.by_name(b"APIC");
    assert_eq!(u32_at(madt, 36), LOCAL_APIC_BASE as u32);
    assert_eq!(u32_at(madt, 40), 0, "no PIC");
    let mut rest = &madt[44..];
    let mut ids = Vec::new();
    while let [kind, size, ..] = *rest {
        match kind {
            0 => ids.push((rest[3], rest[4])),
            1 => assert_eq!((u32_at(rest, 4), u32_at(rest, 8)), (IOAPIC_BASE as u32, 0)),
            4 => assert_eq!((rest[2], rest[5]), (0xFF, 1), "NMI on LINT1 of all"),
            other => panic!("entry of type {other}"),
        }
        rest = &rest[usize::from(size)..];
    }
    assert_eq!(ids, (0..64).map(|id| (id, 1)).collect::<Vec<_>>());
    let dsdt = found.table(u64_at(found.by_name(b"FACP"), 140));
    assert!(contains(dsdt, b"C000") && contains(dsdt, b"C03F") && !contains(dsdt, b"C040"));
}

#[test]
fn apic_ids_above_254_take_the_long_entry() {
    let madt = bytes_of(&madt::madt(257));
    let short = 44 + 255 * 8;
    assert_eq!(madt[short..short + 2], [9, 16]);
    assert_eq!((u32_at(&madt, short + 4), u32_at(&madt, short + 8)), (255, 1));
    assert_eq!(u32_at(&madt, short + 16 + 12), 256);
}
