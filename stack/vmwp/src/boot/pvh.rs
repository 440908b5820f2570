//! ELF kernels by their PVH entry (Xen's docs/misc/pvh.pandoc; `hvm_start_info` version 1).

use super::source::write_error;
use super::{BootError, BootSource, COMMAND_LINE, Entry, START_INFO};
use crate::memory::MemoryLayout;
use crate::memory::layout::{HIGH_MEMORY_START, Range};
use linux_loader::configurator::pvh::PvhBootConfigurator;
use linux_loader::configurator::{BootConfigurator, BootParams};
use linux_loader::loader::elf::{Elf, PvhBootCapability};
use linux_loader::loader::start_info::{hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info};
use linux_loader::loader::{KernelLoader, KernelLoaderResult};
use vm_memory::{GuestAddress, GuestMemoryMmap};

/// "xEn3".
const MAGIC: u32 = 0x336E_C578;
const VERSION: u32 = 1;
/// Behind the start info in the same page.
const MODULES: u64 = START_INFO + 0x100;
const MEMORY_MAP: u64 = START_INFO + 0x200;
/// The protocol has no limit of its own.
const COMMAND_LINE_LIMIT: usize = super::COMMAND_LINE_MAX - 1;

/// Loads kernel, initrd, command line and start info.
pub fn load(
    source: &mut BootSource,
    layout: &MemoryLayout,
    memory: &GuestMemoryMmap,
    rsdp: u64,
) -> Result<Entry, BootError> {
    let loaded = load_kernel(source, memory)?;
    let PvhBootCapability::PvhEntryPresent(entry) = loaded.pvh_boot_cap else {
        return Err(BootError::NoPvhEntry(source.kernel.name.clone()));
    };
    source.write_cmdline(memory, COMMAND_LINE_LIMIT)?;
    let initrd = source.load_initrd(memory, loaded.kernel_end, layout.low_end())?;
    write_start_info(memory, layout, initrd, rsdp)?;
    Ok(Entry::Pvh { entry: entry.0 })
}

fn load_kernel(
    source: &mut BootSource,
    memory: &GuestMemoryMmap,
) -> Result<KernelLoaderResult, BootError> {
    let lowest = Some(GuestAddress(HIGH_MEMORY_START));
    Elf::load(memory, None, &mut source.kernel.file, lowest).map_err(|error| BootError::Load {
        file: source.kernel.name.clone(),
        reason: error.to_string(),
    })
}

fn write_start_info(
    memory: &GuestMemoryMmap,
    layout: &MemoryLayout,
    initrd: Option<Range>,
    rsdp: u64,
) -> Result<(), BootError> {
    let map: Vec<_> = layout.map().into_iter().map(map_entry).collect();
    let info = hvm_start_info {
        magic: MAGIC,
        version: VERSION,
        nr_modules: u32::from(initrd.is_some()),
        modlist_paddr: MODULES,
        cmdline_paddr: COMMAND_LINE,
        rsdp_paddr: rsdp,
        memmap_paddr: MEMORY_MAP,
        memmap_entries: map.len() as u32,
        ..Default::default()
    };
    let mut params = BootParams::new(&info, GuestAddress(START_INFO));
    params.set_sections(&map, GuestAddress(MEMORY_MAP));
    if let Some(range) = initrd {
        let module =
            hvm_modlist_entry { paddr: range.start, size: range.size(), ..Default::default() };
        params.set_modules(&[module], GuestAddress(MODULES));
    }
    PvhBootConfigurator::write_bootparams(&params, memory).map_err(write_error)
}

fn map_entry((range, kind): (Range, crate::memory::layout::RegionKind)) -> hvm_memmap_table_entry {
    hvm_memmap_table_entry {
        addr: range.start,
        size: range.size(),
        type_: kind as u32,
        ..Default::default()
    }
}
