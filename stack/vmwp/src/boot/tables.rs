//! Descriptor and page tables for a start in long mode: the first 4 GiB mapped to themselves.

use super::source::write_error;
use super::{BootError, GDT, PAGE_TABLES};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const PRESENT_WRITABLE: u64 = 0b11;
const LARGE: u64 = 1 << 7;
const TABLE: u64 = 0x1000;
const ENTRIES: u64 = 512;
const LARGE_PAGE: u64 = 2 << 20;
/// Tables of 1 GiB each.
const DIRECTORIES: u64 = 4;

/// Selectors the 64-bit boot protocol asks for.
pub const CODE_SELECTOR: u16 = 0x10;
/// Data segments.
pub const DATA_SELECTOR: u16 = 0x18;
/// Task segment.
pub const TASK_SELECTOR: u16 = 0x20;

/// Null, null, 64-bit code, data, task.
const DESCRIPTORS: [u64; 6] =
    [0, 0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF, 0x0000_8B00_0000_0067, 0];

/// Bytes of the descriptor table less one.
pub const GDT_LIMIT: u16 = (DESCRIPTORS.len() * 8 - 1) as u16;

/// Writes both.
pub fn write(memory: &GuestMemoryMmap) -> Result<(), BootError> {
    let put = |entry: u64, at: u64| memory.write_obj(entry, GuestAddress(at)).map_err(write_error);
    for (number, descriptor) in (0u64..).zip(DESCRIPTORS) {
        put(descriptor, GDT + number * 8)?;
    }
    let pointers = PAGE_TABLES + TABLE;
    put(pointers | PRESENT_WRITABLE, PAGE_TABLES)?;
    for gib in 0..DIRECTORIES {
        let directory = pointers + (1 + gib) * TABLE;
        put(directory | PRESENT_WRITABLE, pointers + gib * 8)?;
        for number in 0..ENTRIES {
            let page = (gib * ENTRIES + number) * LARGE_PAGE;
            put(page | LARGE | PRESENT_WRITABLE, directory + number * 8)?;
        }
    }
    Ok(())
}
