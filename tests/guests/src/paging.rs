//! Translation: the first 4 GiB as they are, and a window of single pages that tests map as they like.
#![expect(unsafe_code, reason = "writes page tables")]

use crate::cpu;
use crate::sync::Place;
use core::sync::atomic::{AtomicU64, Ordering};

/// Present.
pub const PRESENT: u64 = 1;
/// Writable.
pub const WRITE: u64 = 1 << 1;
/// Ring 3 may.
pub const USER: u64 = 1 << 2;
/// Not cached.
pub const UNCACHED: u64 = 1 << 4;
/// Not executable.
pub const NO_EXECUTE: u64 = 1 << 63;

/// First address of the window.
const WINDOW: u64 = 0x80_0000_0000;
/// Pages of the window.
pub const SLOTS: usize = 512;

type Table = [AtomicU64; 512];
static TABLES: Place<[Table; 3]> = Place::new([const { [const { AtomicU64::new(0) }; 512] }; 3]);

unsafe extern "C" {
    static boot_pml4: u8;
}

fn table(level: usize) -> &'static Table {
    // SAFETY: atomics inside a static.
    unsafe { &(*TABLES.get())[level] }
}

/// Root of the tables, for CR3.
pub fn root() -> u64 {
    (&raw const boot_pml4) as u64
}

/// Adds the window to the tables that the kernel started on.
pub fn init() {
    let address = |level: usize| core::ptr::from_ref(table(level)) as u64;
    // SAFETY: the boot tables are this kernel's, and atomics may share them.
    let top = unsafe { &*(root() as *const Table) };
    top[1].store(address(0) | PRESENT | WRITE | USER, Ordering::SeqCst);
    table(0)[0].store(address(1) | PRESENT | WRITE | USER, Ordering::SeqCst);
    table(1)[0].store(address(2) | PRESENT | WRITE | USER, Ordering::SeqCst);
    flush();
}

/// Drops all translations of this processor.
pub fn flush() {
    cpu::set_cr3(cpu::cr3());
}

/// Address of window page `slot`.
pub fn window(slot: usize) -> u64 {
    WINDOW + slot as u64 * 4096
}

/// Maps window page `slot`, and drops its old translation on this processor.
pub fn map(slot: usize, entry: u64) -> u64 {
    set(slot, entry);
    cpu::invlpg(window(slot));
    window(slot)
}

/// Writes the entry of window page `slot`, and flushes nothing.
pub fn set(slot: usize, entry: u64) {
    table(2)[slot].store(entry, Ordering::SeqCst);
}

/// The entry of window page `slot`.
pub fn entry(slot: usize) -> u64 {
    table(2)[slot].load(Ordering::SeqCst)
}

/// Points the window's page-table entry number `index` at `entry`; index 0 is the window itself.
pub fn set_table(index: usize, entry: u64) {
    table(1)[index].store(entry, Ordering::SeqCst);
    flush();
}

/// Address that page-table entry `index` translates first.
pub fn table_window(index: usize) -> u64 {
    WINDOW + ((index as u64) << 21)
}
