//! What keeps a kernel from its users' pages, and users from the kernel's tables: SMEP, SMAP and UMIP, each where the
//! processor has it.
#![expect(unsafe_code, reason = "executes what faults")]

use core::arch::asm;
use guests::cpu::{cpuid, cr4, peek, poke, set_cr4};
use guests::paging::{self, PRESENT, USER, WRITE};
use guests::report::Checks;
use guests::trap::{BP, GP, PF, Trap, catch};
use guests::{equal, line, memory, smp, user};

/// CR4 bits.
const UMIP: u64 = 1 << 11;
const SMEP: u64 = 1 << 20;
const SMAP: u64 = 1 << 21;
/// A window page that ring 3 may use.
const SLOT: usize = 110;
/// RET.
const RET: u8 = 0xC3;

/// What protects, whether the processor has it, and its test.
type Subject = (&'static str, bool, fn(&Checks));

/// All of it.
pub fn run(t: &Checks) {
    let [_, b, c, _] = if cpuid(0, 0)[0] >= 7 { cpuid(7, 0) } else { [0; 4] };
    let subjects: [Subject; 3] = [
        ("SMEP", b & 1 << 7 != 0, smep),
        ("SMAP", b & 1 << 20 != 0, smap),
        ("UMIP", c & 1 << 2 != 0, umip),
    ];
    if subjects.iter().all(|(_, offered, _)| !offered) {
        return t.skip("the processor has none of SMEP, SMAP, UMIP");
    }
    for (name, offered, check) in subjects {
        if offered {
            check(t);
        } else {
            line!("  the processor has no {name}");
        }
    }
}

/// Vector, error code and CR2 of an exception.
fn fault<R>(result: Result<R, Trap>) -> Option<(u8, Option<u32>, u64)> {
    result.err().map(|trap| (trap.vector, trap.error, trap.cr2))
}

/// Runs `action` with a bit of CR4 set. An exit comes in between: the bit stays.
fn with<R>(bit: u64, action: impl FnOnce() -> R) -> Result<R, Trap> {
    let before = cr4();
    set_cr4(before | bit);
    let _ = cpuid(0, 0);
    let result = catch(action);
    set_cr4(before);
    result
}

/// The window's page, which returns to whoever calls it, with these rights.
fn page(rights: u64) -> u64 {
    let page = memory::pages(1);
    memory::fill(page, memory::PAGE, RET);
    paging::map(SLOT, page | PRESENT | rights)
}

fn call(at: u64) {
    // SAFETY: a RET is there, or nothing that can be executed.
    unsafe { asm!("call {}", in(reg) at, clobber_abi("C")) };
}

/// The kernel does not execute what ring 3 may execute.
fn smep(t: &Checks) {
    let at = page(USER);
    let refused = Some((PF, Some(0x11), at));
    equal!(t, fault(catch(|| call(at))), None, "a page of ring 3's executed without SMEP");
    equal!(t, fault(with(SMEP, || call(at))), refused, "a page of ring 3's executed with SMEP");
    equal!(t, fault(with(SMEP, || peek(at))), None, "a page of ring 3's read with SMEP");
    for index in smp::others() {
        let job = |at| assert!(fault(catch(|| call(at))).is_none(), "SMEP of another processor");
        let done = with(SMEP, || smp::run(index, 1000, job, at));
        equal!(t, done.ok(), Some(Ok(())), "processor {index}, whose CR4 is its own");
    }
    let at = page(0);
    equal!(t, fault(with(SMEP, || call(at))), None, "the kernel's page executed with SMEP");
}

/// The kernel does not touch what ring 3 may touch, but for where it says so.
fn smap(t: &Checks) {
    let at = page(USER | WRITE);
    let own = page_beside(WRITE);
    equal!(t, fault(catch(|| peek(at))), None, "a page of ring 3's read without SMAP");
    let refused = |error| Some((PF, Some(error), at));
    equal!(t, fault(with(SMAP, || peek(at))), refused(1), "a page of ring 3's read with SMAP");
    equal!(t, fault(with(SMAP, || poke(at, 1))), refused(3), "and written");
    equal!(t, fault(with(SMAP, || meant(at))), None, "a page of ring 3's touched on purpose");
    equal!(t, fault(with(SMAP, || poke(own, 1))), None, "the kernel's page written with SMAP");
    paging::map(SLOT + 1, 0);
}

fn page_beside(rights: u64) -> u64 {
    paging::map(SLOT + 1, memory::pages(1) | PRESENT | rights)
}

/// Reads and writes, an exit in between, with the flag that permits it.
fn meant(at: u64) {
    // SAFETY: changes RFLAGS.AC for a moment.
    unsafe { asm!("stac", options(nostack)) };
    poke(at, peek(at));
    let _ = cpuid(0, 0);
    poke(at, peek(at));
    // SAFETY: as above.
    unsafe { asm!("clac", options(nostack)) };
}

/// Instructions that tell ring 3 of the kernel's tables: SGDT, SIDT, SLDT, STR, SMSW.
const TELLING: [(&str, &[u8]); 5] = [
    ("SGDT", &[0x0F, 0x01, 0x04, 0x24]),
    ("SIDT", &[0x0F, 0x01, 0x0C, 0x24]),
    ("SLDT", &[0x0F, 0x00, 0xC0]),
    ("STR", &[0x0F, 0x00, 0xC8]),
    ("SMSW", &[0x0F, 0x01, 0xE0]),
];

/// Ring 3 is not told where the kernel's tables are.
fn umip(t: &Checks) {
    let at = user::code_address();
    for (name, code) in TELLING {
        let run = || {
            let trap = user::run(code, [0; 4], 0);
            (trap.vector, trap.rip.wrapping_sub(at))
        };
        equal!(t, run(), (BP, code.len() as u64 + 1), "{name} in ring 3 without UMIP");
        equal!(t, with(UMIP, run).ok(), Some((GP, 0)), "{name} in ring 3 with UMIP");
    }
    let own = with(UMIP, || {
        let mut table = [0u8; 10];
        // SAFETY: writes the ten bytes.
        unsafe { asm!("sgdt [{}]", in(reg) &raw mut table, options(nostack)) };
    });
    equal!(t, fault(own), None, "SGDT in ring 0 with UMIP");
}
