//! The hypervisor's own address space.
#![expect(unsafe_code, reason = "switches page tables")]

use super::frames::{self, PoolFrames};
use super::phys::{DIRECT, Ranges};
use super::{IMAGE_OFFSET, PAGE};
use crate::sync::Once;
use page_table::{LONG_MODE, PageSize, Table, flags};

/// Where stacks appear; each LP has a slot of [`SLOT`] bytes.
const STACKS: u64 = 0xFFFF_FF00_0000_0000;
/// Where the local APIC's registers appear.
const DEVICES: u64 = 0xFFFF_FFFE_0000_0000;
/// Address space per LP for stacks; most of it is the gap that catches overruns.
const SLOT: u64 = 1 << 20;
/// Bytes of an LP's main stack.
pub const STACK_SIZE: u64 = 16 << 10;
/// Bytes of each interrupt stack (double fault, NMI).
pub const INTERRUPT_STACK_SIZE: u64 = 8 << 10;

const READ: u64 = flags::PRESENT | flags::NO_EXECUTE | flags::ACCESSED;
const READ_WRITE: u64 = READ | flags::WRITE | flags::DIRTY;
const READ_EXECUTE: u64 = flags::PRESENT | flags::ACCESSED;
const DEVICE: u64 = READ_WRITE | flags::UNCACHED | flags::WRITE_THROUGH;

static SPACE: Once<Table> = Once::new();

unsafe extern "C" {
    static image_start: u8;
    static text_end: u8;
    static rodata_end: u8;
    static image_end: u8;
    static boot_guard: u8;
}

/// First byte and first byte after the image, physical.
pub fn image_range() -> (u64, u64) {
    (&raw const image_start as u64 - IMAGE_OFFSET, &raw const image_end as u64 - IMAGE_OFFSET)
}

/// Builds the address space with `direct` as direct map. Needs the pool; fails only if that is too small.
pub fn build(direct: &Ranges) -> Option<()> {
    let frames = &mut PoolFrames;
    let table = Table::new(frames, LONG_MODE)?;
    let (start, end) = image_range();
    for (from, to) in direct.iter() {
        table.map(frames, DIRECT + from, from, to - from, READ_WRITE, PageSize::Huge).ok()?;
    }
    // The image has one address only: no writable alias of its text.
    table.unmap(frames, DIRECT + start, end - start).ok()?;
    let sections = [
        (&raw const image_start, &raw const text_end, READ_EXECUTE),
        (&raw const text_end, &raw const rodata_end, READ),
        (&raw const rodata_end, &raw const image_end, READ_WRITE),
    ];
    for (from, to, flags) in sections {
        let (from, to) = (from as u64, to as u64);
        table.map(frames, from, from - IMAGE_OFFSET, to - from, flags, PageSize::Small).ok()?;
    }
    // An overrun of the first LP's stack faults, as one of the others' does.
    table.unmap(frames, &raw const boot_guard as u64, PAGE).ok()?;
    SPACE.set(table);
    Some(())
}

/// Physical address of the root table.
pub fn root() -> u64 {
    SPACE.get().root()
}

/// Leaves the boot tables for the hypervisor's own.
pub fn activate() {
    // SAFETY: `build` mapped the image, and the boot stack lies in it.
    unsafe { arch_x86::cpu::set_cr3(root()) };
}

/// Maps the page of device registers at `physical` and returns where.
pub fn map_device(physical: u64) -> Option<usize> {
    SPACE.get().map(&mut PoolFrames, DEVICES, physical, PAGE, DEVICE, PageSize::Small).ok()?;
    Some(DEVICES as usize)
}

/// Maps a stack for LP `lp` and returns its top. `which` is 0 for the main stack, else an interrupt-stack slot.
///
/// Unmapped pages lie on both sides, so an overrun faults instead of running into another stack.
pub fn map_stack(lp: u32, which: u8) -> Option<u64> {
    let size = if which == 0 { STACK_SIZE } else { INTERRUPT_STACK_SIZE };
    let base = STACKS + u64::from(lp) * SLOT + u64::from(which) * (64 << 10) + PAGE;
    let memory = frames::alloc_contiguous((size / PAGE) as usize)?;
    SPACE.get().map(&mut PoolFrames, base, memory, size, READ_WRITE, PageSize::Small).ok()?;
    Some(base + size)
}
