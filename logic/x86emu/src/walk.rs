//! The guest's own page tables (AMD APM vol. 2, chapter 5): linear address to guest physical address.
//!
//! The walk checks presence, tells of rights and sets no accessed bits.

/// The registers that decide how linear addresses are translated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Paging {
    /// CR0.
    pub cr0: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// EFER.
    pub efer: u64,
}

const CR0_PG: u64 = 1 << 31;
const CR4_PSE: u64 = 1 << 4;
const CR4_PAE: u64 = 1 << 5;
const CR4_LA57: u64 = 1 << 12;
const EFER_LMA: u64 = 1 << 10;

const PRESENT: u64 = 1;
const LEAF: u64 = 1 << 7;
const ADDRESS: u64 = 0x000F_FFFF_FFFF_F000;

/// Bits of entries: every one must allow writing and user mode, none forbid execution.
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const NO_EXECUTE: u64 = 1 << 63;

/// Why there is no translation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotPresent {
    /// An entry is not present.
    Entry,
    /// A table cannot be read.
    Table,
}

/// Where a linear address leads, and what the tables allow there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Translation {
    /// Guest physical address.
    pub gpa: u64,
    /// Every level allows writing. Supervisors may write anyway without CR0.WP.
    pub writable: bool,
    /// Every level is for user mode too.
    pub user: bool,
    /// No level forbids execution.
    pub executable: bool,
}

impl Translation {
    fn new(gpa: u64, rights: u64) -> Self {
        Self {
            gpa,
            writable: rights & WRITE != 0,
            user: rights & USER != 0,
            executable: rights & NO_EXECUTE == 0,
        }
    }
}

/// Guest physical address of linear address `linear`. `read` reads `size` (4 or 8) bytes of guest memory.
pub fn translate(
    paging: Paging,
    linear: u64,
    read: impl FnMut(u64, usize) -> Option<u64>,
) -> Result<u64, NotPresent> {
    walk(paging, linear, read).map(|translation| translation.gpa)
}

/// The same with the rights.
pub fn walk(
    paging: Paging,
    linear: u64,
    mut read: impl FnMut(u64, usize) -> Option<u64>,
) -> Result<Translation, NotPresent> {
    if paging.cr0 & CR0_PG == 0 {
        return Ok(Translation::new(linear & 0xFFFF_FFFF, ALL));
    }
    if paging.efer & EFER_LMA != 0 {
        let levels = if paging.cr4 & CR4_LA57 != 0 { 5 } else { 4 };
        walk_long(paging.cr3 & ADDRESS, linear, levels, &mut |at| read(at, 8))
    } else if paging.cr4 & CR4_PAE != 0 {
        walk_pae(paging.cr3, linear & 0xFFFF_FFFF, &mut |at| read(at, 8))
    } else {
        walk_32(paging, linear & 0xFFFF_FFFF, &mut |at| read(at, 4))
    }
}

type Read<'a> = &'a mut dyn FnMut(u64) -> Option<u64>;

/// Everything is allowed.
const ALL: u64 = WRITE | USER;

/// What is left of `rights` behind an entry.
fn narrow(rights: u64, entry: u64) -> u64 {
    rights & entry & ALL | (rights | entry) & NO_EXECUTE
}

fn present(entry: Option<u64>) -> Result<u64, NotPresent> {
    let entry = entry.ok_or(NotPresent::Table)?;
    if entry & PRESENT == 0 { Err(NotPresent::Entry) } else { Ok(entry) }
}

/// Tables of 512 eight-byte entries, `levels` deep.
fn walk_long(
    mut table: u64,
    linear: u64,
    levels: u32,
    read: Read<'_>,
) -> Result<Translation, NotPresent> {
    let mut rights = ALL;
    for level in (0..levels).rev() {
        let shift = 12 + 9 * level;
        let entry = present(read(table + (linear >> shift & 0x1FF) * 8))?;
        rights = narrow(rights, entry);
        let is_leaf = level == 0 || level <= 2 && entry & LEAF != 0;
        if is_leaf {
            let offset = (1 << shift) - 1;
            return Ok(Translation::new(entry & ADDRESS & !offset | linear & offset, rights));
        }
        table = entry & ADDRESS;
    }
    Err(NotPresent::Entry)
}

/// PAE: four pointers, then two levels.
fn walk_pae(cr3: u64, linear: u64, read: Read<'_>) -> Result<Translation, NotPresent> {
    let pointer = present(read((cr3 & 0xFFFF_FFE0) + (linear >> 30) * 8))?;
    walk_long(pointer & ADDRESS, linear & 0x3FFF_FFFF, 2, read)
}

/// Two levels of 1024 four-byte entries.
fn walk_32(paging: Paging, linear: u64, read: Read<'_>) -> Result<Translation, NotPresent> {
    let directory = present(read((paging.cr3 & 0xFFFF_F000) + (linear >> 22) * 4))?;
    if directory & LEAF != 0 && paging.cr4 & CR4_PSE != 0 {
        // Bits 20:13 of the entry are bits 39:32 of the address (PSE-36).
        let gpa = directory & 0xFFC0_0000 | (directory >> 13 & 0xFF) << 32 | linear & 0x3F_FFFF;
        return Ok(Translation::new(gpa, directory & ALL));
    }
    let entry = present(read((directory & 0xFFFF_F000) + (linear >> 12 & 0x3FF) * 4))?;
    Ok(Translation::new(entry & 0xFFFF_F000 | linear & 0xFFF, narrow(directory & ALL, entry)))
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::collections::HashMap;

    const LONG: Paging = Paging { cr0: CR0_PG | 1, cr3: 0x1000, cr4: CR4_PAE, efer: EFER_LMA };

    fn memory(entries: &[(u64, u64)]) -> impl FnMut(u64, usize) -> Option<u64> {
        let map: HashMap<u64, u64> = entries.iter().copied().collect();
        move |at, _| Some(map.get(&at).copied().unwrap_or(0))
    }

    #[test]
    fn without_paging_addresses_are_physical() {
        let real = Paging { cr0: 0, ..LONG };
        assert_eq!(translate(real, 0x1_2345, |_, _| None), Ok(0x1_2345));
    }

    #[test]
    fn four_levels_and_large_leaves() {
        let linear = 0xFFFF_8000_4020_3456;
        let four =
            [(0x1800, 0x2001), (0x2008, 0x3001), (0x3008, 0x4001), (0x4018, 0x7_0000_9001u64)];
        assert_eq!(translate(LONG, linear, memory(&four)), Ok(0x7_0000_9456));
        let large = [(0x1800, 0x2001), (0x2008, 0x3001), (0x3008, 0x8060_0081)];
        assert_eq!(translate(LONG, linear, memory(&large)), Ok(0x8060_3456));
        let huge = [(0x1800, 0x2001), (0x2008, 0x1_4000_0081)];
        assert_eq!(translate(LONG, linear, memory(&huge)), Ok(0x1_4020_3456));
        let rights = |entries: &[(u64, u64)]| {
            let found = walk(LONG, linear, memory(entries)).unwrap();
            (found.writable, found.user, found.executable)
        };
        let open = [(0x1800, 0x2007), (0x2008, 0x3007), (0x3008, 0x8060_0087)];
        assert_eq!(rights(&open), (true, true, true));
        let [first, second, leaf] = open;
        assert_eq!(rights(&[first, (second.0, 0x3005), leaf]), (false, true, true));
        assert_eq!(rights(&[(first.0, 0x2003), second, leaf]), (true, false, true));
        assert_eq!(rights(&[first, (second.0, second.1 | NO_EXECUTE), leaf]), (true, true, false));
        assert_eq!(translate(LONG, linear, memory(&[])), Err(NotPresent::Entry));
        assert_eq!(translate(LONG, linear, |_, _| None), Err(NotPresent::Table));
    }

    #[test]
    fn two_level_tables() {
        let legacy = Paging { cr4: CR4_PSE, efer: 0, ..LONG };
        let small = [(0x1004, 0x2001), (0x2008, 0x9001)];
        assert_eq!(translate(legacy, 0x0040_2123, memory(&small)), Ok(0x9123));
        assert_eq!(
            translate(legacy, 0x0040_2123, memory(&[(0x1004, 0x0080_0081)])),
            Ok(0x0080_2123)
        );
    }

    #[test]
    fn pae_tables() {
        let pae = Paging { efer: 0, cr3: 0x1020, ..LONG };
        let tables = [(0x1028, 0x2001), (0x2008, 0x3001), (0x3008, 0xA001)];
        assert_eq!(translate(pae, 0x4020_1234, memory(&tables)), Ok(0xA234));
    }
}
