//! Flushing others' translations by hypercall: when the call returns, no processor named uses an old one.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use guests::clock::wait_until;
use guests::cpu::{self, cli, cr3, peek, rdmsr, sti};
use guests::hypercall::{Answer, with_input};
use guests::paging::{self, PRESENT, WRITE};
use guests::report::Checks;
use guests::{check, clock, equal, line, memory, smp, trap};
use hvdef::msr as hv;

/// The window page that changes, and its neighbours.
const SLOT: usize = 200;
const ALL_PROCESSORS: u64 = 1;
const ALL_SPACES: u64 = 2;
const NON_GLOBAL: u64 = 4;

/// All of it.
pub fn run(t: &Checks) {
    let pages = [memory::pages(1), memory::pages(1)];
    cpu::poke(pages[0], 0);
    cpu::poke(pages[1], 1);
    let calls: [(&str, Flush); 8] = [
        ("FLUSH_SPACE by mask", |mask| with_input(0x02, &[cr3(), 0, mask])),
        ("FLUSH_SPACE, all spaces", |mask| with_input(0x02, &[0, ALL_SPACES, mask])),
        ("FLUSH_SPACE, all processors", |_| with_input(0x02, &[cr3(), ALL_PROCESSORS, 0])),
        ("FLUSH_SPACE, not global", |mask| with_input(0x02, &[cr3(), NON_GLOBAL, mask])),
        ("FLUSH_LIST", |mask| with_input(0x03 | 1 << 32, &[cr3(), 0, mask, paging::window(SLOT)])),
        ("FLUSH_LIST, a range", |mask| {
            with_input(
                0x03 | 2 << 32,
                &[cr3(), 0, mask, paging::window(0) | 3, paging::window(SLOT - 5) | 9],
            )
        }),
        ("FLUSH_SPACE_EX", |mask| with_input(0x13 | 1 << 17, &[cr3(), 0, 0, 1, mask])),
        ("FLUSH_LIST_EX", |mask| {
            with_input(0x14 | 1 << 17 | 1 << 32, &[cr3(), 0, 0, 1, mask, paging::window(SLOT)])
        }),
    ];
    for (name, flush) in calls {
        running(t, name, flush, pages);
        equal!(t, STALE.load(Ordering::SeqCst), 0, "{name}: old translations used");
    }
    // How much the above can see at all: the same without any flush.
    running(t, "no flush", |_| with_input(0x08, &[0]), pages);
    line!("  without a flush, old translations are used {} times", STALE.load(Ordering::SeqCst));
    own(t, pages);
    halted(t, pages);
    closed(t, pages);
    waiting(t);
    crossing(t);
    everybody(t);
    paging::map(SLOT, 0);
}

type Flush = fn(u64) -> Answer;

/// What the page must hold, once the flush is done.
static WANTED: AtomicU64 = AtomicU64::new(u64::MAX);
static STALE: AtomicU32 = AtomicU32::new(0);
static LOOKS: AtomicU64 = AtomicU64::new(0);
static STOP: AtomicBool = AtomicBool::new(false);

/// Looks at the page all the time, without a reason to leave the guest.
fn look(_: u64) {
    let address = paging::window(SLOT);
    while !STOP.load(Ordering::SeqCst) {
        let wanted = WANTED.load(Ordering::SeqCst);
        let seen = peek(address);
        // Only if nothing was to change while it looked.
        if wanted != u64::MAX && WANTED.load(Ordering::SeqCst) == wanted && seen != wanted {
            STALE.fetch_add(1, Ordering::SeqCst);
        }
        LOOKS.fetch_add(1, Ordering::Relaxed);
    }
}

fn mask_of(indices: impl Iterator<Item = usize>) -> u64 {
    static VP: AtomicU64 = AtomicU64::new(0);
    indices.fold(0, |mask, index| {
        VP.store(rdmsr(hv::VP_INDEX), Ordering::SeqCst);
        if index != 0 {
            let _ = smp::run(index, 1000, |_| VP.store(rdmsr(hv::VP_INDEX), Ordering::SeqCst), 0);
        }
        mask | 1 << VP.load(Ordering::SeqCst)
    })
}

fn running(t: &Checks, name: &str, flush: Flush, pages: [u64; 2]) {
    let mask = mask_of(0..smp::count());
    STOP.store(false, Ordering::SeqCst);
    STALE.store(0, Ordering::SeqCst);
    WANTED.store(u64::MAX, Ordering::SeqCst);
    paging::map(SLOT, pages[0] | PRESENT | WRITE);
    smp::others().for_each(|index| smp::begin(index, look, 0));
    for round in 0..200usize {
        WANTED.store(u64::MAX, Ordering::SeqCst);
        paging::set(SLOT, pages[round & 1] | PRESENT | WRITE);
        let answer = flush(mask);
        WANTED.store(round as u64 & 1, Ordering::SeqCst);
        if !check!(t, answer.is_success(), "{name}: {answer:x?}") {
            break;
        }
        let looks = LOOKS.load(Ordering::Relaxed);
        wait_until(200, || LOOKS.load(Ordering::Relaxed) > looks + 20);
    }
    STOP.store(true, Ordering::SeqCst);
    for index in smp::others() {
        equal!(t, smp::finish(index, 5000), Ok(()), "{name}: processor {index}");
    }
}

/// The caller's own translation is gone as well.
fn own(t: &Checks, pages: [u64; 2]) {
    let mask = mask_of(0..1);
    for round in 0..20u64 {
        paging::set(SLOT, pages[(round & 1) as usize] | PRESENT | WRITE);
        let _ = with_input(0x02, &[cr3(), 0, mask]);
        equal!(t, peek(paging::window(SLOT)), round & 1, "what the caller of a flush sees");
    }
}

/// Others in HLT, which hold translations too.
fn halted(t: &Checks, pages: [u64; 2]) {
    let mask = mask_of(0..smp::count());
    for round in 0..20u64 {
        paging::map(SLOT, pages[(round & 1) as usize] | PRESENT | WRITE);
        let _ = with_input(0x02, &[cr3(), 0, mask]);
        for index in smp::others() {
            let job = |wanted| assert!(peek(paging::window(SLOT)) == wanted, "old translation");
            equal!(
                t,
                smp::run(index, 1000, job, round & 1),
                Ok(()),
                "processor {index} after a flush in HLT"
            );
        }
    }
}

/// Others with interrupts closed: the flush needs no interrupt of the guest's.
fn closed(t: &Checks, pages: [u64; 2]) {
    static READY: AtomicU32 = AtomicU32::new(0);
    let mask = mask_of(0..smp::count());
    STOP.store(false, Ordering::SeqCst);
    STALE.store(0, Ordering::SeqCst);
    READY.store(0, Ordering::SeqCst);
    WANTED.store(u64::MAX, Ordering::SeqCst);
    for index in smp::others() {
        smp::begin(
            index,
            |_| {
                cli();
                READY.fetch_add(1, Ordering::SeqCst);
                look(0);
                sti();
            },
            0,
        );
    }
    check!(
        t,
        wait_until(1000, || READY.load(Ordering::SeqCst) as usize == smp::count() - 1),
        "others do not start"
    );
    for round in 0..50u64 {
        WANTED.store(u64::MAX, Ordering::SeqCst);
        paging::set(SLOT, pages[(round & 1) as usize] | PRESENT | WRITE);
        let start = clock::now();
        let answer = with_input(0x02, &[cr3(), 0, mask]);
        let took = clock::now() - start;
        WANTED.store(round & 1, Ordering::SeqCst);
        check!(
            t,
            answer.is_success() && took < clock::ms(5000),
            "flush of closed processors: {answer:x?}, {took} units"
        );
        clock::delay_us(300);
    }
    STOP.store(true, Ordering::SeqCst);
    for index in smp::others() {
        equal!(t, smp::finish(index, 5000), Ok(()), "processor {index}, closed");
    }
    equal!(t, STALE.load(Ordering::SeqCst), 0, "old translations used by closed processors");
}

/// A processor that waits for its startup does not hold the call up.
fn waiting(t: &Checks) {
    let mask = mask_of(0..smp::count());
    let index = smp::count() - 1;
    guests::apic::command(
        guests::tables::cpu(index).apic_id.load(Ordering::Relaxed),
        guests::apic::mode::INIT,
    );
    clock::delay_us(300);
    let start = clock::now();
    let answer = with_input(0x02, &[cr3(), 0, mask]);
    let took = clock::now() - start;
    check!(
        t,
        answer.is_success() && took < clock::ms(5000),
        "flush of a processor before its startup: {answer:x?}, {took} units"
    );
    check!(t, smp::start(index), "processor {index} does not start after that");
}

/// Everybody flushes everybody at once: nobody waits for ever.
fn crossing(t: &Checks) {
    let job = |mask| {
        for _ in 0..150 {
            assert!(with_input(0x02, &[cr3(), 0, mask]).is_success(), "flush");
        }
    };
    let mask = mask_of(0..smp::count());
    smp::others().for_each(|index| smp::begin(index, job, mask));
    let start = clock::now();
    let own = trap::catch(|| job(mask));
    check!(t, own.is_ok(), "flushing each other: {own:?}");
    for index in smp::others() {
        equal!(t, smp::finish(index, 20_000), Ok(()), "processor {index} flushing others");
    }
    line!("  {} us for 150 flushes of all by all", (clock::now() - start) / 10);
}

/// What names nobody, or VPs that are not there.
fn everybody(t: &Checks) {
    let answer = with_input(0x02, &[cr3(), 0, 0]);
    check!(t, answer.is_success(), "flush of nobody: {answer:x?}");
    let answer = with_input(0x13, &[cr3(), 0, 0, 0]);
    check!(t, answer.is_success(), "flush of an empty set: {answer:x?}");
    let answer = with_input(0x14 | 511 << 32, &[cr3(), 0, 0, 0]);
    check!(t, answer.is_well_formed(), "511 ranges behind a set: {answer:x?}");
    let answer = with_input(0x03 | 510 << 32, &[cr3(), 0, 1]);
    check!(t, !answer.is_success(), "a list across the page: {answer:x?}");
}
