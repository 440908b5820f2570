//! Scaffolding, gone when the real crates land.
#![allow(missing_docs, unused, unsafe_code, reason = "scaffolding")]
use crate::mem::phys;

pub fn r32(a: u64) -> u32 { let mut b = [0; 4]; assert!(phys::read(a, &mut b)); u32::from_le_bytes(b) }
pub fn r16(a: u64) -> u16 { let mut b = [0; 2]; assert!(phys::read(a, &mut b)); u16::from_le_bytes(b) }
pub fn r8(a: u64) -> u8 { let mut b = [0; 1]; assert!(phys::read(a, &mut b)); b[0] }
pub fn r64(a: u64) -> u64 { let mut b = [0; 8]; assert!(phys::read(a, &mut b)); u64::from_le_bytes(b) }

#[derive(Clone, Copy)]
pub struct Mem { pub start: u64, pub len: u64, pub kind: u32 }
pub fn mmap(info: u64) -> ([Mem; 32], usize) {
    let (len, addr) = (r32(info + 44), r32(info + 48));
    let mut out = [Mem { start: 0, len: 0, kind: 0 }; 32];
    let mut n = 0; let mut at = u64::from(addr); let end = at + u64::from(len);
    while at < end && n < 32 { let size = r32(at); out[n] = Mem { start: r64(at + 4), len: r64(at + 12), kind: r32(at + 20) }; n += 1; at += u64::from(size) + 4; }
    (out, n)
}
pub fn module(info: u64, i: u32) -> Option<(u64, u64, u64)> {
    if i >= r32(info + 20) { return None; }
    let m = u64::from(r32(info + 24)) + 16 * u64::from(i);
    Some((r32(m).into(), r32(m + 4).into(), r32(m + 8).into()))
}
pub struct Acpi { pub apics: [u32; 64], pub n: usize, pub pm_timer: u16, pub pm1a: u16, pub rsdp: u64 }
pub fn acpi() -> Acpi {
    let mut a = Acpi { apics: [0; 64], n: 0, pm_timer: 0, pm1a: 0, rsdp: 0 };
    let mut at = 0xE0000;
    while at < 0x100000 { if r64(at) == u64::from_le_bytes(*b"RSD PTR ") { break; } at += 16; }
    a.rsdp = at;
    let rsdt = u64::from(r32(at + 16)); let len = u64::from(r32(rsdt + 4));
    for i in 0..(len - 36) / 4 {
        let t = u64::from(r32(rsdt + 36 + 4 * i));
        let sig = r32(t).to_le_bytes();
        if &sig == b"FACP" { a.pm_timer = r32(t + 76) as u16; a.pm1a = r32(t + 64) as u16; }
        if &sig == b"APIC" {
            let end = t + u64::from(r32(t + 4)); let mut e = t + 44;
            while e < end { let (k, l) = (r8(e), r8(e + 1)); if k == 0 && r32(e + 4) & 1 != 0 { a.apics[a.n] = r8(e + 3).into(); a.n += 1; } e += u64::from(l); }
        }
    }
    a
}
/// Loads kernel and initrd; returns entry and boot_params.
pub fn load(info: u64, map: &[Mem], reserved: &[(u64, u64)], rsdp: u64, top: u64) -> (u64, u64) {
    let (k, kend, cmd) = module(info, 0).unwrap();
    assert!(r32(k + 0x202) == 0x5372_6448);
    let setup = (u64::from(r8(k + 0x1f1)) + 1) * 512;
    // initrd to the top
    let mut ird = (0, 0);
    if let Some((s, e, _)) = module(info, 1) { let to = (top - (e - s)) & !0xFFF; phys::relocate(s, to, e - s); ird = (to, e - s); }
    let bp = 0x90000u64; let cl = 0x91000u64;
    phys::zero(bp, 4096);
    phys::relocate(k + 0x1f1, bp + 0x1f1, 0x290 - 0x1f1);
    phys::write(bp + 0x210, &[0xFF]);
    let mut n = 0u64; let mut c = cmd; while r8(c) != 0 && r8(c) != b' ' { c += 1; }
    while r8(c + n) != 0 { n += 1; }
    phys::relocate(c, cl, n + 1);
    phys::write(bp + 0x228, &(cl as u32).to_le_bytes());
    phys::write(bp + 0x218, &(ird.0 as u32).to_le_bytes());
    phys::write(bp + 0x21c, &(ird.1 as u32).to_le_bytes());
    phys::write(bp + 0x070, &rsdp.to_le_bytes());
    let mut count = 0u64;
    let mut add = |s: u64, e: u64, kind: u32| { if s < e { let p = bp + 0x2d0 + 20 * count; phys::write(p, &s.to_le_bytes()); phys::write(p + 8, &(e - s).to_le_bytes()); phys::write(p + 16, &kind.to_le_bytes()); count += 1; } };
    for m in map {
        let (mut s, e) = (m.start, m.start + m.len);
        if m.kind == 1 { for &(rs, re) in reserved { if rs >= s && re <= e { add(s, rs, 1); add(rs, re, 2); s = re; } } }
        add(s, e, m.kind);
    }
    phys::write(bp + 0x1e8, &[count as u8]);
    phys::relocate(k + setup, 0x100_0000, kend - k - setup);
    (0x100_0200, bp)
}
