//! Random MSRs with random values: each is answered or refused, and the machine goes on.

use core::sync::atomic::{AtomicU64, Ordering};
use guests::apic;
use guests::cpu::{cli, msr, rdmsr, sti, wrmsr};
use guests::report::Checks;
use guests::rng::Rng;
use guests::trap::{GP, catch};
use guests::{boot, check, equal, line, smp};
use hvdef::msr as hv;

const DEFAULT_COUNT: u64 = 20_000;

static REFUSED: AtomicU64 = AtomicU64::new(0);
static MADE: AtomicU64 = AtomicU64::new(0);
static OTHER: AtomicU64 = AtomicU64::new(0);

/// All of it.
pub fn run(t: &Checks) {
    for counter in [&REFUSED, &MADE, &OTHER] {
        counter.store(0, Ordering::SeqCst);
    }
    let seed = boot::args().seed;
    smp::others().for_each(|index| smp::begin(index, work, seed * 1000 + index as u64));
    sti();
    work(seed * 1000);
    for index in smp::others() {
        equal!(t, smp::finish(index, 600_000), Ok(()), "processor {index}");
    }
    cli();
    let other = OTHER.load(Ordering::SeqCst);
    check!(t, other == 0, "MSR {:#x}: exception {}", other as u32, other >> 32 & 0xFF);
    line!("  {} accesses, {} refused", MADE.load(Ordering::SeqCst), REFUSED.load(Ordering::SeqCst));
    // A child's pages may be anywhere by now.
    wrmsr(hv::GUEST_OS_ID, guests::hypercall::GUEST_OS_ID);
    wrmsr(hv::HYPERCALL, guests::hypercall::page() | 1);
    wrmsr(hv::REFERENCE_TSC, guests::clock::reference_page() | 1);
}

const TIME_STAMP_COUNTER: u32 = 0x10;

/// Registers of the processor's own that the kernel itself needs.
const KEPT: [u32; 6] = [msr::EFER, msr::PAT, msr::GS_BASE, msr::FS_BASE, 0x174, 0x1D9];

fn work(seed: u64) {
    let mut rng = Rng::new(seed);
    let before = KEPT.map(|index| catch(|| rdmsr(index)));
    let count = boot::args().count_or(DEFAULT_COUNT);
    for round in 0..count / smp::count() as u64 {
        let index = pick(&mut rng);
        let mut value = value(&mut rng, index);
        if index == TIME_STAMP_COUNTER {
            // A counter that wraps takes reference time along. That is the guest's own affair, but not what is looked for here.
            value >>= 2;
        }
        // Reading this one waits for an interrupt, which may never come.
        if index != hv::GUEST_IDLE {
            note(index, catch(|| rdmsr(index)).err());
        }
        if index == msr::GS_BASE {
            continue;
        }
        note(index, catch(|| wrmsr(index, value)).err());
        for (index, value) in KEPT.into_iter().zip(&before) {
            if let Ok(value) = value {
                let _ = catch(|| wrmsr(index, *value));
            }
        }
        if index == msr::APIC_BASE || round % 64 == 0 {
            apic::init();
            quiet();
        }
    }
    apic::init();
    quiet();
}

fn note(index: u32, trap: Option<guests::trap::Trap>) {
    MADE.fetch_add(1, Ordering::Relaxed);
    if let Some(trap) = trap {
        REFUSED.fetch_add(1, Ordering::Relaxed);
        if trap.vector != GP || trap.error != Some(0) {
            OTHER
                .store(u64::from(index) | u64::from(trap.vector) << 32 | 1 << 63, Ordering::SeqCst);
        }
    }
}

fn quiet() {
    for timer in 0..4 {
        let _ = catch(|| wrmsr(hv::STIMER0_COUNT + 2 * timer, 0));
        let _ = catch(|| wrmsr(hv::STIMER0_CONFIG + 2 * timer, 0));
    }
    for sint in hv::SINT0..=hv::SINT15 {
        let _ = catch(|| wrmsr(sint, 1 << 16));
    }
}

fn pick(rng: &mut Rng) -> u32 {
    let random = rng.word() as u32;
    match rng.below(12) {
        0..4 => 0x4000_0000 + random % 0x120,
        4..6 => 0x800 + random % 0x100,
        6 => random % 0x400,
        7 => 0xC000_0080 + random % 0x90,
        8 => 0xC001_0000 + random % 0x200,
        9 => rng.pick(&[
            msr::APIC_BASE,
            msr::EFER,
            msr::VM_CR,
            msr::VM_HSAVE_PA,
            0x10,
            0x6E0,
            0x2FF,
            0x4000_1000,
        ]),
        10 => 0x4000_0000 + random % 0x1_0000,
        _ => random,
    }
}

/// A value that does not end the machine by design: no reset, no INIT, no timer faster than its interrupts are handled.
fn value(rng: &mut Rng, index: u32) -> u64 {
    let value = rng.odd();
    match index {
        hv::RESET => value & !1,
        hv::CRASH_CTL if !rng.one_in(50) => value & !(1 << 63),
        hv::ICR | 0x830 => value & !(7 << 8) | rng.pick(&[0, 1, 3, 4, 6, 7]) << 8 | 0x20,
        msr::APIC_BASE => rdmsr(index) ^ 1 << rng.below(64),
        0x838 => value & 0xFFFF_FFFF | 1 << 25,
        hv::STIMER0_CONFIG..=hv::STIMER3_COUNT if index & 1 == 1 && value != 0 => value | 1 << 18,
        _ => value,
    }
}
