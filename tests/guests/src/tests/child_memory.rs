//! Accesses of a child to memory that it does not have: what its parent is told of them.

use super::children::{CODE_AT, disable, enable};
use super::subject::{Subject, enter_paging};
use guests::cpu::{peek, poke, poke32};
use guests::report::Checks;
use guests::{check, equal};
use hvdef::message::{ExecutionState, MemoryAccessInfo, MessageType};
use hvdef::register::RegisterName as N;

/// In 32-bit code: `sti`; `mov [0x400123], eax`; `mov ecx, [0x400120 + edx * 4]`; `inc dword [0x400000]`; `call 0x400800`.
const CODE: [u8; 24] = [
    0xFB, 0xA3, 0x23, 0x01, 0x40, 0x00, // sti; mov [0x400123], eax
    0x8B, 0x0C, 0x95, 0x20, 0x01, 0x40, 0x00, // mov ecx, [0x400120 + edx * 4]
    0xFF, 0x05, 0x00, 0x00, 0x40, 0x00, // inc dword [0x400000]
    0xE8, 0xE8, 0xF7, 0x3F, 0x00, // call 0x400800
];
/// Page directory, table of the window at 4 MiB, and what it shows: nothing of the child's.
const DIRECTORY: u64 = 0x3000;
const TABLE: u64 = 0x4000;
const WINDOW: u64 = 0x40_0000;
const NOTHING: u64 = 0x7000_0000;

/// What the parent is told.
struct Told {
    state: ExecutionState,
    info: MemoryAccessInfo,
    gva: u64,
    gpa: u64,
}

/// All of it.
pub fn run(t: &Checks) {
    let messages = enable();
    if let Some(child) = Subject::new(t, messages, &CODE) {
        accesses(&child);
        child.end();
    }
    disable();
}

fn accesses(child: &Subject<'_>) {
    let t = child.t;
    poke(child.ram + DIRECTORY, 0x83 | (TABLE | 3) << 32);
    poke32(child.ram + TABLE, NOTHING as u32 | 3);
    enter_paging(t, child.vp(), DIRECTORY, CODE_AT);
    child.set(N::RDX, 3);
    child.set(N::RSP, 0x8000);
    child.set(N::DR7, 0x402);
    let store = told(child, CODE_AT + 1);
    check!(t, store.state.interrupt_shadow() && store.state.debug_active(), "{:?}", store.state);
    is_at(child, &store, 0x123);
    child.set(N::DR7, 0x400);
    child.set(N::RIP, CODE_AT + 6);
    child.set(N::INTERRUPT_STATE, 0);
    let load = told(child, CODE_AT + 6);
    check!(t, !load.state.interrupt_shadow() && !load.state.debug_active(), "{:?}", load.state);
    is_at(child, &load, 0x12C);
    // More than a move: nobody looked where it goes.
    child.set(N::RIP, CODE_AT + 13);
    let other = told(child, CODE_AT + 13);
    equal!(t, (other.gva, other.gpa), (0, NOTHING), "addresses of what is not understood");
    check!(t, !other.info.gva_valid() && !other.info.gva_gpa_valid(), "{:?}", other.info);
    child.set(N::RIP, CODE_AT + 19);
    is_at(child, &told(child, WINDOW + 0x800), 0x800);
}

/// The next message.
fn told(child: &Subject<'_>, rip: u64) -> Told {
    let t = child.t;
    child.resume();
    child.is_intercepted(MessageType::UNMAPPED_GPA.0);
    let word = |offset: u64| peek(child.intercepts + 16 + offset);
    equal!(t, word(0x18), rip, "instruction pointer");
    Told {
        state: ExecutionState::from_bits((word(0) >> 48) as u16),
        info: MemoryAccessInfo::from_bits((word(0x28) >> 40) as u8),
        gva: word(0x30),
        gpa: word(0x38),
    }
}

/// The access was to this byte of the window.
fn is_at(child: &Subject<'_>, told: &Told, offset: u64) {
    let t = child.t;
    equal!(t, (told.gva, told.gpa), (WINDOW + offset, NOTHING + offset), "addresses");
    check!(t, told.info.gva_valid() && told.info.gva_gpa_valid(), "{:?}", told.info);
}
