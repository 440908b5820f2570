//! `own-state`: what a processor keeps in its registers is its own, however long others have the LP in between.
//!
//! Two children run this at once, each with another seed. A round fills every register that a switch has to carry over,
//! lets time pass without an exit, for longer than a slice now and then, and looks.

use super::fpu::{Vectors, has_avx, raw};
use guests::clock::{now, us};
use guests::cpu::{self, cpuid, msr, rdmsr, wrmsr, xgetbv, xsetbv};
use guests::report::Checks;
use guests::rng::Rng;
use guests::{apic, boot, equal, line, smp};

/// Rounds without `count=`.
const DEFAULT_COUNT: u64 = 400;
/// Longest time between filling and looking.
const LONGEST: u64 = us(7_000);

/// All of it.
pub fn run(t: &Checks) {
    let count = boot::args().count_or(DEFAULT_COUNT);
    let job = |seed| {
        assert!(work(seed, boot::args().count_or(DEFAULT_COUNT)) == [0; KINDS], "state changed");
    };
    smp::others().for_each(|index| smp::begin(index, job, 1000 + index as u64));
    let changed = work(boot::args().seed, count);
    equal!(
        t,
        changed,
        [0; KINDS],
        "rounds in which vectors, debug registers, MSRs, others changed"
    );
    for index in smp::others() {
        equal!(t, smp::finish(index, 3_600_000), Ok(()), "processor {index}");
    }
    line!("  {count} rounds");
}

/// Groups of registers that are counted apart.
const KINDS: usize = 4;

/// What a round puts into the registers.
struct Pattern {
    vectors: Vectors,
    x87: (u64, u16, u32),
    debug: [u64; 4],
    addresses: [u64; 8],
    rest: [u64; 4],
}

impl Pattern {
    fn new(rng: &mut Rng, avx: bool) -> Self {
        let word = rng.word();
        // Bits 12:0 of what SYSCALL clears may be set; an address keeps its upper bits equal.
        let mut addresses = core::array::from_fn(|_| rng.word() >> 18);
        addresses[3] &= 0xFFF;
        let aux = if has_aux() { rng.word() & 0xFFFF_FFFF } else { 0 };
        Self {
            vectors: Vectors(core::array::from_fn(|i| if avx || i < 32 { rng.word() } else { 0 })),
            x87: (
                rng.word() >> 8,
                0x37F ^ (word as u16 & 3) << 10,
                0x1F80 | (word as u32 >> 2 & 3) << 13,
            ),
            debug: core::array::from_fn(|_| rng.word() >> 18),
            addresses,
            // CR2, TSC_AUX, DR6's hits, and a permutation of the PAT's types.
            rest: [
                rng.word(),
                aux,
                0xFFFF_0FF0 | word >> 8 & 0xF,
                0x0007_0406_0007_0406u64.rotate_left(16 * (word >> 16 & 1) as u32),
            ],
        }
    }

    fn load(&self, avx: bool) {
        for (msr, value) in msr::ADDRESSES.into_iter().zip(self.addresses) {
            wrmsr(msr, value);
        }
        let [cr2, aux, dr6, pat] = self.rest;
        cpu::set_cr2(cr2);
        if has_aux() {
            wrmsr(msr::TSC_AUX, aux);
        }
        cpu::set_dr6(dr6);
        wrmsr(msr::PAT, pat);
        let [a, b, c, d] = self.debug;
        cpu::set_dr0(a);
        cpu::set_dr1(b);
        cpu::set_dr2(c);
        cpu::set_dr3(d);
        let (word, control, mxcsr) = self.x87;
        raw::load_x87(word, control, mxcsr);
        if avx { raw::load_ymm(&self.vectors) } else { raw::load_xmm(&self.vectors) }
    }

    /// Which kinds of registers hold something else now.
    fn changed(&self, avx: bool) -> [u64; KINDS] {
        let mut vectors = Vectors([0; 64]);
        if avx {
            raw::store_ymm(&mut vectors)
        } else {
            raw::store_xmm(&mut vectors)
        }
        let x87 = raw::store_x87();
        let debug = [cpu::dr0(), cpu::dr1(), cpu::dr2(), cpu::dr3()];
        let aux = if has_aux() { rdmsr(msr::TSC_AUX) } else { 0 };
        let rest = [cpu::cr2(), aux, cpu::dr6(), rdmsr(msr::PAT)];
        [
            u64::from(vectors != self.vectors || x87 != self.x87),
            u64::from(debug != self.debug),
            u64::from(msr::ADDRESSES.map(rdmsr) != self.addresses),
            u64::from(rest != self.rest),
        ]
    }
}

fn has_aux() -> bool {
    cpuid(0x8000_0001, 0)[3] & 1 << 27 != 0
}

/// How often something of each kind had changed.
fn work(seed: u64, rounds: u64) -> [u64; KINDS] {
    let (mut rng, avx) = (Rng::new(seed), has_avx());
    let kept = (msr::ADDRESSES.map(rdmsr), rdmsr(msr::PAT));
    let mut changed = [0; KINDS];
    for _ in 0..rounds {
        let features = if avx { 7 } else { 3 };
        let offered = cpuid(1, 0)[2] & 1 << 26 != 0;
        if offered {
            xsetbv(0, features);
        }
        let pattern = Pattern::new(&mut rng, avx);
        cpu::cli();
        pattern.load(avx);
        wait(&mut rng);
        let found = pattern.changed(avx);
        changed.iter_mut().zip(found).for_each(|(sum, more)| *sum += more);
        changed[3] += u64::from(offered && xgetbv(0) != features);
        cpu::sti();
    }
    cpu::set_dr6(0xFFFF_0FF0);
    for (msr, value) in msr::ADDRESSES.into_iter().zip(kept.0) {
        wrmsr(msr, value);
    }
    wrmsr(msr::PAT, kept.1);
    changed
}

/// Lets time pass: computing, or halted.
fn wait(rng: &mut Rng) {
    if rng.one_in(4) {
        // Not 0, which would stop the timer.
        apic::start_timer(0x52, apic::ticks(1 + rng.below(2_000)));
        cpu::sti_hlt();
        cpu::cli();
        return;
    }
    let until = now() + rng.below(LONGEST);
    while now() < until {}
}
