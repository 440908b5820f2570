//! A child's accesses to the hypervisor's MSRs, with the right to them and without.

use guests::cpu::{peek, poke32};
use guests::memory;
use guests::report::Checks;
use guests::{check, equal};
use hvdef::HvStatus;
use hvdef::msr as hv;

use super::children::{CODE_AT, RIP, goes_on, set};

/// `rdmsr; out 0x80, al`.
const READ_AT: u64 = CODE_AT + 0x200;
const READ: [u8; 4] = [0x0F, 0x32, 0xE6, 0x80];
/// `wrmsr; out 0x80, al`.
const WRITE_AT: u64 = CODE_AT + 0x210;
const WRITE: [u8; 4] = [0x0F, 0x30, 0xE6, 0x80];
/// #GP: `out 0x81, al`.
const REFUSED_AT: u64 = CODE_AT + 0x220;
const REFUSED: [u8; 2] = [0xE6, 0x81];
/// Registers: RAX, RCX, RSP.
const RAX: u64 = 0x20000;
const RCX: u64 = 0x20001;
const RSP: u64 = 0x20004;

/// MSRs that can be read with the right to do so.
const READABLE: [u32; 18] = [
    hv::GUEST_OS_ID,
    hv::HYPERCALL,
    hv::VP_INDEX,
    hv::VP_RUNTIME,
    hv::TIME_REF_COUNT,
    hv::REFERENCE_TSC,
    hv::TSC_FREQUENCY,
    hv::APIC_FREQUENCY,
    hv::ICR,
    hv::TPR,
    hv::VP_ASSIST_PAGE,
    hv::SCONTROL,
    hv::SIEFP,
    hv::SIMP,
    hv::SINT0,
    hv::SINT15,
    hv::STIMER0_CONFIG,
    hv::STIMER3_COUNT,
];
/// And written.
const WRITABLE: [u32; 7] = [
    hv::GUEST_OS_ID,
    hv::EOI,
    hv::TPR,
    hv::EOM,
    hv::SCONTROL,
    hv::STIMER0_CONFIG,
    hv::STIMER0_COUNT,
];

/// Each is answered, or refused, as the child's rights say. Crash MSRs everybody has.
pub fn run(t: &Checks, id: u64, messages: u64, (intercepts, ram): (u64, u64), has_rights: bool) {
    for (at, code) in [(READ_AT, &READ[..]), (WRITE_AT, &WRITE), (REFUSED_AT, &REFUSED)] {
        memory::put(ram + at, code);
    }
    // The vector of #GP in real mode.
    poke32(ram + 4 * 13, REFUSED_AT as u32);
    let is_answered = |at: u64, index: u32| {
        let registers = [(RIP, at, 0), (RCX, index.into(), 0), (RSP, 0xF000, 0), (RAX, 0, 0)];
        equal!(t, set(id, &registers).status(), HvStatus::SUCCESS, "registers");
        goes_on(t, id, messages);
        let port = peek(intercepts + 16 + 40) & 0xFFFF;
        check!(t, matches!(port, 0x80 | 0x81), "MSR {index:#x}: port {port:#x}");
        port == 0x80
    };
    for index in READABLE {
        let what = "is read with rights";
        equal!(t, is_answered(READ_AT, index), has_rights, "MSR {index:#x} {what} {has_rights}");
    }
    for index in WRITABLE {
        let what = "is written with rights";
        equal!(t, is_answered(WRITE_AT, index), has_rights, "MSR {index:#x} {what} {has_rights}");
    }
    if !has_rights {
        equal!(t, is_answered(READ_AT, hv::GUEST_IDLE), false, "the idle MSR without the right");
    }
    equal!(t, is_answered(READ_AT, hv::CRASH_CTL), true, "the crash MSRs");
}
