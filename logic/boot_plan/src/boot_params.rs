//! The zero page: the kernel's own setup header with our answers, memory map, initrd, screen.

use crate::boot_info::{Framebuffer, Screen};
use crate::bzimage::Kernel;
use crate::load_plan::LoadRequest;
use crate::memory_map::MemoryMap;
use crate::place::Layout;
use crate::range::PAGE;
use bootdef::linux::{
    BootParams, E820Entry, LOADER_UNDEFINED, ScreenInfo, VIDEO_NORMAL, loadflags, video,
};
use zerocopy::{FromBytes, FromZeros};

/// Writes the zero page for a kernel placed as in `layout`.
pub(crate) fn fill(
    page: &mut [u8; PAGE as usize],
    request: &LoadRequest<'_>,
    kernel: &Kernel,
    layout: &Layout,
) {
    page.fill(0);
    let Ok(params) = BootParams::mut_from_bytes(page) else { return };
    params.hdr = kernel.header;
    params.acpi_rsdp_addr.set(request.rsdp);
    header(params, layout);
    e820(params, request.map);
    screen(&mut params.screen_info, request);
}

fn header(params: &mut BootParams, layout: &Layout) {
    let hdr = &mut params.hdr;
    hdr.type_of_loader = LOADER_UNDEFINED;
    hdr.ext_loader_type = 0;
    hdr.ext_loader_ver = 0;
    hdr.loadflags &= !(loadflags::CAN_USE_HEAP | loadflags::KASLR);
    hdr.vid_mode.set(VIDEO_NORMAL);
    hdr.code32_start.set(low(layout.kernel.start));
    hdr.setup_data.set(0);
    let command_line = layout.handover.command_line();
    hdr.cmd_line_ptr.set(low(command_line));
    params.ext_cmd_line_ptr.set(high(command_line));
    let (image, size) = layout.initrd.map_or((0, 0), |initrd| (initrd.start, initrd.len()));
    hdr.ramdisk_image.set(low(image));
    hdr.ramdisk_size.set(low(size));
    params.ext_ramdisk_image.set(high(image));
    params.ext_ramdisk_size.set(high(size));
}

const fn low(value: u64) -> u32 {
    value as u32
}

const fn high(value: u64) -> u32 {
    (value >> 32) as u32
}

/// One entry for each run of regions of the same e820 type. They never are more than the regions, so they fit.
fn e820(params: &mut BootParams, map: &MemoryMap) {
    let mut used = 0_u8;
    let mut last: Option<&mut E820Entry> = None;
    let mut slots = params.e820_table.iter_mut();
    for region in map.regions() {
        let kind = region.kind.e820();
        if let Some(entry) = last.as_mut()
            && entry.kind.get() == kind
            && entry.base.get().saturating_add(entry.length.get()) == region.range.start
        {
            entry.length.set(entry.length.get().saturating_add(region.range.len()));
            continue;
        }
        let Some(slot) = slots.next() else { break };
        slot.base.set(region.range.start);
        slot.length.set(region.range.len());
        slot.kind.set(kind);
        used = used.saturating_add(1);
        last = Some(slot);
    }
    params.e820_entries = used;
}

fn screen(info: &mut ScreenInfo, request: &LoadRequest<'_>) {
    *info = ScreenInfo::new_zeroed();
    match &request.screen {
        Screen::Unknown => {}
        Screen::VgaText => {
            info.orig_video_mode = 3;
            info.orig_video_cols = 80;
            info.orig_video_lines = 25;
            info.orig_video_points.set(16);
            info.is_vga = video::VGA_TEXT;
        }
        Screen::Framebuffer(buffer) => framebuffer(info, buffer, request.efi),
    }
}

/// A frame buffer whose numbers do not fit the format is left out: no screen is better than a wrong one.
fn framebuffer(info: &mut ScreenInfo, buffer: &Framebuffer, efi: bool) {
    let fit = |value: u32| u16::try_from(value).ok();
    let (Some(width), Some(height), Some(pitch)) =
        (fit(buffer.width), fit(buffer.height), fit(buffer.pitch))
    else {
        return;
    };
    let bytes = u64::from(buffer.pitch).saturating_mul(buffer.height.into());
    // The EFI form counts bytes, the VESA form units of 64 KiB.
    let size = if efi { bytes } else { bytes.div_ceil(0x1_0000) };
    let Ok(size) = u32::try_from(size) else { return };
    info.is_vga = if efi { video::EFI } else { video::VESA_LFB };
    info.lfb_width.set(width);
    info.lfb_height.set(height);
    info.lfb_linelength.set(pitch);
    info.lfb_depth.set(buffer.bpp.into());
    info.lfb_base.set(low(buffer.address));
    info.ext_lfb_base.set(high(buffer.address));
    info.lfb_size.set(size);
    if high(buffer.address) != 0 {
        info.capabilities.set(video::CAPABILITY_64BIT_BASE);
    }
    // Loaders say position, then size; the kernel wants size, then position.
    let [red_at, red, green_at, green, blue_at, blue] = buffer.colors;
    info.colors = [red, red_at, green, green_at, blue, blue_at, 0, 0];
}
