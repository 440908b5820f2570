//! What the 64-bit boot protocol wants in the parent's memory besides kernel and initrd, in one run of pages:
//!
//! ```text
//! page 0      zero page (struct boot_params)
//! page 1      GDT: __BOOT_CS at 0x10, __BOOT_DS at 0x18, both flat
//! page 2..8   page tables: the first 4 GiB mapped to themselves, in 2 MiB pages
//! page 8..    command line, with its NUL
//! ```
//!
//! The kernel copies or replaces all of it early in its boot; it never has to be reserved.

use crate::range::{PAGE, PhysRange};

/// Where the page tables end: kernel, zero page and command line lie below. An initrd need not.
pub const IDENTITY_MAPPED: u64 = 4 << 30;
/// The GDT's contents.
pub const GDT: [u64; 4] = [0, 0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF];
/// Pages of the page tables: PML4, PDPT, four page directories.
pub const TABLES: u64 = 6;

const TABLES_AT: u64 = 2 * PAGE;
const COMMAND_LINE_AT: u64 = TABLES_AT + TABLES * PAGE;
const PRESENT_WRITABLE: u64 = 0b11;
const LARGE: u64 = 1 << 7;
const LARGE_PAGE: u64 = 2 << 20;

/// The run of pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handover {
    /// All of it.
    pub range: PhysRange,
}

impl Handover {
    pub(crate) const NONE: Self = Self { range: PhysRange::EMPTY };

    /// Bytes for a command line of `len` characters.
    pub(crate) const fn size(len: u64) -> u64 {
        COMMAND_LINE_AT + (len / PAGE + 1) * PAGE
    }

    /// Address of the zero page: RSI at the kernel's entry.
    pub const fn boot_params(&self) -> u64 {
        self.range.start
    }

    /// Address of the GDT, which holds [`GDT`].
    pub const fn gdt(&self) -> u64 {
        self.range.start + PAGE
    }

    /// Address of the PML4: CR3 at the kernel's entry.
    pub const fn page_tables(&self) -> u64 {
        self.range.start + TABLES_AT
    }

    /// Address of the command line.
    pub const fn command_line(&self) -> u64 {
        self.range.start + COMMAND_LINE_AT
    }

    /// Fills the page table at `page_tables() + index * 4096`. `index` is below [`TABLES`].
    pub fn fill_table(&self, index: u64, table: &mut [u64; 512]) {
        let next = self.page_tables().saturating_add(PAGE) | PRESENT_WRITABLE;
        table.fill(0);
        match index {
            0 => table[0] = next,
            1 => {
                // PDPT: one entry for each page directory, which follow it.
                for (entry, number) in table.iter_mut().take(4).zip(1..) {
                    *entry = next + number * PAGE;
                }
            }
            _ => {
                let first = (index - 2).saturating_mul(512);
                for (entry, number) in table.iter_mut().zip(first..) {
                    *entry = number.saturating_mul(LARGE_PAGE) | LARGE | PRESENT_WRITABLE;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDOVER: Handover = Handover { range: PhysRange::at(0x20_0000, Handover::size(100)) };

    fn table(at: u64) -> [u64; 512] {
        let index = (at - HANDOVER.page_tables()) / PAGE;
        assert!(index < TABLES);
        let mut table = [7; 512];
        HANDOVER.fill_table(index, &mut table);
        table
    }

    fn translate(address: u64) -> u64 {
        let mut at = HANDOVER.page_tables();
        for shift in [39, 30, 21] {
            let entry = table(at)[(address >> shift & 511) as usize];
            assert_eq!(entry & 3, 3, "{address:#x} is not mapped");
            at = entry & !0xFFF;
            if entry & LARGE != 0 {
                return at | address & (LARGE_PAGE - 1);
            }
        }
        panic!("no large page for {address:#x}");
    }

    #[test]
    fn the_first_4_gib_are_mapped_to_themselves_and_nothing_else_is() {
        for address in [0, 0x1234, 0x20_0000, 0x3FFF_FFFF, 0x4000_0000, 0xFEE0_0000, 0xFFFF_FFFF] {
            assert_eq!(translate(address), address);
        }
        let pdpt = table(HANDOVER.page_tables() + PAGE);
        assert!(pdpt[4..].iter().all(|entry| *entry == 0));
    }

    #[test]
    fn the_parts_follow_each_other_inside_the_range() {
        assert_eq!(HANDOVER.range.len(), 9 * PAGE);
        assert_eq!(HANDOVER.command_line(), HANDOVER.page_tables() + TABLES * PAGE);
        assert_eq!(Handover::size(PAGE - 1), 9 * PAGE);
        assert_eq!(Handover::size(PAGE), 10 * PAGE);
    }
}
