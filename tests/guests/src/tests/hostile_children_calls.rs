//! Calls for [`super::hostile_children`].

use super::hostile_children::PARTITIONS;
use core::sync::atomic::Ordering;
use guests::hypercall::{FAST, SELF};
use guests::rng::Rng;

/// Memory that calls may name: first page number and number of pages.
pub struct Scene {
    /// Pages that may become the hypervisor's.
    pub given: (u64, u64),
    /// Pages that may become children's memory.
    pub mapped: (u64, u64),
}

/// A call.
pub struct Call {
    /// Control word.
    pub control: u64,
    /// Input.
    pub words: [u64; 48],
}

/// A call with some of its words replaced.
pub fn make(scene: &Scene, rng: &mut Rng) -> Call {
    let mut call = Call { control: 0, words: [0; 48] };
    match rng.below(3) {
        0 => call.life(scene, rng),
        1 => call.registers(rng),
        _ => call.rest(scene, rng),
    }
    let code = call.control & 0xFFFF;
    if rng.one_in(6) && code != 0x48 {
        for _ in 0..1 + rng.below(3) {
            call.words[rng.below(12) as usize] = rng.odd();
        }
    }
    if rng.one_in(24) {
        call.control ^= 1 << rng.below(60);
        // Giving pages away stays what it is: its words are page numbers that may go.
        call.control = call.control & !0xFFFF | code;
    }
    call
}

fn partition(rng: &mut Rng) -> u64 {
    match rng.below(24) {
        0 => SELF,
        1 => 1,
        2 => rng.odd(),
        n => PARTITIONS[n as usize % PARTITIONS.len()].load(Ordering::SeqCst),
    }
}

/// A child's partition: for what the parent could do to itself.
fn child(rng: &mut Rng) -> u64 {
    let id = partition(rng);
    if id == SELF || id == 1 { 0 } else { id }
}

fn vp(rng: &mut Rng) -> u64 {
    if !rng.one_in(3) {
        return 0;
    }
    rng.pick(&[1, 1, 2, 63, 64, 255, 256, 0xFFFF_FFFE, 0xFFFF_FFFF])
}

fn gpa_page(rng: &mut Rng) -> u64 {
    match rng.below(8) {
        0 => 512 * rng.below(4),
        1 => rng.pick(&[0xFEE00, 0xF_FFFF, 0x10_0000, 1 << 27, 1 << 36, 1 << 40]),
        _ => rng.below(64),
    }
}

/// Names of registers: internal, general, control, segments, MSRs, synthetic, timers.
fn register(rng: &mut Rng) -> u64 {
    let range = rng.pick(&[
        (0x0, 8),
        (0x210, 6),
        (0x1_0002, 6),
        (0x2_0000, 18),
        (0x3_0000, 26),
        (0x4_0000, 6),
        (0x4_1000, 4),
        (0x5_0000, 6),
        (0x6_0000, 8),
        (0x7_0000, 2),
        (0x8_0000, 16),
        (0x8_0010, 0x40),
        (0x8_0070, 0x40),
        (0x8_4800, 0x40),
        (0x9_0000, 0x20),
        (0xA_0000, 0x20),
        (0xB_0000, 8),
        (0xF_FFFF, 3),
    ]);
    range.0 + rng.below(range.1)
}

impl Call {
    fn set(&mut self, control: u64, words: &[u64]) {
        self.control = control;
        self.words[..words.len()].copy_from_slice(words);
    }

    /// Creation to deletion, memory, VPs.
    fn life(&mut self, scene: &Scene, rng: &mut Rng) {
        let id = partition(rng);
        match rng.below(16) {
            0 | 1 => {
                let flags = rng.pick(&[1 << 8, 0])
                    | rng.pick(&[1 << 13, 0])
                    | rng.pick(&[1 << 19, 0])
                    | rng.pick(&[1 << 22, 1 << 4, 0]);
                self.set(0x40, &[flags, 0, 0x609, 0, 0, 0, 0]);
            }
            2 | 3 => self.set(0x41 | FAST, &[id]),
            4 if rng.one_in(8) => self.set(0x42 | FAST, &[id]),
            5 if rng.one_in(4) => self.set(0x43 | FAST, &[id]),
            6..9 => {
                let reps = 1 + rng.below(40);
                self.set(0x48 | reps << 32, &[id]);
                for word in &mut self.words[1..] {
                    *word = scene.given.0 + rng.below(scene.given.1);
                }
            }
            9 if rng.one_in(4) => self.set(0x49 | (1 + rng.below(20)) << 32, &[child(rng), 0]),
            10..13 => {
                let reps = 1 + rng.below(16);
                let flags = rng.pick(&[0xF, 0xF, 3, 1, 0, 5, 1 << 8 | 0xF, 1 << 31 | 0xF, 0x10F]);
                self.set(0x4B | reps << 32, &[id, gpa_page(rng), flags]);
                for word in &mut self.words[3..] {
                    let pool = if rng.one_in(16) { scene.given } else { scene.mapped };
                    *word = pool.0 + rng.below(pool.1);
                }
            }
            13 => self.set(0x4C | (1 + rng.below(64)) << 32, &[id, gpa_page(rng), rng.below(4)]),
            14 => self.set(0x4E, &[id, vp(rng), 0, 0, rng.below(3)]),
            _ => self.set(0x4F | FAST, &[child(rng), vp(rng)]),
        }
    }

    /// Registers, and with them the run state.
    fn registers(&mut self, rng: &mut Rng) {
        let reps = 1 + rng.below(8);
        match rng.below(6) {
            0 => {
                self.set(0x50 | rng.pick(&[1, 1, 2, 8]) << 32, &[partition(rng), vp(rng)]);
                for word in &mut self.words[2..6] {
                    *word = register(rng) | register(rng) << 32;
                }
            }
            // Runs: real mode, at one of the programs.
            1 | 2 => {
                let page = rng.below(64);
                self.set(0x51 | 4 << 32, &[child(rng), rng.below(2)]);
                let values = [
                    (0x6_0001, page << 12, 0x9B_0000_0000_FFFF | page << 40),
                    (0x2_0010, 0, 0),
                    (1, 0, 0),
                    (0, 0, 0),
                ];
                for (words, (name, low, high)) in self.words[2..].chunks_exact_mut(4).zip(values) {
                    words.copy_from_slice(&[name, 0, low, high]);
                }
            }
            3 => {
                self.set(0x51 | 1 << 32, &[child(rng), rng.below(2)]);
                self.words[2..6].copy_from_slice(&[rng.below(2), 0, rng.below(2), 0]);
            }
            _ => {
                self.set(0x51 | reps << 32, &[child(rng), vp(rng)]);
                for words in self.words[2..34].chunks_exact_mut(4) {
                    words.copy_from_slice(&[register(rng), 0, rng.odd(), rng.odd()]);
                }
            }
        }
    }

    fn rest(&mut self, scene: &Scene, rng: &mut Rng) {
        let id = partition(rng);
        match rng.below(24) {
            0 => self.set(0x44, &[id, property(rng)]),
            1 => self.set(0x45, &[child(rng), property(rng), rng.odd()]),
            2 => self.set(0x4D, &[id, rng.below(8) | rng.below(0x18) << 32, rng.odd()]),
            3 => self.set(0x52, &[id, vp(rng), rng.below(256), gpa_page(rng)]),
            4 => self.set(0x56 | FAST, &[id]),
            5 => self.set(0x58 | FAST, &[id, rng.below(16)]),
            6 => self.set(0x5B | FAST, &[id, rng.below(16) | rng.below(2) << 32]),
            7 => self.set(
                0x6C,
                &[rng.pick(&[1, 2, 0x1_0001, 0x1_0002]), id, vp(rng) | rng.below(3) << 56],
            ),
            8 => self.set(
                0x6D,
                &[rng.pick(&[1, 2, 0x1_0001, 0x1_0002]), id, vp(rng) | rng.below(3) << 56],
            ),
            9 => self.set(
                0x91,
                &[id, vp(rng) | rng.below(0x18) << 32, rng.odd(), rng.odd(), rng.odd(), rng.odd()],
            ),
            10 | 11 => {
                let control = rng.below(8) | rng.below(4) << 32;
                self.set(0x94, &[child(rng), control, rng.odd(), rng.below(256)]);
            }
            12 => self.set(
                0x95,
                &[
                    SELF,
                    rng.below(16),
                    id,
                    rng.below(6),
                    rng.below(17) | rng.below(3) << 32,
                    0x1_0000,
                    0,
                ],
            ),
            13 => {
                let doorbell = [rng.below(6), gpa_page(rng) << 12, rng.odd(), rng.below(16)];
                self.set(
                    0x96,
                    &[
                        id,
                        rng.below(16),
                        SELF,
                        rng.below(16),
                        doorbell[0],
                        doorbell[1],
                        doorbell[2],
                        doorbell[3],
                        0,
                    ],
                );
            }
            14 => {
                self.set(0xC0, &[id, rng.below(2) | rng.below(17) << 40 | rng.below(0x900) << 48])
            }
            15 => self.set(0xC1, &[id, rng.below(2), rng.below(17), 0x8000_0010 | 24 << 32]),
            16 => self.set(0xC2, &[child(rng), vp(rng) | rng.below(4) << 32, 1000, 0]),
            17 => self.set(0xC9 | (1 + rng.below(64)) << 32, &[id, rng.below(16), gpa_page(rng)]),
            18 | 19 => self.set(0xE1, &[id, vp(rng) | rng.below(4) << 32, 0]),
            20 => self.set(0xE2, &[id, vp(rng) | rng.below(4) << 32]),
            21 => {
                let page = scene.given.0 + rng.below(scene.given.1);
                self.set(
                    0xE3 | rng.below(3) << 17,
                    &[id, vp(rng), rng.below(8), 0, rng.odd(), page, page],
                );
            }
            22 => {
                let page = scene.mapped.0 + rng.below(scene.mapped.1);
                self.set(
                    0xE4 | rng.below(40) << 17,
                    &[child(rng), vp(rng), rng.below(8), 0, rng.odd(), page, page],
                );
            }
            _ => self.set(0xF4 | (1 + rng.below(4)) << 32, &[id, vp(rng), 0, 0x4000_0003, 0, 0]),
        }
    }
}

fn property(rng: &mut Rng) -> u64 {
    rng.pick(&[
        0x1_0000,
        0x1_0001,
        0x2_0000,
        0x2_0001,
        0x2_0002,
        0x2_0003,
        0x3_0003,
        0x3_0005,
        0x5_0003,
        0x5_0005,
        0x5_0017,
        0x6_0000,
        0x6_0006,
        0x6_0008,
        0x6_000A,
        0x7_0000,
        0x9_0007,
        0x5A_0003,
        0xFFFF_FFFF,
    ])
}
