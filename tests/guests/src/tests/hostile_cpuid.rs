//! Random leaves: the answer is the same twice, fills 32 bits, and never shows what is hidden.

use super::cpuid;
use guests::cpu::cpuid_wide;
use guests::report::Checks;
use guests::rng::Rng;
use guests::{boot, check, smp};

const DEFAULT_COUNT: u64 = 20_000;

/// All of it.
pub fn run(t: &Checks) {
    let job = |seed| {
        let count = boot::args().count_or(DEFAULT_COUNT);
        let mut rng = Rng::new(seed);
        for _ in 0..count / smp::count() as u64 {
            let _ = cpuid_wide(leaf(&mut rng), rng.word() as u32);
        }
    };
    let seed = boot::args().seed;
    smp::others().for_each(|index| smp::begin(index, job, seed * 1000 + index as u64));
    let mut rng = Rng::new(seed * 1000);
    let count = boot::args().count_or(DEFAULT_COUNT);
    for _ in 0..count / smp::count() as u64 {
        let (leaf, subleaf) = (leaf(&mut rng), rng.odd() as u32);
        let answer = cpuid_wide(leaf, subleaf);
        if !check!(
            t,
            answer.iter().all(|word| word >> 32 == 0),
            "leaf {leaf:#x}, {subleaf:#x}: {answer:x?}"
        ) {
            break;
        }
        let again = cpuid_wide(leaf, subleaf);
        if !check!(t, answer == again, "leaf {leaf:#x}, {subleaf:#x}: {answer:x?}, then {again:x?}")
        {
            break;
        }
    }
    for index in smp::others() {
        guests::equal!(t, smp::finish(index, 300_000), Ok(()), "processor {index}");
    }
    cpuid::hidden(t);
}

fn leaf(rng: &mut Rng) -> u32 {
    let random = rng.word() as u32;
    match rng.below(5) {
        0 => random % 0x40,
        1 => 0x4000_0000 + random % 0x200,
        2 => 0x8000_0000 + random % 0x40,
        3 => 0x4000_0000 + random % 0x1_0000,
        _ => random,
    }
}
