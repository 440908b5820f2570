//! Which processors there are, by the firmware's tables.

use crate::cpu::{peek, peek32};

fn byte(address: u64) -> u8 {
    peek32(address) as u8
}

/// The root pointer: what the loader said, or what lies in the BIOS area. 0 if there is none.
pub fn rsdp(told: u64) -> u64 {
    const SIGNATURE: u64 = u64::from_le_bytes(*b"RSD PTR ");
    if told != 0 && told < 1 << 32 && peek(told) == SIGNATURE {
        return told;
    }
    (0xE_0000..0x10_0000).step_by(16).find(|&at| peek(at) == SIGNATURE).unwrap_or(0)
}

/// Calls `found` with the APIC id of every enabled processor.
pub fn processors(rsdp: u64, mut found: impl FnMut(u32)) {
    if rsdp == 0 {
        return;
    }
    let extended = byte(rsdp + 15) >= 2 && peek(rsdp + 24) != 0;
    let (root, entry) =
        if extended { (peek(rsdp + 24), 8) } else { (u64::from(peek32(rsdp + 16)), 4) };
    let mut at = root + 36;
    while at + entry <= root + u64::from(peek32(root + 4)) {
        let table = if extended { peek(at) } else { u64::from(peek32(at)) };
        if table < 1 << 32 && peek32(table) == u32::from_le_bytes(*b"APIC") {
            madt(table, &mut found);
        }
        at += entry;
    }
}

fn madt(table: u64, found: &mut impl FnMut(u32)) {
    let end = table + u64::from(peek32(table + 4));
    let mut at = table + 44;
    while at + 2 <= end {
        match byte(at) {
            0 if byte(at + 4) & 1 != 0 => found(byte(at + 3).into()),
            9 if byte(at + 8) & 1 != 0 => found(peek32(at + 4)),
            _ => {}
        }
        at += u64::from(byte(at + 1)).max(2);
    }
}
