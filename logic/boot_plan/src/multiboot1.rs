//! Multiboot 1 information: what QEMU's `-kernel` leaves.
//!
//! The specification lets strings begin with the file's name. QEMU does so ("out/zemin ARGS", "vmlinuz ARGS"), as do
//! SYSLINUX and iPXE; GRUB 2 passes the arguments alone. The loader's name tells.

use crate::boot_info::{BootInfo, BootInfoError, CommandString, Framebuffer, Protocol, Screen};
use crate::phys::{PhysRead, read_as, read_string};
use bootdef::multiboot1::{Info, MmapEntry, Module, info};
use bootdef::multiboot2::framebuffer;

/// Bytes of memory map that we are ready to read: some 2,700 entries.
const MMAP_MAX: u32 = 64 << 10;
/// Bytes of an entry that `size` does not count.
const SIZE_FIELD: u32 = 4;

pub(crate) fn load(
    boot: &mut BootInfo,
    address: u64,
    memory: &impl PhysRead,
) -> Result<(), BootInfoError> {
    const WHAT: &str = "Multiboot information";
    let header: Info =
        read_as(memory, address).map_err(BootInfoError::unreadable(WHAT, address))?;
    let has = |flag| header.flags.get() & flag != 0;
    boot.protocol = Protocol::Multiboot1;
    if has(info::LOADER_NAME) {
        // Of no consequence if it is odd: then it is some other loader.
        let _ = read_string(memory, header.loader_name.get().into(), &mut boot.loader_name);
    }
    let has_file = !names_no_files(boot.loader_name.as_bytes());
    if has(info::COMMAND_LINE) {
        string(&mut boot.command, header.command_line.get(), has_file, "command line", memory)?;
    }
    if has(info::MMAP) {
        memory_map(boot, &header, memory)?;
    }
    if has(info::MODULES) {
        modules(boot, &header, has_file, memory)?;
    }
    boot.screen = screen(&header, has(info::FRAMEBUFFER));
    Ok(())
}

/// Whether the loader leaves the file's name out of its strings.
fn names_no_files(loader: &[u8]) -> bool {
    loader.starts_with(b"GRUB 2") || loader.starts_with(b"GRUB 1.9")
}

fn string(
    to: &mut CommandString,
    address: u32,
    has_file: bool,
    what: &'static str,
    memory: &impl PhysRead,
) -> Result<(), BootInfoError> {
    to.has_file = has_file;
    if address == 0 {
        return Ok(());
    }
    let address = address.into();
    read_string(memory, address, &mut to.text).map_err(BootInfoError::string(what, address))
}

fn memory_map(
    boot: &mut BootInfo,
    header: &Info,
    memory: &impl PhysRead,
) -> Result<(), BootInfoError> {
    const WHAT: &str = "memory map";
    let start = u64::from(header.mmap.get());
    let length = header.mmap_length.get();
    if length > MMAP_MAX {
        return Err(BootInfoError::Malformed { what: WHAT, address: start });
    }
    let mut offset = 0;
    while offset < length {
        let address = start.saturating_add(offset.into());
        let entry: MmapEntry =
            read_as(memory, address).map_err(BootInfoError::unreadable(WHAT, address))?;
        let step = entry.size.get().saturating_add(SIZE_FIELD);
        let end = offset.checked_add(step).filter(|end| *end <= length);
        let end = end.filter(|_| step as usize >= size_of::<MmapEntry>());
        offset = end.ok_or(BootInfoError::Malformed { what: WHAT, address })?;
        boot.add_region(entry.base.get(), entry.length.get(), entry.kind.get())?;
    }
    Ok(())
}

fn modules(
    boot: &mut BootInfo,
    header: &Info,
    has_file: bool,
    memory: &impl PhysRead,
) -> Result<(), BootInfoError> {
    const WHAT: &str = "list of modules";
    for index in 0..header.module_count.get() {
        let offset = u64::from(index).saturating_mul(size_of::<Module>() as u64);
        let address = u64::from(header.modules.get()).saturating_add(offset);
        let module: Module =
            read_as(memory, address).map_err(BootInfoError::unreadable(WHAT, address))?;
        let command = boot.add_module(module.start.get(), module.end.get())?;
        string(command, module.string.get(), has_file, "a module's command line", memory)?;
    }
    Ok(())
}

/// Without a word from the loader this is a BIOS machine that no one has switched from text mode.
fn screen(header: &Info, told: bool) -> Screen {
    match header.framebuffer_type {
        _ if !told => Screen::VgaText,
        framebuffer::TEXT => Screen::VgaText,
        framebuffer::RGB => Screen::Framebuffer(Framebuffer {
            address: header.framebuffer_address.get(),
            pitch: header.framebuffer_pitch.get(),
            width: header.framebuffer_width.get(),
            height: header.framebuffer_height.get(),
            bpp: header.framebuffer_bpp,
            colors: header.framebuffer_colors,
        }),
        _ => Screen::Unknown,
    }
}
