//! Inputs for [`super::hostile`].

use core::sync::atomic::{AtomicU64, Ordering};
use guests::apic;
use guests::cpu::{cr3, poke};
use guests::hypercall::{FAST, SELF};
use guests::memory::{self, PAGE};
use guests::rng::Rng;

/// Pages that are given away, together for all processors: nothing else uses them.
const SACRIFICED: u64 = 512;
static SACRIFICE: AtomicU64 = AtomicU64::new(0);

/// A processor's buffers.
pub struct Inputs {
    /// Four pages: input, its neighbour, output, its neighbour.
    arena: u64,
    sacrifice: u64,
    hypervisor: u64,
    words: [u64; 512],
}

/// Registers of a call.
pub struct Made {
    /// RCX.
    pub control: u64,
    /// RDX.
    pub first: u64,
    /// R8.
    pub second: u64,
}

impl Inputs {
    /// Buffers of the calling processor. `hypervisor` is a page of the hypervisor's.
    pub fn new(hypervisor: u64) -> Self {
        let arena = memory::pages(4);
        let mut sacrifice = SACRIFICE.load(Ordering::SeqCst);
        if sacrifice == 0 {
            sacrifice = memory::pages(SACRIFICED);
            SACRIFICE.store(sacrifice, Ordering::SeqCst);
        }
        Self { arena, sacrifice, hypervisor, words: [0; 512] }
    }

    /// Registers for call `code`, with its input in place.
    pub fn make(&mut self, rng: &mut Rng, code: u64) -> Made {
        self.fill(rng);
        let tamed = self.tame(rng, code);
        for (i, word) in self.words.iter().enumerate() {
            poke(self.arena + 8 * i as u64, *word);
        }
        let control = control(rng, code);
        if control & FAST != 0 {
            return Made { control, first: self.words[0], second: self.words[1] };
        }
        let first = if tamed { self.arena } else { self.input(rng) };
        Made { control, first, second: self.output(rng) }
    }

    fn fill(&mut self, rng: &mut Rng) {
        let kind = rng.below(5);
        let mut words = [0; 512];
        for word in &mut words {
            *word = match kind {
                0 => 0,
                1 => u64::MAX,
                2 => rng.word(),
                _ => self.plausible(rng),
            };
        }
        self.words = words;
        if !rng.one_in(4) {
            self.words[0] = rng.pick(&[SELF, SELF, 1, 2, 0]);
        }
    }

    /// Something that a field might well hold.
    fn plausible(&self, rng: &mut Rng) -> u64 {
        match rng.below(10) {
            0 => SELF,
            1 => 1,
            2 => rng.below(16),
            8 | 9 => 0,
            3 => rng.below(0x100) | rng.below(0x100) << 32,
            4 => self.page_number(rng),
            5 => 1 << rng.below(64),
            _ => rng.odd(),
        }
    }

    /// A page number that may be given away: RAM set aside, the hypervisor's own, a device's, or none at all.
    fn page_number(&self, rng: &mut Rng) -> u64 {
        match rng.below(5) {
            0 => self.hypervisor / PAGE,
            1 => rng.pick(&[apic::PAGE / PAGE, 0xFEC00, 0xFED00, 0xA0]),
            2 => rng.pick(&[1 << 40, u64::MAX, u64::MAX >> 12, 1 << 52]),
            _ => self.sacrifice / PAGE + rng.below(SACRIFICED),
        }
    }

    /// Keeps the input off what ends the machine by design. Whether only this input may be used.
    fn tame(&mut self, rng: &mut Rng, code: u64) -> bool {
        let not_own = |rng: &mut Rng| rng.pick(&[0, 2, 3, 0x1234_5678, SELF - 1]);
        match code {
            // The caller's CR3 becomes the input.
            0x01 => self.words.fill(cr3()),
            // Pages of the input go to the hypervisor.
            0x48 => {
                for i in 1..512 {
                    self.words[i] = self.page_number(rng);
                }
            }
            // Registers, memory, state, properties and interrupts of this partition's own.
            0x45 | 0x51 | 0x54 | 0x94 | 0x99 | 0xE4 => self.words[0] = not_own(rng),
            // S1 to S5.
            0x84 => self.words.iter_mut().for_each(|word| *word |= 0x100),
            // Root crash dump: suspends all VPs.
            0x87 => self.words.iter_mut().for_each(|word| *word |= 0x100),
            // The hypervisor leaves the machine to code below 4 GiB.
            0x10F => self.words[0] |= 1 << 40,
            // A page of the caller's choice becomes a statistics page.
            0x131 => {
                for i in 0..512 {
                    self.words[i] = self.page_number(rng);
                }
            }
            _ => return false,
        }
        true
    }

    fn input(&self, rng: &mut Rng) -> u64 {
        match rng.below(12) {
            0 => self.arena + rng.below(PAGE),
            1 => self.arena + PAGE - 8 * rng.below(16),
            2 => self.elsewhere(rng),
            _ => self.arena,
        }
    }

    fn output(&self, rng: &mut Rng) -> u64 {
        let page = self.arena + 2 * PAGE;
        match rng.below(12) {
            0 => page + rng.below(PAGE),
            1 => page + PAGE - 8 * rng.below(16),
            2 => self.elsewhere(rng),
            3 => 0,
            _ => page,
        }
    }

    /// Addresses that are no RAM of this partition's.
    fn elsewhere(&self, rng: &mut Rng) -> u64 {
        let offset = if rng.one_in(2) { 0 } else { rng.below(PAGE) };
        let page = match rng.below(8) {
            0 | 1 => self.hypervisor,
            2 => apic::PAGE,
            3 => rng.pick(&[0xFEC0_0000, 0xFED0_0000, 0xA_0000, 0xFFFF_F000]),
            4 => 1 << 39,
            5 => 1 << 51,
            6 => rng.word() | 1 << 62,
            _ => !(PAGE - 1),
        };
        page.wrapping_add(offset)
    }
}

/// A control word: often one that some calls want, else anything.
fn control(rng: &mut Rng, code: u64) -> u64 {
    let fast = if rng.one_in(4) { FAST } else { 0 };
    code | fast
        | match rng.below(8) {
            0..3 => 0,
            3..5 => rng.pick(&[1, 2, 3, 8]) << 32,
            5 => rng.pick(&[1, 2]) << 17 | rng.below(2) << 32,
            _ => noise(rng),
        }
}

fn noise(rng: &mut Rng) -> u64 {
    let mut control = 0;
    if rng.one_in(3) {
        control |= rng.pick(&[1, 2, 3, 509, 512, 1023]) << 17;
    }
    if rng.one_in(2) {
        let reps = rng.pick(&[1, 2, 3, 8, 509, 511, 512, 513, 4095]);
        let start = if rng.one_in(3) { rng.pick(&[1, 2, 511, 4095]) } else { 0 };
        control |= reps << 32 | start << 48;
    }
    if rng.one_in(6) {
        control |= 1 << rng.pick(&[27, 28, 30, 31, 44, 47, 60, 63]);
    }
    control
}
