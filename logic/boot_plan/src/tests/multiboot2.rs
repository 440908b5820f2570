use super::{MIB, Ram};
use crate::{BootInfo, BootInfoError, Framebuffer, Kind, Protocol, Screen};
use bootdef::multiboot2::{LOADER_MAGIC, tag};
use std::boxed::Box;
use std::vec::Vec;

const INFO: u64 = 0x1_0000;

/// Information made of tags.
struct Tags(Vec<u8>);

impl Tags {
    fn new() -> Self {
        Self(std::vec![0; 8])
    }

    fn add(mut self, kind: u32, body: &[u8]) -> Self {
        self.0.extend(kind.to_le_bytes());
        self.0.extend((body.len() as u32 + 8).to_le_bytes());
        self.0.extend(body);
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        self
    }

    fn mmap(self, entries: &[(u64, u64, u32)]) -> Self {
        let mut body = [24_u32.to_le_bytes(), [0; 4]].concat();
        for (base, length, kind) in entries {
            body.extend(base.to_le_bytes().iter().chain(&length.to_le_bytes()));
            body.extend(u64::from(*kind).to_le_bytes());
        }
        self.add(tag::MMAP, &body)
    }

    fn module(self, start: u32, end: u32, line: &[u8]) -> Self {
        let head = [start.to_le_bytes(), end.to_le_bytes()].concat();
        self.add(tag::MODULE, &[&head, line].concat())
    }

    fn end(self) -> Ram {
        let Self(mut bytes) = self.add(tag::END, &[]);
        let len = bytes.len() as u32;
        bytes[..4].copy_from_slice(&len.to_le_bytes());
        let mut ram = Ram::new(MIB);
        ram.put(INFO, &bytes[..]);
        ram
    }
}

fn grub() -> Tags {
    Tags::new()
        .add(tag::COMMAND_LINE, b"console=com1 loglevel=debug\0")
        .add(tag::LOADER_NAME, b"GRUB 2.12-9\0")
        .module(0x30_0000, 0x40_0000, b"root=/dev/sda1 ro\0")
        .module(0x40_0000, 0x50_0000, b"\0")
        .mmap(&[(0, 0xA_0000, 1), (0x10_0000, 0x700_0000, 1), (0x710_0000, 0x1000, 4)])
}

fn load(ram: &Ram) -> Result<Box<BootInfo>, BootInfoError> {
    let mut info = Box::new(BootInfo::empty());
    info.load(LOADER_MAGIC, INFO, ram).map(|()| info)
}

#[test]
fn what_grub_leaves_on_a_bios_machine_is_understood() {
    let info = load(&grub().end()).unwrap();
    assert_eq!(info.protocol, Protocol::Multiboot2);
    assert_eq!(info.command.arguments(), b"console=com1 loglevel=debug");
    assert_eq!(info.kernel().unwrap().command.arguments(), b"root=/dev/sda1 ro");
    assert_eq!(info.kernel().unwrap().command.file(), b"");
    assert_eq!(info.initrd().unwrap().range.len(), 0x10_0000);
    assert_eq!(info.map.total(Kind::Ram), 0xA_0000 + 0x700_0000);
    assert_eq!(info.map.kind_at(0x710_0000), Some(Kind::AcpiNvs));
    assert_eq!(info.screen, Screen::VgaText);
}

#[test]
fn what_grub_adds_on_an_efi_machine_is_understood() {
    let mut buffer = 0x8000_0000_u64.to_le_bytes().to_vec();
    for word in [4096_u32, 1024, 768] {
        buffer.extend(word.to_le_bytes());
    }
    buffer.extend([32, 1, 0, 0, 16, 8, 8, 8, 0, 8]);
    let ram = grub()
        .add(tag::EFI64, &0x7F00_0000_u64.to_le_bytes())
        .add(tag::EFI_MMAP, &[0; 56])
        .add(tag::ACPI_NEW, &[7; 36])
        .add(tag::ACPI_OLD, &[8; 20])
        .add(tag::FRAMEBUFFER, &buffer)
        .end();
    let info = load(&ram).unwrap();
    assert_eq!(info.efi_system_table, Some(0x7F00_0000));
    assert!(info.efi_memory_map);
    let rsdp = info.rsdp.unwrap();
    assert_eq!((rsdp.len, rsdp.bytes), (36, [7; 36]));
    let expected = Framebuffer {
        address: 0x8000_0000,
        pitch: 4096,
        width: 1024,
        height: 768,
        bpp: 32,
        colors: [16, 8, 8, 8, 0, 8],
    };
    assert_eq!(info.screen, Screen::Framebuffer(expected));
}

#[test]
fn an_efi_machine_without_a_frame_buffer_has_no_known_screen() {
    let info = load(&grub().add(tag::EFI64, &[0; 8]).end()).unwrap();
    assert_eq!(info.screen, Screen::Unknown);
}

#[test]
fn an_old_rsdp_is_taken_if_there_is_no_other() {
    let info = load(&grub().add(tag::ACPI_OLD, &[8; 20]).end()).unwrap();
    assert_eq!(info.rsdp.unwrap().len, 20);
}

#[test]
fn tags_unknown_to_us_are_skipped() {
    let info = load(&Tags::new().add(0x4711, &[1, 2, 3]).mmap(&[(0, 0x1000, 1)]).end()).unwrap();
    assert_eq!(info.map.total(Kind::Ram), 0x1000);
}

#[test]
fn a_tag_that_is_too_short_or_too_long_is_refused() {
    for (at, size) in [(12, 7), (12, 0), (12, 0xFFFF_FFFF), (12, 0x1_0000)] {
        let mut ram = grub().end();
        ram.put(INFO + at, &u32::to_le(size));
        let expected = BootInfoError::Malformed { what: "Multiboot tag", address: INFO + 8 };
        assert_eq!(load(&ram).unwrap_err(), expected, "{size}");
    }
    for (kind, body) in [
        (tag::MODULE, 7),
        (tag::MMAP, 7),
        (tag::EFI64, 4),
        (tag::ACPI_NEW, 35),
        (tag::ACPI_OLD, 19),
    ] {
        let error = load(&grub().add(kind, &[0; 40][..body]).end()).unwrap_err();
        assert!(matches!(error, BootInfoError::Malformed { .. }), "{kind}: {error}");
    }
}

#[test]
fn a_string_does_not_run_out_of_its_tag() {
    let error =
        load(&Tags::new().add(tag::COMMAND_LINE, b"12345678").add(1, b"x\0").end()).unwrap_err();
    assert_eq!(error, BootInfoError::Malformed { what: "command line", address: INFO + 16 });
}

#[test]
fn a_map_of_entries_too_small_is_refused() {
    let error = load(&Tags::new().add(tag::MMAP, &[0; 48]).end()).unwrap_err();
    assert_eq!(error, BootInfoError::Malformed { what: "memory map", address: INFO + 16 });
}
