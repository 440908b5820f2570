//! Linux' own format, by its 64-bit entry (Documentation/arch/x86/boot.rst and zero-page.rst).

use super::source::{NamedFile, write_error};
use super::unpacked::{self, Place};
use super::{BootError, BootSource, COMMAND_LINE, Entry, ZERO_PAGE, tables};
use crate::memory::MemoryLayout;
use crate::memory::layout::{HIGH_MEMORY_START, Range};
use linux_loader::bootparam::{boot_e820_entry, boot_params, setup_header};
use linux_loader::configurator::linux::LinuxBootConfigurator;
use linux_loader::configurator::{BootConfigurator, BootParams};
use linux_loader::loader::KernelLoader;
use linux_loader::loader::bzimage::BzImage;
use std::io::Seek;
use vm_memory::{GuestAddress, GuestMemoryMmap};

/// The 64-bit entry lies this far into the loaded part.
const ENTRY_64: u64 = 0x200;
/// First boot protocol whose header tells of the 64-bit entry.
const PROTOCOL_2_12: u16 = 0x020C;
/// `xloadflags`: there is a 64-bit entry.
const HAS_64_BIT_ENTRY: u16 = 1;
/// `type_of_loader`: none of those with a number.
const UNKNOWN_LOADER: u8 = 0xFF;
/// Where the loader reads the header from a file.
const HEADER_OFFSET: u64 = 0x1F1;
/// `loadflags`: the kernel's addresses were chosen at random (KASLR_FLAG).
const KASLR: u8 = 1 << 1;

/// Loads kernel, initrd, command line and zero page.
pub fn load(
    source: &mut BootSource,
    layout: &MemoryLayout,
    memory: &GuestMemoryMmap,
    rsdp: u64,
) -> Result<Entry, BootError> {
    let mut header = read_header(source)?;
    let start = load_address(&header);
    let end = start + u64::from(header.init_size);
    if end > layout.low_end() {
        let (file, have) = (source.kernel.name.clone(), layout.low_end());
        return Err(BootError::KernelTooLarge { file, end, have });
    }
    source.write_cmdline(memory, header.cmdline_size as usize)?;
    let limit = layout.low_end().min(u64::from(header.initrd_addr_max) + 1);
    let initrd = source.load_initrd(memory, end, limit)?;
    let room = Range { start, end: initrd.map_or(layout.low_end(), |initrd| initrd.start) };
    let entry = match load_unpacked(source, memory, &mut header, room) {
        Some(entry) => entry,
        None => load_kernel(source, memory, room)? + ENTRY_64,
    };
    write_zero_page(memory, zero_page(header, layout, initrd, rsdp))?;
    tables::write(memory)?;
    Ok(Entry::Linux64 { entry })
}

/// Takes the kernel as it was unpacked before, if it was. Its first instruction.
fn load_unpacked(
    source: &BootSource,
    memory: &GuestMemoryMmap,
    header: &mut setup_header,
    room: Range,
) -> Option<u64> {
    let mut kept = source.cache.as_ref()?.get(&source.kernel.file)?;
    let facts = KernelHeader {
        base: header.pref_address,
        init_size: header.init_size.into(),
        alignment: u64::from(header.kernel_alignment).max(1),
    };
    let load = |random| {
        let movable = !kept.relocations.is_empty();
        let place = Place::choose(&facts, &source.cmdline, movable, room.end, random);
        unpacked::load(&mut kept, place, memory).map(|entry| (entry, place))
    };
    let loaded = unpacked::random().map_err(Into::into).and_then(load);
    match loaded {
        Ok((entry, place)) => {
            // What the guest's own code would say of it.
            header.loadflags = header.loadflags & !KASLR | if place.is_random { KASLR } else { 0 };
            tracing::info!(kernel = source.kernel.name, "was unpacked before");
            Some(entry)
        }
        Err(error) => {
            tracing::warn!("the guest unpacks its kernel: {error:#}");
            None
        }
    }
}

/// What a kernel's header says of where it may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct KernelHeader {
    /// Physical address for which it is linked.
    pub(super) base: u64,
    /// Bytes it needs from its beginning on.
    pub(super) init_size: u64,
    /// What its address must be a multiple of.
    pub(super) alignment: u64,
}

impl KernelHeader {
    /// How far from its base it lies in the slot with this number, of those that end before `end`; counted round.
    pub(super) fn slot(&self, end: u64, number: u64) -> u64 {
        let room = end.saturating_sub(self.base.saturating_add(self.init_size));
        self.alignment * (number % (room / self.alignment + 1))
    }
}

/// The header, if the kernel has a 64-bit entry.
fn read_header(source: &mut BootSource) -> Result<setup_header, BootError> {
    use std::io::{Read, SeekFrom};
    use vm_memory::ByteValued;
    let mut header = setup_header::default();
    let file = &mut source.kernel.file;
    let read = file
        .seek(SeekFrom::Start(HEADER_OFFSET))
        .and_then(|_| file.read_exact(header.as_mut_slice()));
    let name = source.kernel.name.clone();
    read.map_err(|error| BootError::Read { file: name.clone(), source: error })?;
    if header.version < PROTOCOL_2_12 || header.xloadflags & HAS_64_BIT_ENTRY == 0 {
        return Err(BootError::No64BitEntry(name));
    }
    Ok(header)
}

/// Where it was linked to run; a relocatable kernel would move itself there from elsewhere.
fn load_address(header: &setup_header) -> u64 {
    if header.relocatable_kernel != 0 && header.pref_address >= HIGH_MEMORY_START {
        header.pref_address
    } else {
        u64::from(header.code32_start)
    }
}

/// Puts the packed kernel into memory. Where it is.
fn load_kernel(
    source: &mut BootSource,
    memory: &GuestMemoryMmap,
    room: Range,
) -> Result<u64, BootError> {
    let NamedFile { file, name } = &mut source.kernel;
    let (start, lowest) = (Some(GuestAddress(room.start)), Some(GuestAddress(HIGH_MEMORY_START)));
    let loaded = BzImage::load(memory, start, file, lowest)
        .map_err(|error| BootError::Load { file: name.clone(), reason: error.to_string() })?;
    if loaded.kernel_end > room.end {
        let (file, end) = (name.clone(), loaded.kernel_end);
        return Err(BootError::KernelTooLarge { file, end, have: room.end });
    }
    Ok(room.start)
}

fn zero_page(
    mut header: setup_header,
    layout: &MemoryLayout,
    initrd: Option<Range>,
    rsdp: u64,
) -> boot_params {
    header.type_of_loader = UNKNOWN_LOADER;
    header.cmd_line_ptr = COMMAND_LINE as u32;
    if let Some(range) = initrd {
        header.ramdisk_image = range.start as u32;
        header.ramdisk_size = range.size() as u32;
    }
    let mut params = boot_params { hdr: header, acpi_rsdp_addr: rsdp, ..Default::default() };
    let map = layout.map();
    params.e820_entries = map.len() as u8;
    for (entry, (range, kind)) in params.e820_table.iter_mut().zip(map) {
        *entry = boot_e820_entry { addr: range.start, size: range.size(), r#type: kind as u32 };
    }
    params
}

fn write_zero_page(memory: &GuestMemoryMmap, params: boot_params) -> Result<(), BootError> {
    let params = BootParams::new(&params, GuestAddress(ZERO_PAGE));
    LinuxBootConfigurator::write_bootparams(&params, memory).map_err(write_error)
}
