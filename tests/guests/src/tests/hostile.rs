//! Every hypercall code, with control words, addresses and contents that are wrong in every way that comes to mind.
//!
//! Nothing is left out. Where a well-formed input ends the machine by design (sleep, giving away the kernel's own
//! pages, another CR3), [`tame`] keeps the input off just that. What must hold: an answer is a status and nothing else,
//! no call raises an exception, no byte of memory changes that was not named as output, and the machine goes on. In a
//! child, what only the root partition may do is refused whatever the input.

use super::hostile_input::{Inputs, Made};
use core::sync::atomic::{AtomicU64, Ordering};
use guests::clock::{self, now};
use guests::cpu::{cli, peek, poke, sti};
use guests::hypercall::{self, with_input};
use guests::memory;
use guests::report::Checks;
use guests::rng::Rng;
use guests::trap::catch;
use guests::{boot, check, equal, line, smp};
use hvdef::HvStatus;

/// Calls with random codes among the known ones, after each code was called once.
const DEFAULT_COUNT: u64 = 30_000;
/// Pages whose content is watched.
const CANARIES: u64 = 64;
const CANARY: u64 = 0xCA9A_41E5_0000_0000;

/// Codes that have, or may come to have, a meaning: they get more attention.
const KNOWN: [u64; 76] = [
    0x01, 0x02, 0x03, 0x04, 0x08, 0x0B, 0x0F, 0x13, 0x14, 0x15, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45,
    0x46, 0x47, 0x48, 0x49, 0x4A, 0x4B, 0x4C, 0x4D, 0x4E, 0x4F, 0x50, 0x51, 0x52, 0x53, 0x54, 0x56,
    0x58, 0x5B, 0x5C, 0x5D, 0x69, 0x6A, 0x6B, 0x6C, 0x6D, 0x6F, 0x76, 0x7B, 0x7C, 0x7D, 0x7E, 0x84,
    0x86, 0x87, 0x8B, 0x91, 0x94, 0x95, 0x96, 0x99, 0x9A, 0xAF, 0xB0, 0xC0, 0xC1, 0xC2, 0xC9, 0xD7,
    0xD8, 0xDB, 0xE1, 0xE2, 0xE3, 0xE4, 0xF4, 0x101, 0x106, 0x10F, 0x131, 0x8001,
];

/// Codes of the root partition alone.
const ROOTS: [u64; 46] = [
    0x04, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x48, 0x49, 0x4B, 0x4C, 0x4D, 0x4E, 0x4F, 0x52, 0x56,
    0x58, 0x5B, 0x6C, 0x6D, 0x6F, 0x76, 0x7B, 0x7C, 0x7D, 0x84, 0x87, 0x8B, 0x91, 0x94, 0x95, 0x96,
    0xC0, 0xC1, 0xC2, 0xC9, 0xD7, 0xD8, 0xE1, 0xE2, 0xE3, 0xE4, 0xF4, 0x101, 0x10F, 0x131,
];
/// In a child, an address that is none of its memory: with 64 MiB, the second GiB.
const OUTSIDE: u64 = 1 << 30;

static BAD_WORD: AtomicU64 = AtomicU64::new(0);
static EXCEPTION: AtomicU64 = AtomicU64::new(0);
static SUCCEEDED: AtomicU64 = AtomicU64::new(0);
static MADE: AtomicU64 = AtomicU64::new(0);
/// Bit *n*: call `KNOWN[n]` succeeded at least once.
static REACHED: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
static SLOWEST: AtomicU64 = AtomicU64::new(0);
/// A call of the root partition's that a child was not refused.
static NOT_REFUSED: AtomicU64 = AtomicU64::new(0);
/// Addresses that belong to the hypervisor, found before.
static HV_PAGE: AtomicU64 = AtomicU64::new(0);

/// All of it.
pub fn run(t: &Checks) {
    let foreign = if hypercall::is_root() { super::memory::first_closed() } else { OUTSIDE };
    HV_PAGE.store(foreign, Ordering::SeqCst);
    for counter in [&BAD_WORD, &EXCEPTION, &NOT_REFUSED, &SUCCEEDED, &MADE, &SLOWEST] {
        counter.store(0, Ordering::SeqCst);
    }
    let canaries = memory::pages(CANARIES);
    (0..CANARIES * 512).for_each(|i| poke(canaries + 8 * i, CANARY + i));
    let image = checksum();
    let seed = boot::args().seed;
    smp::others().for_each(|index| smp::begin(index, work, seed * 1000 + index as u64));
    sti();
    work(seed * 1000);
    for index in smp::others() {
        equal!(t, smp::finish(index, 7_200_000), Ok(()), "processor {index}");
    }
    cli();
    report(t);
    let changed = (0..CANARIES * 512).filter(|&i| peek(canaries + 8 * i) != CANARY + i).count();
    equal!(t, changed, 0, "words changed in memory that was never named");
    equal!(t, checksum(), image, "checksum of the kernel's code");
    // A long spin wait.
    let answer = with_input(0x08, &[0]);
    check!(t, answer.is_success(), "a well-formed call afterwards: {answer:x?}");
}

fn report(t: &Checks) {
    let load = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
    let codes: u32 = REACHED.iter().map(|word| load(word).count_ones()).sum();
    line!(
        "  {} calls, {} of {codes} codes succeeded, slowest {} us",
        load(&MADE),
        load(&SUCCEEDED),
        load(&SLOWEST) / 10
    );
    let bad = load(&BAD_WORD);
    check!(t, bad == 0, "call {:#x}: the answer has bits that mean nothing", bad & 0xFFFF);
    let exception = load(&EXCEPTION);
    check!(
        t,
        exception == 0,
        "call {:#x}: exception {}",
        exception & 0xFFFF,
        exception >> 16 & 0xFF
    );
    let refused = load(&NOT_REFUSED);
    check!(t, refused == 0, "call {:#x} is not refused: {:#x}", refused & 0xFFFF, refused >> 16);
    // A child waits for its turn among others.
    let limit = clock::ms(if hypercall::is_root() { 2000 } else { 20_000 });
    check!(t, load(&SLOWEST) < limit, "a call took {} us", load(&SLOWEST) / 10);
}

/// Sum over this kernel's code and constants, which nothing may change.
fn checksum() -> u64 {
    let (start, end) = memory::constant();
    (start..end).step_by(8).fold(0, |sum: u64, at| sum.rotate_left(7) ^ peek(at))
}

/// What one processor does.
fn work(seed: u64) {
    let mut rng = Rng::new(seed);
    let mut inputs = Inputs::new(HV_PAGE.load(Ordering::SeqCst));
    // Every code, spread over the processors.
    let (own, step) = (guests::tables::this().number() as u64, smp::count() as u64);
    for code in (own..0x1_0000).step_by(step as usize) {
        one(&mut inputs, &mut rng, code);
    }
    let count = boot::args().count_or(DEFAULT_COUNT);
    for _ in 0..count / step {
        let code = if rng.one_in(16) { rng.below(0x1_0000) } else { rng.pick(&KNOWN) };
        one(&mut inputs, &mut rng, code);
    }
}

fn one(inputs: &mut Inputs, rng: &mut Rng, code: u64) {
    let Made { control, first, second } = inputs.make(rng, code);
    let start = now();
    match catch(|| hypercall::call(control, first, second)) {
        Ok(answer) => {
            if !answer.is_well_formed() {
                BAD_WORD.store(1 << 63 | code, Ordering::SeqCst);
            }
            let denied = answer.status() == HvStatus::ACCESS_DENIED && answer.reps() == 0;
            if !denied && !hypercall::is_root() && ROOTS.contains(&code) {
                let status = u64::from(answer.status().0);
                NOT_REFUSED.store(1 << 63 | status << 16 | code, Ordering::SeqCst);
            }
            if answer.is_success() {
                SUCCEEDED.fetch_add(1, Ordering::Relaxed);
                if let Some(index) = KNOWN.iter().position(|&known| known == code) {
                    REACHED[index / 64].fetch_or(1 << (index % 64), Ordering::Relaxed);
                }
            }
        }
        Err(trap) => {
            // An interrupt sent to one of the exceptions' vectors is no exception.
            EXCEPTION.store(1 << 63 | u64::from(trap.vector) << 16 | code, Ordering::SeqCst);
        }
    }
    SLOWEST.fetch_max(now() - start, Ordering::Relaxed);
    MADE.fetch_add(1, Ordering::Relaxed);
}
