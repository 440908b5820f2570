//! Costs of children, seen from the parent without an operating system in between: see `measure`.

use super::children::{self, CODE_AT};
use super::measure::Results;
use super::stimer::{AUTO, config, count, stop};
use guests::clock::{ms, now, wait_until};
use guests::cpu::{cli, peek, peek32, poke32, rdmsr, rdtsc, sti_hlt, wrmsr};
use guests::hypercall::with_input;
use guests::memory::{self, PAGE};
use guests::report::Checks;
use guests::tables::this;
use guests::{check, equal};
use hvdef::msr as hv;
use hvdef::{HvStatus, HypercallCode as C};

/// Vector of SINT 0, where the parent hears of intercepts.
const VECTOR: u8 = 0x6E;
/// Vector of the timer.
const TIMER: u8 = 0x6B;
const INTERCEPTS: u64 = 500;

/// Where a child leaves a time or a duration, a count, and who it is; where two children leave the last one's.
const TIME: u64 = 0x2000;
const COUNT: u64 = 0x2004;
const WHO: u64 = 0x2008;
const SHARED: u64 = 0x3000;

/// `rdtsc; mov [TIME], eax; mov [TIME + 4], edx; 1: out dx, al; jmp 1b`, in real mode.
const FIRST: [u8; 14] =
    [0x0F, 0x31, 0x66, 0xA3, 0x00, 0x20, 0x66, 0x89, 0x16, 0x04, 0x20, 0xEE, 0xEB, 0xFD];
/// Keeps putting the time with its own number in the lowest two bits to the shared word. Who finds another number there
/// keeps how long ago that was, if it is the least so far, at TIME and the number of times at COUNT.
const TAKE_TURNS: [u8; 50] = [
    0x0F, 0x31, 0x24, 0xFC, // 1: rdtsc; and al, 0xFC
    0x66, 0x0B, 0x06, 0x08, 0x20, // or eax, [WHO]
    0x66, 0x89, 0xC3, 0x66, 0x87, 0x06, 0x00, 0x30, // mov ebx, eax; xchg eax, [SHARED]
    0x66, 0x89, 0xD9, 0x66, 0x31, 0xC1, 0xF6, 0xC1, 0x03, 0x74,
    0xE4, // mov ecx, ebx; xor ecx, eax; test cl, 3; je 1b
    0x66, 0xFF, 0x06, 0x04, 0x20, 0x66, 0x29, 0xC3, // inc dword [COUNT]; sub ebx, eax
    0x66, 0x3B, 0x1E, 0x00, 0x20, 0x73, 0xD5, // cmp ebx, [TIME]; jae 1b
    0x66, 0x89, 0x1E, 0x00, 0x20, 0xEB, 0xCE, // mov [TIME], ebx; jmp 1b
];

/// All of it.
pub fn run(t: &Checks, results: &mut Results) {
    let value = rdmsr(hv::SIMP);
    wrmsr(hv::SIMP, value | 1);
    wrmsr(hv::SCONTROL, 1);
    wrmsr(hv::SINT0, VECTOR.into());
    let messages = value & !(PAGE - 1);
    memory::fill(messages, PAGE, 0);
    life(t, results, messages);
    switch(t, results);
}

/// A child with one VP that is not yet running.
struct Child {
    id: u64,
    pages: u64,
    ram: u64,
}

impl Child {
    /// One that will run `code`.
    fn new(t: &Checks, code: &[u8]) -> Option<Self> {
        let (pages, ram) = (memory::pages(children::DEPOSIT), memory::pages(children::MEMORY));
        memory::put(ram + CODE_AT, code);
        Self::of(t, pages, ram)
    }

    /// What a parent has to do, with memory that was made ready before.
    fn of(t: &Checks, pages: u64, ram: u64) -> Option<Self> {
        let id = children::create(t)?;
        let steps = [
            children::deposit(id, pages, children::DEPOSIT),
            children::fast(C::INITIALIZE_PARTITION, id),
            children::map(id, ram),
            with_input(C::CREATE_VP.0.into(), &[id, 0, 0, 0, 0]),
            children::set(id, &[(0x60001, 0, 0x009B_0000_0000_FFFF), (0x20010, CODE_AT, 0)]),
        ];
        for (index, step) in steps.into_iter().enumerate() {
            equal!(t, step.status(), HvStatus::SUCCESS, "step {index} of making a child");
        }
        Some(Self { id, pages, ram })
    }

    /// Gives it `page` in the place of its page at SHARED.
    fn share(&self, t: &Checks, page: u64) {
        let input = [self.id, SHARED / PAGE, 0xF, page / PAGE];
        let done = with_input(children::rep(C::MAP_GPA_PAGES, 1), &input);
        equal!(t, done.status(), HvStatus::SUCCESS, "a page of two children");
    }

    /// Lets it run.
    fn resume(&self, t: &Checks) {
        let done = children::set(self.id, &[(1, 0, 0), (0, 0, 0)]);
        equal!(t, done.status(), HvStatus::SUCCESS, "resume");
    }

    fn end(self, t: &Checks) {
        let _ = children::set(self.id, &[(0, 1, 0)]);
        let done = children::fast(C::FINALIZE_PARTITION, self.id);
        equal!(t, done.status(), HvStatus::SUCCESS, "finalize");
        children::withdraw(t, self.id, self.pages);
        let done = children::fast(C::DELETE_PARTITION, self.id);
        equal!(t, done.status(), HvStatus::SUCCESS, "delete");
    }
}

/// From the call that creates a partition to its first instruction; then from an intercept of a child to its next one,
/// with what the parent has to do for that: take the message, let the child go on.
fn life(t: &Checks, results: &mut Results, messages: u64) {
    let (pages, ram) = (memory::pages(children::DEPOSIT), memory::pages(children::MEMORY));
    memory::put(ram + CODE_AT, &FIRST);
    let start = rdtsc();
    let Some(child) = Child::of(t, pages, ram) else { return };
    child.resume(t);
    check!(t, next_message(messages), "no word of the child");
    results.add("create", peek(ram + TIME).wrapping_sub(start), 1);
    let start = rdtsc();
    let done = (0..INTERCEPTS).all(|_| {
        // The same instruction again.
        child.resume(t);
        next_message(messages)
    });
    results.add("intercept", rdtsc() - start, INTERCEPTS);
    check!(t, done, "no word of the child any more");
    child.end(t);
}

/// Waits for a message and empties its slot.
fn next_message(messages: u64) -> bool {
    let told = wait_until(5000, || {
        if peek32(messages) == 0 {
            sti_hlt();
            cli();
        }
        peek32(messages) != 0
    });
    poke32(messages, 0);
    wrmsr(hv::EOM, 0);
    told
}

/// From one child to the other: the least time between the last instruction here and the first one there.
fn switch(t: &Checks, results: &mut Results) {
    let shared = memory::pages(1);
    memory::fill(shared, PAGE, 0);
    let pair = [(); 2].map(|()| Child::new(t, &TAKE_TURNS));
    for (child, who) in pair.iter().flatten().zip(1..) {
        poke32(child.ram + TIME, u32::MAX);
        poke32(child.ram + WHO, who);
        child.share(t, shared);
        child.resume(t);
    }
    sleep(t);
    let children = pair.iter().flatten();
    let turns: u32 = children.clone().map(|child| peek32(child.ram + COUNT)).sum();
    let least = children.map(|child| peek32(child.ram + TIME)).min().unwrap_or(0);
    check!(t, turns > 4, "the children changed {turns} times");
    results.add("switch", least.into(), 1);
    pair.into_iter().flatten().for_each(|child| child.end(t));
}

/// The children have the processor for half a second.
fn sleep(t: &Checks) {
    let before = this().count(TIMER);
    wrmsr(config(0), u64::from(TIMER) << 4 | 1 << 12 | AUTO);
    wrmsr(count(0), now() + ms(500));
    let due = wait_until(5000, || {
        if this().count(TIMER) == before {
            sti_hlt();
            cli();
        }
        this().count(TIMER) != before
    });
    check!(t, due, "half a second did not end");
    stop(0);
}
