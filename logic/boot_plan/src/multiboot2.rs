//! Multiboot 2 information: what GRUB leaves, on BIOS and UEFI machines.
//!
//! GRUB puts the arguments alone into its strings: `multiboot2 /boot/zemin console=com1` gives "console=com1", and
//! `module2 /boot/vmlinuz root=/dev/sda1` gives "root=/dev/sda1".

use crate::boot_info::{
    BootInfo, BootInfoError, CommandString, Framebuffer, Protocol, RsdpCopy, Screen,
};
use crate::phys::{PhysRead, read_as, read_string};
use bootdef::multiboot2::{
    FramebufferTag, Info, MmapEntry, MmapTag, ModuleTag, TAG_ALIGN, Tag, framebuffer, tag,
};
use zerocopy::little_endian::U64;

/// Bytes of information that we are ready to read. GRUB adds ELF symbols and the EFI memory map: tens of KiB.
const INFO_MAX: u32 = 4 << 20;
const HEADER: u64 = size_of::<Tag>() as u64;

/// A tag's body: where it is and how long.
#[derive(Clone, Copy)]
struct Body {
    address: u64,
    len: u64,
}

pub(crate) fn load(
    boot: &mut BootInfo,
    address: u64,
    memory: &impl PhysRead,
) -> Result<(), BootInfoError> {
    const WHAT: &str = "Multiboot information";
    let info: Info = read_as(memory, address).map_err(BootInfoError::unreadable(WHAT, address))?;
    let total = info.total_size.get();
    if total > INFO_MAX {
        return Err(BootInfoError::Malformed { what: WHAT, address });
    }
    boot.protocol = Protocol::Multiboot2;
    let end = address.saturating_add(total.into());
    let mut at = address.saturating_add(size_of::<Info>() as u64);
    while at.saturating_add(HEADER) <= end {
        let header: Tag = read_as(memory, at).map_err(BootInfoError::unreadable(WHAT, at))?;
        let size = u64::from(header.size.get());
        if size < HEADER || size > end - at {
            return Err(BootInfoError::Malformed { what: "Multiboot tag", address: at });
        }
        if header.kind.get() == tag::END {
            break;
        }
        let body = Body { address: at.saturating_add(HEADER), len: size - HEADER };
        load_tag(boot, header.kind.get(), body, memory)?;
        at = at.saturating_add(size.next_multiple_of(TAG_ALIGN.into()));
    }
    settle_screen(boot);
    Ok(())
}

fn load_tag(
    boot: &mut BootInfo,
    kind: u32,
    body: Body,
    memory: &impl PhysRead,
) -> Result<(), BootInfoError> {
    match kind {
        tag::COMMAND_LINE => body.string(&mut boot.command, 0, "command line", memory),
        tag::LOADER_NAME => {
            // Of no consequence: nothing depends on it here.
            let _ = read_string(memory, body.address, &mut boot.loader_name);
            Ok(())
        }
        tag::MODULE => {
            let module: ModuleTag = body.read("module", memory)?;
            let command = boot.add_module(module.start.get(), module.end.get())?;
            body.string(command, size_of::<ModuleTag>() as u64, "a module's command line", memory)
        }
        tag::MMAP => memory_map(boot, body, memory),
        tag::FRAMEBUFFER => {
            boot.screen = screen(&body.read_short("frame buffer", memory)?);
            Ok(())
        }
        tag::EFI64 => {
            let pointer: U64 = body.read("EFI system table", memory)?;
            boot.efi_system_table = Some(pointer.get());
            Ok(())
        }
        tag::EFI_MMAP => {
            boot.efi_memory_map = true;
            Ok(())
        }
        tag::ACPI_OLD if boot.rsdp.is_some_and(|rsdp| rsdp.len == 36) => Ok(()),
        tag::ACPI_OLD | tag::ACPI_NEW => rsdp(boot, kind, body, memory),
        _ => Ok(()),
    }
}

impl Body {
    fn malformed(self, what: &'static str) -> BootInfoError {
        BootInfoError::Malformed { what, address: self.address }
    }

    /// The structure at the body's start, which must be there in full.
    fn read<T>(self, what: &'static str, memory: &impl PhysRead) -> Result<T, BootInfoError>
    where
        T: zerocopy::FromBytes + zerocopy::IntoBytes,
    {
        if self.len < size_of::<T>() as u64 {
            return Err(self.malformed(what));
        }
        read_as(memory, self.address).map_err(BootInfoError::unreadable(what, self.address))
    }

    /// The same, with zeros for what is missing at the end.
    fn read_short<T>(self, what: &'static str, memory: &impl PhysRead) -> Result<T, BootInfoError>
    where
        T: zerocopy::FromBytes + zerocopy::IntoBytes,
    {
        let mut value = T::new_zeroed();
        let bytes = value.as_mut_bytes();
        let len = usize::try_from(self.len).unwrap_or(usize::MAX).min(bytes.len());
        let there = bytes.get_mut(..len).unwrap_or_default();
        memory.read(self.address, there).map_err(BootInfoError::unreadable(what, self.address))?;
        Ok(value)
    }

    /// The NUL-terminated string at `offset`.
    fn string(
        self,
        to: &mut CommandString,
        offset: u64,
        what: &'static str,
        memory: &impl PhysRead,
    ) -> Result<(), BootInfoError> {
        to.has_file = false;
        let address = self.address.saturating_add(offset);
        if offset >= self.len {
            return Ok(());
        }
        read_string(memory, address, &mut to.text).map_err(BootInfoError::string(what, address))?;
        let len = to.text.as_bytes().len() as u64;
        if len < self.len - offset { Ok(()) } else { Err(self.malformed(what)) }
    }
}

fn memory_map(
    boot: &mut BootInfo,
    body: Body,
    memory: &impl PhysRead,
) -> Result<(), BootInfoError> {
    const WHAT: &str = "memory map";
    let map: MmapTag = body.read(WHAT, memory)?;
    let step = u64::from(map.entry_size.get());
    if step < size_of::<MmapEntry>() as u64 {
        return Err(body.malformed(WHAT));
    }
    let mut offset = size_of::<MmapTag>() as u64;
    while offset.saturating_add(step) <= body.len {
        let address = body.address.saturating_add(offset);
        let entry: MmapEntry =
            read_as(memory, address).map_err(BootInfoError::unreadable(WHAT, address))?;
        boot.add_region(entry.base.get(), entry.length.get(), entry.kind.get())?;
        offset = offset.saturating_add(step);
    }
    Ok(())
}

fn rsdp(
    boot: &mut BootInfo,
    kind: u32,
    body: Body,
    memory: &impl PhysRead,
) -> Result<(), BootInfoError> {
    const WHAT: &str = "copy of the RSDP";
    let len = if kind == tag::ACPI_NEW { 36 } else { 20 };
    let mut copy = RsdpCopy { bytes: [0; 36], len };
    let bytes = copy.bytes.get_mut(..len).filter(|_| body.len >= len as u64);
    let bytes = bytes.ok_or(body.malformed(WHAT))?;
    memory.read(body.address, bytes).map_err(BootInfoError::unreadable(WHAT, body.address))?;
    boot.rsdp = Some(copy);
    Ok(())
}

fn screen(tag: &FramebufferTag) -> Screen {
    match tag.kind {
        framebuffer::TEXT => Screen::VgaText,
        framebuffer::RGB => Screen::Framebuffer(Framebuffer {
            address: tag.address.get(),
            pitch: tag.pitch.get(),
            width: tag.width.get(),
            height: tag.height.get(),
            bpp: tag.bpp,
            colors: tag.colors,
        }),
        _ => Screen::Unknown,
    }
}

/// A BIOS machine whose loader says nothing of the screen is in text mode; EFI has no such mode.
fn settle_screen(boot: &mut BootInfo) {
    if boot.screen == Screen::Unknown && boot.efi_system_table.is_none() {
        boot.screen = Screen::VgaText;
    }
}
