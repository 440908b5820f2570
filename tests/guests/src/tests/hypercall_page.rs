//! The hypercall page, and what holds for every call.

use guests::cpu::{cpuid, rdmsr, wrmsr};
use guests::hypercall::{self, FAST, SELF, call, call_at, with_input};
use guests::memory::{self, PAGE};
use guests::report::Checks;
use guests::{apic, check, equal, smp};
use hvdef::{HvStatus, msr as hv};

const GET_PARTITION_ID: u64 = 0x46;
const LP_RUN_TIME: u64 = 0x04;

/// All of it.
pub fn run(t: &Checks) {
    page(t);
    answers(t);
    control_words(t);
    buffers(t);
    other_processors(t);
    registers_survive(t);
}

/// The page works where it is, and copied elsewhere, as Linux does.
fn page(t: &Checks) {
    let value = rdmsr(hv::HYPERCALL);
    equal!(t, value & 1, 1, "hypercall MSR: enabled");
    let copy = memory::pages(1);
    for offset in (0..PAGE).step_by(8) {
        guests::cpu::poke(copy + offset, guests::cpu::peek(hypercall::page() + offset));
    }
    for (entry, what) in [(hypercall::page(), "the page"), (copy, "a copy of it")] {
        let answer = call_at(entry, GET_PARTITION_ID, 0, hypercall::output_page());
        check!(t, answer.is_success(), "GET_PARTITION_ID through {what}: {answer:x?}");
        let id = hypercall::output(0);
        check!(t, id != 0 && id != SELF, "partition id {id:#x}");
    }
    wrmsr(hv::HYPERCALL, value & !1);
    equal!(t, rdmsr(hv::HYPERCALL) & 1, 0, "hypercall MSR: disabled");
    wrmsr(hv::HYPERCALL, value);
}

fn answers(t: &Checks) {
    let answer = with_input(LP_RUN_TIME, &[0]);
    check!(t, answer.is_success() && answer.is_well_formed(), "run time of LP 0: {answer:x?}");
    let answer = with_input(LP_RUN_TIME, &[smp::count() as u64 + 200]);
    equal!(t, answer.status(), HvStatus::INVALID_LP_INDEX, "run time of an LP that is not there");
    for code in [0x0000, 0x0FFF, 0x7FFF, 0x8FFF, 0xFFFF] {
        let answer = call(code, hypercall::input_page(), hypercall::output_page());
        equal!(t, answer.status(), HvStatus::INVALID_HYPERCALL_CODE, "unknown call {code:#x}");
        check!(t, answer.is_well_formed(), "unknown call {code:#x}: {answer:x?}");
    }
    let answer = with_input(0x101, &[SELF, 0x5A_0003, 0]);
    check!(t, answer.is_success(), "the hypervisor's status property: {answer:x?}");
    // zemindef::info::HvInfo: version at 4, number of LPs at 28.
    equal!(
        t,
        (hypercall::output(0) >> 32) as u32,
        cpuid(0x4000_5A01, 0)[0],
        "version in the status property"
    );
    check!(t, hypercall::output(3) >> 32 >= smp::count() as u64, "LPs in the status property");
}

/// Malformed control words are refused before anything else is looked at.
fn control_words(t: &Checks) {
    let bad = [
        (1 << 27, "reserved bit 27"),
        (1 << 30, "reserved bit 30"),
        (1 << 31, "nested"),
        (1 << 44, "reserved bit 44"),
        (1 << 47, "reserved bit 47"),
        (1 << 60, "reserved bit 60"),
        (1 << 63, "reserved bit 63"),
        (1 << 32, "a rep count on a simple call"),
        (1 << 48, "a rep start on a simple call"),
        (1 << 17, "a variable header on a call that has none"),
    ];
    for (bits, what) in bad {
        let answer = with_input(LP_RUN_TIME | bits, &[0]);
        equal!(t, answer.status(), HvStatus::INVALID_HYPERCALL_INPUT, "{what}");
        equal!(t, answer.reps(), 0, "{what}: repetitions");
        check!(t, answer.is_well_formed(), "{what}: {answer:x?}");
    }
    // A rep call with its start behind its end, and with nothing to do.
    for (count, start) in [(0, 0), (1, 1), (1, 5), (4095, 4095)] {
        let answer = with_input(0x03 | count << 32 | start << 48, &[0, 3, 0, 0]);
        equal!(
            t,
            answer.status(),
            HvStatus::INVALID_HYPERCALL_INPUT,
            "{count} repetitions from {start}"
        );
    }
}

/// Parameters have to be aligned, in one page, and memory.
fn buffers(t: &Checks) {
    let (input, output) = (hypercall::input_page(), hypercall::output_page());
    let refused = [
        (input + 4, output, "input not aligned"),
        (input, output + 1, "output not aligned"),
        (input, output + PAGE - 8, "output across a page"),
        (1 << 51, output, "input that is no memory"),
        (input, 1 << 51, "output that is no memory"),
        (!7, output, "input at the end of the address space"),
        (input, !7, "output at the end of the address space"),
        (apic::PAGE, output, "input in the APIC's page"),
        (input, apic::PAGE, "output in the APIC's page"),
    ];
    guests::cpu::poke(input, 0);
    for (first, second, what) in refused {
        let answer = call(LP_RUN_TIME, first, second);
        check!(t, !answer.is_success(), "{what} was accepted");
        check!(t, answer.is_well_formed(), "{what}: {answer:x?}");
    }
    for (first, second, what) in [(input + 4, output, "input"), (input, output + 4, "output")] {
        equal!(
            t,
            call(LP_RUN_TIME, first, second).status(),
            HvStatus::INVALID_ALIGNMENT,
            "{what} not aligned"
        );
    }
    // A call with output has no fast form without XMM registers.
    let answer = call(GET_PARTITION_ID | FAST, 0, 0);
    check!(t, answer.is_well_formed(), "GET_PARTITION_ID, fast: {answer:x?}");
}

/// No processor but the first has touched the hypercall MSR.
fn other_processors(t: &Checks) {
    for index in smp::others() {
        let job = |_| assert!(with_input(LP_RUN_TIME, &[0]).is_success(), "hypercall");
        equal!(t, smp::run(index, 1000, job, 0), Ok(()), "hypercall on processor {index}");
    }
}

/// A call changes RAX, RCX, RDX, R8 to R11 and nothing else: Linux saves nothing more, vector registers included.
#[expect(unsafe_code, reason = "fills registers")]
fn registers_survive(t: &Checks) {
    let mut after = [0u64; 10];
    // SAFETY: all registers changed are put back or declared; the page is the hypervisor's.
    unsafe {
        core::arch::asm!(
            "push rbx", "push rbp",
            "mov rbx, 0xB0", "mov rbp, 0xB1", "mov rsi, 0xB2", "mov r12, 0xB4", "mov r13, 0xB5", "mov r14, 0xB6",
            "movq xmm0, rbx", "movq xmm7, rsi", "movq xmm15, r14",
            "call rdi",
            "mov [r15], rbx", "mov [r15 + 8], rbp", "mov [r15 + 16], rsi", "mov [r15 + 24], rdi",
            "mov [r15 + 32], r12", "mov [r15 + 40], r13", "mov [r15 + 48], r14",
            "movq [r15 + 56], xmm0", "movq [r15 + 64], xmm7", "movq [r15 + 72], xmm15",
            "pop rbp", "pop rbx",
            inout("rdi") hypercall::page() => _, in("r15") &raw mut after, inout("rcx") GET_PARTITION_ID => _,
            inout("rdx") 0u64 => _, inout("r8") hypercall::output_page() => _, out("rax") _, out("rsi") _,
            out("r9") _, out("r10") _, out("r11") _, out("r12") _, out("r13") _, out("r14") _,
        );
    }
    let page = hypercall::page();
    equal!(
        t,
        after,
        [0xB0, 0xB1, 0xB2, page, 0xB4, 0xB5, 0xB6, 0xB0, 0xB2, 0xB6],
        "registers after a call"
    );
}
