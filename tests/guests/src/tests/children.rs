//! A child partition from its creation to its end: made by hypercalls, run for a few instructions, taken apart, and every
//! page it was given comes back.

use guests::clock::wait_until;
use guests::cpu::{cli, peek, peek32, poke32, rdmsr, rdtsc, sti_hlt, wrmsr};
use guests::hypercall::{self, Answer, FAST, SELF, output, with_input};
use guests::memory::{self, PAGE};
use guests::report::Checks;
use guests::{check, equal};
use hvdef::msr as hv;
use hvdef::{HvStatus, HypercallCode as C};

use super::child_rights;

/// SINT 0, where the parent hears of intercepts.
const VECTOR: u8 = 0x6F;
/// HVMSG_OPAQUE_INTERCEPT and HVMSG_X64_IO_PORT_INTERCEPT.
const OPAQUE: u32 = 0x8000_003F;
pub const IO_PORT: u32 = 0x8001_0000;
/// Exo partition, local APIC, intercept message page, x2APIC.
const FLAGS: u64 = 1 << 8 | 1 << 13 | 1 << 19 | 1 << 22;
/// Pages deposited for the child.
pub const DEPOSIT: u64 = 300;
/// Rounds of the whole life.
const ROUNDS: u32 = 5;
/// Where the child's code lies in its memory, which is 16 pages from address 0.
pub const CODE_AT: u64 = 0x1000;
pub const MEMORY: u64 = 16;

/// `mov al, 'H'; mov dx, 0x3F8; out dx, al; mov al, [0x2000]; out dx, al; jmp $`, in real mode.
const CODE: [u8; 12] = [0xB0, b'H', 0xBA, 0xF8, 0x03, 0xEE, 0xA0, 0x00, 0x20, 0xEE, 0xEB, 0xFE];

/// Where the code lies that tells the time, twice: `rdtsc; mov [0x2008], eax; mov [0x200C], edx; out 0x80, al`.
const TIME_AT: u64 = CODE_AT + 0x100;
const TIME: [u8; 13] =
    [0x0F, 0x31, 0x66, 0xA3, 0x08, 0x20, 0x66, 0x89, 0x16, 0x0C, 0x20, 0xE6, 0x80];
/// Partition properties: time stands still, reference time. Register: time-stamp counter.
const TIME_FREEZE: u64 = 0x0003_0003;
const REFERENCE_TIME: u64 = 0x0003_0005;
/// Property: what it gets of the hypervisor's interface.
const FEATURES: u64 = 0x0001_0001;
const TSC: u64 = 0x80000;
pub const RIP: u64 = 0x20010;

pub const fn rep(code: C, count: u64) -> u64 {
    code.0 as u64 | count << 32
}

/// All of it.
pub fn run(t: &Checks) {
    let messages = enable();
    let pages = memory::pages(DEPOSIT);
    let ram = memory::pages(MEMORY);
    for round in 0..ROUNDS {
        life(t, round, messages, pages, ram);
    }
    disable();
}

/// Switches the SynIC off.
pub fn disable() {
    wrmsr(hv::SINT0, 1 << 16);
    wrmsr(hv::SCONTROL, 0);
}

/// Switches the SynIC on with SINT 0. The message page.
pub fn enable() -> u64 {
    let value = rdmsr(hv::SIMP);
    wrmsr(hv::SIMP, value | 1);
    wrmsr(hv::SCONTROL, 1);
    wrmsr(hv::SINT0, VECTOR.into());
    let page = value & !(PAGE - 1);
    memory::fill(page, PAGE, 0);
    page
}

fn life(t: &Checks, round: u32, messages: u64, pages: u64, ram: u64) {
    let Some(id) = create(t) else { return };
    equal!(t, deposit(id, pages, DEPOSIT).status(), HvStatus::SUCCESS, "round {round}: deposit");
    // Every other child has rights to the hypervisor's registers.
    let has_rights = round & 1 != 0;
    if has_rights {
        equal!(t, give_rights(id).status(), HvStatus::SUCCESS, "features");
    }
    let again = deposit(id, pages, 1).status();
    check!(t, again != HvStatus::SUCCESS, "a page was deposited twice");
    equal!(t, fast(C::INITIALIZE_PARTITION, id).status(), HvStatus::SUCCESS, "initialize");
    let twice = fast(C::INITIALIZE_PARTITION, id).status();
    equal!(t, twice, HvStatus::INVALID_PARTITION_STATE, "initialize twice");
    memory::put(ram + CODE_AT, &CODE);
    memory::put(ram + 0x2000, b"i");
    equal!(t, map(id, ram).status(), HvStatus::SUCCESS, "map");
    equal!(
        t,
        with_input(C::CREATE_VP.0.into(), &[id, 0, 0, 0, 0]).status(),
        HvStatus::SUCCESS,
        "VP"
    );
    let intercepts = state_page(t, id, 1);
    let registers = state_page(t, id, 0);
    run_child(t, id, messages, intercepts);
    clock(t, id);
    for part in 0..2 {
        memory::put(ram + TIME_AT + part * TIME.len() as u64, &TIME);
    }
    frozen_guest(t, id, messages, ram);
    child_rights::run(t, id, messages, (intercepts, ram), has_rights);
    for kind in [0u64, 1] {
        let end = with_input(C::UNMAP_VP_STATE_PAGE.0.into(), &[id, kind << 32]);
        equal!(t, end.status(), HvStatus::SUCCESS, "unmap state page {kind}");
    }
    check!(t, registers != intercepts, "both state pages are one");
    equal!(t, fast(C::FINALIZE_PARTITION, id).status(), HvStatus::SUCCESS, "finalize");
    withdraw(t, id, pages);
    equal!(t, fast(C::DELETE_PARTITION, id).status(), HvStatus::SUCCESS, "delete");
    let gone = fast(C::DELETE_PARTITION, id).status();
    equal!(t, gone, HvStatus::INVALID_PARTITION_ID, "delete twice");
}

pub fn fast(code: C, id: u64) -> Answer {
    hypercall::call(u64::from(code.0) | FAST, id, 0)
}

/// Creates a partition, and gives the root's own pool what that needs.
pub fn create(t: &Checks) -> Option<u64> {
    for _ in 0..8 {
        let answer = with_input(C::CREATE_PARTITION.0.into(), &[FLAGS, 0, 0x609, 0, 0, 0, 0]);
        match answer.status() {
            HvStatus::SUCCESS => return Some(output(0)),
            HvStatus::INSUFFICIENT_MEMORY => _ = deposit(SELF, memory::pages(1), 1),
            other => {
                t.fail(format_args!("create: {other:?}"));
                return None;
            }
        }
    }
    t.fail(format_args!("create asks for memory without end"));
    None
}

pub fn deposit(id: u64, pages: u64, count: u64) -> Answer {
    let mut input = [0; 512];
    input[0] = id;
    for (slot, page) in input.iter_mut().skip(1).zip(0..count) {
        *slot = pages / PAGE + page;
    }
    with_input(rep(C::DEPOSIT_MEMORY, count), &input[..=count as usize])
}

/// Maps the child's memory from address 0 on, for everything.
pub fn map(id: u64, ram: u64) -> Answer {
    let mut input = [0; 3 + MEMORY as usize];
    (input[0], input[2]) = (id, 0xF);
    for (slot, page) in input.iter_mut().skip(3).zip(0..) {
        *slot = ram / PAGE + page;
    }
    with_input(rep(C::MAP_GPA_PAGES, MEMORY), &input)
}

/// Address of the VP's state page of this kind: 0 is that of registers, 1 that of intercepts.
pub fn state_page(t: &Checks, id: u64, kind: u64) -> u64 {
    let answer = with_input(C::MAP_VP_STATE_PAGE.0.into(), &[id, kind << 32, 0]);
    equal!(t, answer.status(), HvStatus::SUCCESS, "state page {kind}");
    output(0) * PAGE
}

pub fn set(id: u64, registers: &[(u64, u64, u64)]) -> Answer {
    let mut input = [0; 2 + 4 * 4];
    input[0] = id;
    for (words, (name, low, high)) in input[2..].chunks_exact_mut(4).zip(registers) {
        words.copy_from_slice(&[*name, 0, *low, *high]);
    }
    let count = registers.len();
    with_input(rep(C::SET_VP_REGISTERS, count as u64), &input[..2 + 4 * count])
}

/// Runs the child to its two port accesses.
fn run_child(t: &Checks, id: u64, messages: u64, intercepts: u64) {
    // CS with base 0, and RIP.
    let start = set(id, &[(0x60001, 0, 0x009B_0000_0000_FFFF), (RIP, CODE_AT, 0)]);
    equal!(t, start.status(), HvStatus::SUCCESS, "registers");
    for (rip, letter) in [(CODE_AT + 5, b'H'), (CODE_AT + 9, b'i')] {
        goes_on(t, id, messages);
        equal!(t, peek32(intercepts), IO_PORT, "intercept");
        equal!(t, peek(intercepts + 16 + 24), rip, "instruction pointer");
        equal!(t, peek(intercepts + 16 + 40) & 0xFFFF, 0x3F8, "port");
        equal!(t, peek(intercepts + 16 + 48) & 0xFF, letter.into(), "AL");
        let length = peek(intercepts + 16 + 4) & 0xF;
        equal!(t, length, 1, "length of OUT");
        equal!(t, set(id, &[(RIP, rip + length, 0)]).status(), HvStatus::SUCCESS, "step over");
    }
}

/// Lets the child go on to its next intercept.
pub fn goes_on(t: &Checks, id: u64, messages: u64) {
    // Not suspended by an intercept, nor explicitly: the order is Linux'.
    equal!(t, set(id, &[(1, 0, 0), (0, 0, 0)]).status(), HvStatus::SUCCESS, "resume");
    // The child runs while this processor sleeps.
    hear(t, id, messages, || {
        sti_hlt();
        cli();
    });
}

/// Waits for the word that the child has an intercept, by doing `pass` again and again. Whether it came.
pub fn hear(t: &Checks, id: u64, messages: u64, pass: impl Fn()) -> bool {
    let told = wait_until(5000, || {
        if peek32(messages) == 0 {
            pass();
        }
        peek32(messages) != 0
    });
    check!(t, told, "no word of an intercept");
    if told {
        equal!(t, peek32(messages), OPAQUE, "message");
        equal!(t, peek(messages + 8), id, "sender");
        poke32(messages, 0);
        wrmsr(hv::EOM, 0);
    }
    told
}

fn set_property(id: u64, property: u64, value: u64) -> Answer {
    with_input(C::SET_PARTITION_PROPERTY.0.into(), &[id, property, value])
}

/// Gives a child that is not initialized yet the rights to the hypervisor's registers.
pub fn give_rights(id: u64) -> Answer {
    set_property(id, FEATURES, 0xFFF)
}

/// Reference time and time-stamp counter of the child.
fn clocks(t: &Checks, id: u64) -> (u64, u64) {
    let done = with_input(C::GET_PARTITION_PROPERTY.0.into(), &[id, REFERENCE_TIME]).status();
    let time = output(0);
    let count = with_input(rep(C::GET_VP_REGISTERS, 1), &[id, 0, TSC]).status();
    equal!(t, (done, count), (HvStatus::SUCCESS, HvStatus::SUCCESS), "its clocks");
    (time, output(0))
}

/// Both clocks stand still while time is frozen, can be set, and go on from there.
fn clock(t: &Checks, id: u64) {
    let wait = || guests::clock::delay_us(300);
    let before = clocks(t, id);
    wait();
    let running = clocks(t, id);
    check!(t, running.0 > before.0 && running.1 > before.1, "{before:?}, and later {running:?}");
    equal!(t, set_property(id, TIME_FREEZE, 1).status(), HvStatus::SUCCESS, "freeze");
    let stopped = clocks(t, id);
    wait();
    equal!(t, clocks(t, id), stopped, "the clocks of a frozen partition, and later");
    equal!(t, set(id, &[(TSC, 0x1234_5678, 0)]).status(), HvStatus::SUCCESS, "set the counter");
    equal!(t, clocks(t, id), (stopped.0, 0x1234_5678), "reference time, the counter set");
    equal!(
        t,
        set_property(id, REFERENCE_TIME, 1 << 45).status(),
        HvStatus::SUCCESS,
        "set the time"
    );
    wait();
    equal!(t, clocks(t, id), (1 << 45, 0x1234_5678), "reference time set, the counter");
    equal!(t, set_property(id, TIME_FREEZE, 0).status(), HvStatus::SUCCESS, "thaw");
    let (time, count) = clocks(t, id);
    let slack = guests::clock::SLACK;
    let ticks = guests::clock::tsc_hz() / 10_000_000 * slack;
    check!(t, (1 << 45..(1 << 45) + slack).contains(&time), "reference time afterwards: {time}");
    check!(t, count.wrapping_sub(0x1234_5678) < ticks, "the counter afterwards: {count:#x}");
}

/// What the child itself sees of the counter leaves out the time for which it was frozen.
fn frozen_guest(t: &Checks, id: u64, messages: u64, ram: u64) {
    equal!(t, set(id, &[(RIP, TIME_AT, 0)]).status(), HvStatus::SUCCESS, "RIP");
    let start = rdtsc();
    goes_on(t, id, messages);
    let first = peek(ram + 0x2008);
    equal!(t, set_property(id, TIME_FREEZE, 1).status(), HvStatus::SUCCESS, "freeze");
    let frozen = rdtsc();
    guests::clock::delay_us(3000);
    let frozen = rdtsc() - frozen;
    equal!(t, set_property(id, TIME_FREEZE, 0).status(), HvStatus::SUCCESS, "thaw");
    let next = TIME_AT + TIME.len() as u64;
    equal!(t, set(id, &[(RIP, next, 0)]).status(), HvStatus::SUCCESS, "RIP");
    goes_on(t, id, messages);
    let second = peek(ram + 0x2008);
    let passed = rdtsc() - start;
    check!(
        t,
        second > first && second - first <= passed - frozen,
        "{passed} ticks, {frozen} of them frozen: the child's counter went from {first} to {second}"
    );
}

/// Takes everything back: exactly what was given.
pub fn withdraw(t: &Checks, id: u64, pages: u64) {
    let answer = with_input(rep(C::WITHDRAW_MEMORY, 512), &[id, 0]);
    equal!(t, answer.status(), HvStatus::NO_RESOURCES, "end of withdrawal");
    equal!(t, answer.reps(), DEPOSIT, "pages that came back");
    let mut seen = [false; DEPOSIT as usize];
    for index in 0..answer.reps() {
        let page = output(index).wrapping_sub(pages / PAGE) as usize;
        let fresh = seen.get_mut(page).is_some_and(|seen| !core::mem::replace(seen, true));
        check!(t, fresh, "page {:#x} was not deposited, or comes twice", output(index));
    }
}
