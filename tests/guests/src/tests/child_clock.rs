//! The clock of a child, which its parent sets, and what goes by it.

use super::children::{CODE_AT, IO_PORT, disable, enable};
use super::subject::{RIP, Subject};
use guests::cpu::peek;
use guests::memory;
use guests::report::Checks;
use guests::{check, equal};
use hvdef::property::PartitionProperty as P;

/// Times that the clock is set to, in 100 ns: the machine has not been up for that long, or half of all time.
const TIMES: [u64; 2] = [1 << 50, u64::MAX / 2];
/// Where the handler of vector 0x40 lies, and `mov dx, 0x3F8; out dx, al`.
const HANDLER_AT: u64 = CODE_AT + 0x100;
const HANDLER: [u8; 4] = [0xBA, 0xF8, 0x03, 0xEE];

/// In real mode: the APIC on, timer 0 to vector 0x40 in 2 ms by the partition's clock, and sleep.
const CODE: [u8; 80] = [
    0x66, 0xB9, 0x1B, 0x00, 0x00, 0x00, 0x0F, 0x32, // mov ecx, APIC_BASE; rdmsr
    0x66, 0x0D, 0x00, 0x0C, 0x00, 0x00, 0x0F, 0x30, // or eax, enabled + x2APIC; wrmsr
    0x66, 0xB9, 0x0F, 0x08, 0x00, 0x00, // mov ecx, SVR
    0x66, 0xB8, 0xFF, 0x01, 0x00, 0x00, // mov eax, enabled + vector 0xFF
    0x66, 0x31, 0xD2, 0x0F, 0x30, // xor edx, edx; wrmsr
    0x66, 0xB9, 0x20, 0x00, 0x00, 0x40, 0x0F, 0x32, // mov ecx, TIME_REF_COUNT; rdmsr
    0x66, 0x05, 0x20, 0x4E, 0x00, 0x00, // add eax, 20000
    0x66, 0x83, 0xD2, 0x00, // adc edx, 0
    0x66, 0xB9, 0xB1, 0x00, 0x00, 0x40, 0x0F, 0x30, // mov ecx, STIMER0_COUNT; wrmsr
    0x66, 0xB9, 0xB0, 0x00, 0x00, 0x40, // mov ecx, STIMER0_CONFIG
    0x66, 0xB8, 0x01, 0x14, 0x00, 0x00, // mov eax, enabled + direct + vector 0x40
    0x66, 0x31, 0xD2, 0x0F, 0x30, // xor edx, edx; wrmsr
    0xFB, 0xF4, 0xEB, 0xFE, // sti; hlt; jmp $
];

/// All of it.
pub fn run(t: &Checks) {
    let messages = enable();
    for time in TIMES {
        let Some(child) = Subject::new(t, messages, &CODE) else { break };
        wakes_by_its_own_clock(&child, time);
        child.end();
    }
    disable();
}

/// A halted VP wakes by a timer of a clock that was set ahead of the machine's.
fn wakes_by_its_own_clock(child: &Subject<'_>, time: u64) {
    let t = child.t;
    memory::put(child.ram + HANDLER_AT, &HANDLER);
    memory::put(child.ram + 4 * 0x40, &(HANDLER_AT as u32).to_le_bytes());
    child.set_property(P::REFERENCE_TIME, time);
    let shown = child.property(P::REFERENCE_TIME);
    check!(t, (time..time + (1 << 32)).contains(&shown), "the clock shows {shown:#x}");
    child.write(&[(RIP, CODE_AT)]);
    child.resume();
    if child.is_intercepted(IO_PORT) {
        equal!(t, peek(child.intercepts + 16 + 24), HANDLER_AT + 3, "instruction pointer");
    }
    let shown = child.property(P::REFERENCE_TIME);
    check!(t, shown >= time + 20_000, "the clock shows {shown:#x} after the timer's expiry");
}
