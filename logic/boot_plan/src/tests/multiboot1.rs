use super::{MIB, Ram};
use crate::{BootInfo, BootInfoError, Kind, Protocol, Screen};
use bootdef::multiboot1::LOADER_MAGIC;
use std::boxed::Box;
use std::string::ToString;

const INFO: u64 = 0x9000;
const MMAP: u64 = 0x9100;
const MODULES: u64 = 0x9400;
const STRINGS: u64 = 0xA000;

/// What QEMU's `-kernel zemin -append "console=com1" -initrd "out/vmlinuz root=/dev/vda quiet,initrd.img"` leaves.
fn qemu() -> Ram {
    let mut ram = Ram::new(4 * MIB);
    let name = STRINGS;
    let line = ram.put(name, b"qemu\0");
    let kernel = ram.put(line, b"out/zemin console=com1 \0");
    let initrd = ram.put(kernel, b"out/vmlinuz root=/dev/vda quiet\0");
    ram.put(initrd, b"initrd.img\0");
    // flags, memory, device, command line, modules, symbols, memory map, drives, configuration, name
    let flags = 1 << 9 | 1 << 6 | 1 << 3 | 1 << 2 | 1;
    ram.words(INFO, &[flags, 639, 3072, 0, line as u32, 2, MODULES as u32]);
    ram.words(INFO + 44, &[24 * 6, MMAP as u32, 0, 0, 0, name as u32]);
    ram.words(MODULES, &[0x20_0000, 0x20_1234, kernel as u32, 0]);
    ram.words(MODULES + 16, &[0x20_2000, 0x20_3000, initrd as u32, 0]);
    let mut at = MMAP;
    for (base, length, kind) in [
        (0, 0x9_FC00, 1),
        (0x9_FC00, 0x400, 2),
        (0xF_0000, 0x1_0000, 2),
        (0x10_0000, 0x2F_0000, 1),
        (0x3F_0000, 0x1_0000, 3),
        (0x1_0000_0000_u64, 0x1000, 1),
    ] {
        at = ram.words(at, &[20, base as u32, (base >> 32) as u32, length, 0, kind]);
    }
    ram
}

fn load(ram: &Ram) -> Result<Box<BootInfo>, BootInfoError> {
    let mut info = Box::new(BootInfo::empty());
    info.load(LOADER_MAGIC, INFO, ram).map(|()| info)
}

#[test]
fn what_qemu_leaves_is_understood() {
    let info = load(&qemu()).unwrap();
    assert_eq!(info.protocol, Protocol::Multiboot1);
    assert_eq!(info.loader_name.to_string(), "qemu");
    assert_eq!(info.command.file(), b"out/zemin");
    assert_eq!(info.command.arguments(), b"console=com1");
    let (kernel, initrd) = (info.kernel().unwrap(), info.initrd().unwrap());
    assert_eq!((kernel.range.start, kernel.range.end), (0x20_0000, 0x20_1234));
    assert_eq!(kernel.command.file(), b"out/vmlinuz");
    assert_eq!(kernel.command.arguments(), b"root=/dev/vda quiet");
    assert_eq!(initrd.command.file(), b"initrd.img");
    assert_eq!(initrd.command.arguments(), b"");
    assert_eq!(info.map.total(Kind::Ram), 0x9_FC00 + 0x2F_0000 + 0x1000);
    assert_eq!(info.map.kind_at(0x3F_8000), Some(Kind::AcpiReclaim));
    assert_eq!(info.map.kind_at(0xA_0000), None);
    assert_eq!(info.screen, Screen::VgaText);
    assert!(info.rsdp.is_none() && !info.efi_memory_map);
}

#[test]
fn grub_2_leaves_no_file_names() {
    let mut ram = qemu();
    ram.put(STRINGS + 0x1000, b"GRUB 2.06-13\0");
    ram.words(INFO + 64, &[STRINGS as u32 + 0x1000]);
    let info = load(&ram).unwrap();
    assert_eq!(info.command.file(), b"");
    assert_eq!(info.command.arguments(), b"out/zemin console=com1");
}

#[test]
fn a_second_load_starts_afresh() {
    let mut info = load(&qemu()).unwrap();
    info.load(LOADER_MAGIC, INFO, &qemu()).unwrap();
    assert_eq!(info.modules.len(), 2);
    assert_eq!(info.command.arguments(), b"console=com1");
}

#[test]
fn another_loader_is_named_by_its_magic() {
    let error = BootInfo::empty().load(0x1234, INFO, &qemu()).unwrap_err();
    assert_eq!(error.to_string(), "not started by a Multiboot loader (EAX = 0x1234)");
}

#[test]
fn a_missing_or_empty_memory_map_is_an_error() {
    let mut ram = qemu();
    ram.words(INFO, &[1 << 2]);
    assert_eq!(load(&ram).unwrap_err(), BootInfoError::NoMemoryMap);
    let mut ram = qemu();
    ram.words(INFO + 44, &[0]);
    assert_eq!(load(&ram).unwrap_err(), BootInfoError::NoMemoryMap);
}

#[test]
fn a_memory_map_that_contradicts_itself_is_refused() {
    for size in [0, 19, 0xFFFF_FFFF, 24 * 6] {
        let mut ram = qemu();
        ram.words(MMAP, &[size]);
        assert_eq!(
            load(&ram).unwrap_err(),
            BootInfoError::Malformed { what: "memory map", address: MMAP },
            "{size}"
        );
    }
    let mut ram = qemu();
    ram.words(INFO + 44, &[0xFFFF_FFFF]);
    assert_eq!(
        load(&ram).unwrap_err(),
        BootInfoError::Malformed { what: "memory map", address: MMAP }
    );
}

#[test]
fn what_lies_outside_memory_is_named() {
    let mut ram = qemu();
    ram.words(INFO + 48, &[0xFFFF_0000]);
    let error = load(&ram).unwrap_err().to_string();
    assert_eq!(error, "memory map at 0xffff0000 cannot be read");
    let mut ram = qemu();
    ram.words(MODULES + 8, &[0xFFFF_FFF0]);
    let error = load(&ram).unwrap_err().to_string();
    assert_eq!(error, "a module's command line at 0xfffffff0 cannot be read");
}

#[test]
fn strings_have_a_limit() {
    let mut ram = qemu();
    ram.put(STRINGS + 0x1000, &[b'a'; 2047]);
    ram.words(INFO + 16, &[STRINGS as u32 + 0x1000]);
    assert_eq!(load(&ram).unwrap().command.file().len(), 2047);
    ram.put(STRINGS + 0x1000, &[b'a'; 2048]);
    assert_eq!(load(&ram).unwrap_err(), BootInfoError::StringTooLong { what: "command line" });
}

#[test]
fn modules_are_counted_and_must_hold_something() {
    let mut ram = qemu();
    ram.words(MODULES, &[0x20_0000, 0x20_0000]);
    let error = load(&ram).unwrap_err().to_string();
    assert_eq!(error, "module 1 is empty (0x200000-0x200000)");
    let mut ram = qemu();
    ram.words(INFO + 20, &[9]);
    for index in 0..9 {
        ram.words(MODULES + 16 * index, &[0x20_0000, 0x20_0001, 0, 0]);
    }
    assert_eq!(load(&ram).unwrap_err(), BootInfoError::TooManyModules);
    ram.words(INFO + 20, &[8]);
    assert_eq!(load(&ram).unwrap().modules.len(), 8);
}

#[test]
fn a_string_may_end_right_before_a_hole() {
    let mut ram = qemu();
    ram.put(4 * MIB - 3, b"hi\0");
    ram.words(INFO + 16, &[(4 * MIB - 3) as u32]);
    assert_eq!(load(&ram).unwrap().command.file(), b"hi");
}
