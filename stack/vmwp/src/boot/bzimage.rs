//! Linux' own format, by its 64-bit entry (Documentation/arch/x86/boot.rst and zero-page.rst).

use super::source::write_error;
use super::{BootError, BootSource, COMMAND_LINE, Entry, ZERO_PAGE, tables};
use crate::memory::MemoryLayout;
use crate::memory::layout::{HIGH_MEMORY_START, Range};
use linux_loader::bootparam::{boot_e820_entry, boot_params, setup_header};
use linux_loader::configurator::linux::LinuxBootConfigurator;
use linux_loader::configurator::{BootConfigurator, BootParams};
use linux_loader::loader::bzimage::BzImage;
use linux_loader::loader::{KernelLoader, KernelLoaderResult};
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

/// Loads kernel, initrd, command line and zero page.
pub fn load(
    source: &mut BootSource,
    layout: &MemoryLayout,
    memory: &GuestMemoryMmap,
    rsdp: u64,
) -> Result<Entry, BootError> {
    let header = read_header(source)?;
    let start = load_address(&header);
    let end = start + u64::from(header.init_size);
    if end > layout.low_end() {
        let (file, have) = (source.kernel.name.clone(), layout.low_end());
        return Err(BootError::KernelTooLarge { file, end, have });
    }
    let loaded = load_kernel(source, memory, start)?;
    source.write_cmdline(memory, header.cmdline_size as usize)?;
    let limit = layout.low_end().min(u64::from(header.initrd_addr_max) + 1);
    let initrd = source.load_initrd(memory, end.max(loaded.kernel_end), limit)?;
    write_zero_page(memory, zero_page(header, layout, initrd, rsdp))?;
    tables::write(memory)?;
    Ok(Entry::Linux64 { entry: start + ENTRY_64 })
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

fn load_kernel(
    source: &mut BootSource,
    memory: &GuestMemoryMmap,
    start: u64,
) -> Result<KernelLoaderResult, BootError> {
    let file = &mut source.kernel.file;
    let (start, lowest) = (Some(GuestAddress(start)), Some(GuestAddress(HIGH_MEMORY_START)));
    BzImage::load(memory, start, file, lowest).map_err(|error| BootError::Load {
        file: source.kernel.name.clone(),
        reason: error.to_string(),
    })
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
