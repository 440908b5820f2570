//! Child partitions in the hands of a parent that does everything in any order, on all processors at once.
//!
//! Calls are well-formed more often than not, and name partitions that exist, so that they get far; some of their words
//! are then replaced. Pages that are given or mapped come from memory set aside. Afterwards every partition is taken
//! apart: each page comes back once, and the hypervisor's own pool is what it was.

use super::hostile_children_calls::{Scene, make};
use core::sync::atomic::{AtomicU64, Ordering};
use guests::clock::{self, now};
use guests::cpu::{cli, interrupt_window, peek, peek32, poke32, rdmsr, sti, wrmsr};
use guests::hypercall::{self, FAST, SELF, output, with_input};
use guests::memory::{self, PAGE};
use guests::report::Checks;
use guests::rng::Rng;
use guests::trap::catch;
use guests::{boot, check, equal, line, smp};
use hvdef::{HvStatus, msr as hv};

const DEFAULT_COUNT: u64 = 20_000;
/// Pages that may be given to partitions.
const GIVEN: u64 = 2048;
/// Pages of children's memory, never given away.
const MAPPED: u64 = 64;

/// Partitions that exist; 0 is a free place.
pub static PARTITIONS: [AtomicU64; 6] = [const { AtomicU64::new(0) }; 6];
static MADE: AtomicU64 = AtomicU64::new(0);
static SUCCEEDED: AtomicU64 = AtomicU64::new(0);
static BAD: AtomicU64 = AtomicU64::new(0);
static SLOWEST: AtomicU64 = AtomicU64::new(0);
static MEMORY: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
/// Bit *n*: call `code` *n* succeeded at least once.
static REACHED: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

/// All of it.
pub fn run(t: &Checks) {
    MEMORY[0].store(memory::pages(GIVEN), Ordering::SeqCst);
    MEMORY[1].store(memory::pages(MAPPED), Ordering::SeqCst);
    programs();
    feed_root(t);
    let before = free_pages();
    let seed = boot::args().seed;
    smp::others().for_each(|index| smp::begin(index, work, seed * 1000 + index as u64));
    sti();
    work(seed * 1000);
    for index in smp::others() {
        equal!(t, smp::finish(index, 600_000), Ok(()), "processor {index}");
    }
    report(t);
    take_apart(t);
    cli();
    // Pages that are given make small pages out of large ones in the parent's tables: a table for each 512.
    let (after, tables) = (free_pages(), GIVEN / 512 + 2);
    check!(
        t,
        before - after <= tables,
        "{} pages of the hypervisor's own are gone",
        before - after
    );
}

/// Free pages of the hypervisor's pool (`zemindef::info::HvInfo`).
fn free_pages() -> u64 {
    let _ = with_input(0x101, &[SELF, 0x5A_0003, 0]);
    output(12)
}

/// Pages for the root's own pool, from which partitions are made.
fn feed_root(t: &Checks) {
    let mut input = [SELF; 257];
    let pages = memory::pages(256);
    for (slot, page) in input[1..].iter_mut().zip(0..) {
        *slot = pages / PAGE + page;
    }
    let answer = with_input(0x48 | 256 << 32, &input);
    check!(t, answer.is_success(), "pages for the root: {answer:x?}");
}

/// Code of all kinds at the beginning of each page of the children's memory.
fn programs() {
    let programs: [&[u8]; 10] = [
        &[0xF4, 0xEB, 0xFD],                                           // hlt; jmp
        &[0xEB, 0xFE],                                                 // jmp $
        &[0xB0, 0x41, 0xBA, 0xF8, 0x03, 0xEE, 0xEB, 0xFD],             // out; jmp
        &[0x0F, 0xA2, 0xEB, 0xFC],                                     // cpuid; jmp
        &[0x0F, 0x32, 0x41, 0xEB, 0xFB],                               // rdmsr; inc cx; jmp
        &[0x0F, 0x30, 0x41, 0xEB, 0xFB],                               // wrmsr; inc cx; jmp
        &[0x0F, 0x01, 0xD9, 0xEB, 0xFB],                               // vmmcall; jmp
        &[0x0F, 0x0B], // ud2: a triple fault in the end
        &[0xFB, 0xF4, 0x01, 0x07, 0x81, 0xC3, 0x34, 0x12, 0xEB, 0xF6], // sti; hlt; add [bx], ax; add bx; jmp
        &[0xF3, 0x6C, 0xF3, 0x6E, 0xEB, 0xFA],                         // rep insb; rep outsb; jmp
    ];
    let base = MEMORY[1].load(Ordering::SeqCst);
    let mut rng = Rng::new(boot::args().seed);
    for page in 0..MAPPED {
        for word in 0..512 {
            guests::cpu::poke(base + page * PAGE + 8 * word, rng.word());
        }
        memory::put(base + page * PAGE, programs[(page % 10) as usize]);
    }
}

/// What one processor does.
fn work(seed: u64) {
    let messages = synic();
    let mut rng = Rng::new(seed);
    let scene = Scene {
        given: (MEMORY[0].load(Ordering::SeqCst) / PAGE, GIVEN),
        mapped: (MEMORY[1].load(Ordering::SeqCst) / PAGE, MAPPED),
    };
    let count = boot::args().count_or(DEFAULT_COUNT);
    for _ in 0..count / smp::count() as u64 {
        if rng.one_in(60) {
            found(&scene, &mut rng);
        }
        one(&scene, &mut rng);
        read_messages(messages);
    }
    wrmsr(hv::SCONTROL, 0);
}

/// Switches on what the hypervisor tells the parent with: SINT 0, SINT 5 and their pages. The message page.
fn synic() -> u64 {
    for page in [hv::SIMP, hv::SIEFP, hv::SIRBP] {
        wrmsr(page, rdmsr(page) | 1);
    }
    wrmsr(hv::SINT0, 0xF3);
    wrmsr(hv::SINT0 + 5, 1 << 19 | 0xF3);
    wrmsr(hv::SCONTROL, 1);
    rdmsr(hv::SIMP) & !(PAGE - 1)
}

fn read_messages(page: u64) {
    let is_pending = peek(page) >> 40 & 1 != 0;
    if peek32(page) != 0 {
        poke32(page, 0);
        if is_pending {
            wrmsr(hv::EOM, 0);
        }
    }
    interrupt_window();
    sti();
}

/// Makes a partition by the book, with memory and a VP, so that what follows finds one that works.
fn found(scene: &Scene, rng: &mut Rng) {
    let place = &PARTITIONS[rng.below(PARTITIONS.len() as u64) as usize];
    let old = place.swap(0, Ordering::SeqCst);
    if old != 0 {
        let _ = end(old);
    }
    let create = [1 << 8 | 1 << 13 | 1 << 19 | 1 << 22, 0, 0x609, 0, 0, 0, 0];
    if !with_input(0x40, &create).is_success() {
        return;
    }
    let id = output(0);
    remember(0x40, &create);
    let mut pages = [id; 65];
    let first = scene.given.0 + 64 * rng.below(scene.given.1 / 64);
    for (slot, page) in pages[1..].iter_mut().zip(first..) {
        *slot = page;
    }
    let _ = with_input(0x48 | 64 << 32, &pages);
    let _ = hypercall::call(0x41 | FAST, id, 0);
    let mut map = [0; 19];
    (map[0], map[2]) = (id, 0xF);
    for slot in &mut map[3..] {
        *slot = scene.mapped.0 + rng.below(scene.mapped.1);
    }
    let _ = with_input(0x4B | 16 << 32, &map);
    let _ = with_input(0x4E, &[id, 0, 0, 0, 0]);
}

fn one(scene: &Scene, rng: &mut Rng) {
    let call = make(scene, rng);
    let code = call.control & 0xFFFF;
    let start = now();
    let answer = match catch(|| {
        if call.control & FAST == 0 {
            with_input(call.control, &call.words)
        } else {
            hypercall::call(call.control, call.words[0], call.words[1])
        }
    }) {
        Ok(answer) => answer,
        Err(_) => return BAD.store(1 << 63 | code, Ordering::SeqCst),
    };
    SLOWEST.fetch_max(now() - start, Ordering::Relaxed);
    MADE.fetch_add(1, Ordering::Relaxed);
    if !answer.is_well_formed() {
        BAD.store(1 << 62 | code, Ordering::SeqCst);
    }
    if answer.is_success() {
        SUCCEEDED.fetch_add(1, Ordering::Relaxed);
        if let Some(word) = REACHED.get(code as usize / 64) {
            word.fetch_or(1 << (code % 64), Ordering::Relaxed);
        }
        remember(code, &call.words);
    }
}

/// Keeps the list of partitions.
fn remember(code: u64, words: &[u64]) {
    match code {
        0x40 => {
            let id = output(0);
            let place = PARTITIONS.iter().find(|place| {
                place.compare_exchange(0, id, Ordering::SeqCst, Ordering::SeqCst).is_ok()
            });
            if place.is_none() {
                let _ = end(id);
            }
        }
        0x43 => {
            for place in &PARTITIONS {
                let _ = place.compare_exchange(words[0], 0, Ordering::SeqCst, Ordering::SeqCst);
            }
        }
        _ => {}
    }
}

fn report(t: &Checks) {
    let load = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
    let codes: u32 = REACHED.iter().map(|word| load(word).count_ones()).sum();
    let (made, succeeded) = (load(&MADE), load(&SUCCEEDED));
    line!(
        "  {made} calls, {succeeded} of {codes} codes succeeded, slowest {} us",
        load(&SLOWEST) / 10
    );
    let bad = load(&BAD);
    check!(
        t,
        bad == 0,
        "call {:#x}: an exception, or an answer that means nothing ({bad:#x})",
        bad & 0xFFFF
    );
    check!(t, load(&SLOWEST) < clock::ms(3000), "a call took {} us", load(&SLOWEST) / 10);
}

/// Ends a partition whatever state it is in; how many pages came back, or what refused.
fn end(id: u64) -> Result<u64, HvStatus> {
    // A partition that was never initialised cannot be finalized, and need not be.
    let _ = hypercall::call(0x42 | FAST, id, 0);
    let mut pages = 0;
    for _ in 0..GIVEN {
        let answer = with_input(0x49 | 512 << 32, &[id, 0]);
        for index in 0..answer.reps() {
            if !is_given(output(index)) {
                BAD.store(1 << 61 | output(index), Ordering::SeqCst);
            }
        }
        pages += answer.reps();
        if answer.status() == HvStatus::NO_RESOURCES {
            break;
        }
        if !answer.is_success() {
            return Err(answer.status());
        }
    }
    let answer = hypercall::call(0x43 | FAST, id, 0);
    if answer.is_success() { Ok(pages) } else { Err(answer.status()) }
}

fn is_given(page: u64) -> bool {
    let first = MEMORY[0].load(Ordering::SeqCst) / PAGE;
    (first..first + GIVEN).contains(&page)
}

fn take_apart(t: &Checks) {
    for place in &PARTITIONS {
        let id = place.swap(0, Ordering::SeqCst);
        if id != 0 {
            let ended = end(id);
            check!(t, ended.is_ok(), "the end of partition {id:#x}: {ended:?}");
        }
    }
    let bad = BAD.load(Ordering::SeqCst);
    check!(t, bad >> 61 & 1 == 0, "page {:#x} came back, which nobody gave", bad & 0xFF_FFFF_FFFF);
    // Whatever else the parent made: the ids were small numbers.
    for id in 2..2000 {
        let _ = end(id);
    }
}
