//! Random instructions on the APIC's register page: each works, or raises an exception at itself.
#![expect(unsafe_code, reason = "executes instructions made up on the spot")]

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use guests::cpu::{cli, interrupt_window};
use guests::memory::{self, PAGE};
use guests::report::Checks;
use guests::rng::Rng;
use guests::tables::this;
use guests::trap::{GP, PF, SS, Trap, UD, catch};
use guests::{apic, boot, check, clock, equal, hypercall, line, smp};

const DEFAULT_COUNT: u64 = 20_000;

/// Where the code lies: at the beginning of its page, or so that it crosses into the next.
static CODE: AtomicU64 = AtomicU64::new(0);
static STOP: AtomicBool = AtomicBool::new(false);

/// All of it.
pub fn run(t: &Checks) {
    if apic::is_x2apic() {
        return t.skip("the APIC is in x2APIC mode (x2apic=off)");
    }
    let code = memory::pages(2);
    CODE.store(code, Ordering::SeqCst);
    let mut rng = Rng::new(boot::args().seed);
    let count = boot::args().count_or(DEFAULT_COUNT);
    let (mut worked, mut refused) = (0, 0);
    for round in 0..count {
        let instruction = Instruction::random(&mut rng);
        let at =
            if rng.one_in(8) { code + PAGE - 1 - rng.below(instruction.len as u64) } else { code };
        match execute(at, &instruction, &mut rng) {
            Ok(()) => worked += 1,
            Err(trap) => {
                refused += 1;
                let own = matches!(trap.vector, UD | GP | PF | SS) && trap.rip == at;
                let bytes = instruction.bytes();
                check!(
                    t,
                    own,
                    "{bytes:02x?}: exception {} at {:#x}, code at {at:#x}",
                    trap.vector,
                    trap.rip
                );
            }
        }
        if round % 64 == 0 {
            apic::quiet();
            interrupt_window();
        }
    }
    apic::quiet();
    interrupt_window();
    cli();
    line!("  {worked} instructions worked, {refused} were refused");
    check!(t, worked > count / 10, "hardly any instruction worked");
    if smp::count() > 1 {
        changing_code(t, code);
    }
    equal!(t, apic::id(), this().apic_id.load(Ordering::Relaxed), "APIC id afterwards");
    if hypercall::is_hyperv() {
        check!(t, hypercall::harmless().is_success(), "hypercalls afterwards");
    }
}

struct Instruction {
    bytes: [u8; 16],
    len: usize,
}

/// Opcodes with a ModRM byte, in how many bytes of immediate they end, and whether 0x0F comes before.
const OPCODES: [(u8, u8, bool); 33] = [
    (0x88, 0, false), // mov
    (0x89, 0, false),
    (0x8A, 0, false),
    (0x8B, 0, false),
    (0xC6, 1, false),
    (0xC7, 4, false),
    (0x86, 0, false), // xchg
    (0x87, 0, false),
    (0xB6, 0, true), // movzx
    (0xB7, 0, true),
    (0xBE, 0, true), // movsx
    (0xBF, 0, true),
    (0x63, 0, false), // movsxd
    (0x08, 0, false), // or
    (0x0B, 0, false),
    (0x21, 0, false), // and
    (0x23, 0, false),
    (0x31, 0, false), // xor
    (0x33, 0, false),
    (0x39, 0, false), // cmp
    (0x3B, 0, false),
    (0x84, 0, false), // test
    (0x85, 0, false),
    (0xA3, 0, true), // bt
    (0xB0, 0, true), // cmpxchg
    (0xB1, 0, true),
    (0x10, 0, true), // movups
    (0x11, 0, true),
    (0x28, 0, true), // movaps
    (0x29, 0, true),
    (0xC3, 0, true), // movnti
    (0x6E, 0, true), // movd
    (0x40, 0, true), // cmovo
];

/// BT: its bit may lie far from the page.
const BT: u8 = 0xA3;

/// What lies beside the page is not a child's, and its worker, who knows fewer instructions than a processor, ends it for one
/// that it does not know.
fn stays_inside() -> bool {
    hypercall::is_hyperv() && !hypercall::is_root()
}

impl Instruction {
    fn random(rng: &mut Rng) -> Self {
        let mut made = Self { bytes: [0xCC; 16], len: 0 };
        if rng.one_in(12) {
            made.string(rng);
        } else {
            made.ordinary(rng);
        }
        made
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    fn prefixes(&mut self, rng: &mut Rng) {
        for (prefix, one_in) in [(0x66, 6), (0x2E, 24), (0xF0, 24), (0xF2, 40), (0xF3, 40)] {
            if rng.one_in(one_in) {
                self.push(prefix);
            }
        }
    }

    /// `op [rdi + displacement], reg` and the like. REX.B and REX.X stay clear: the address is RDI's.
    fn ordinary(&mut self, rng: &mut Rng) {
        self.prefixes(rng);
        let mut narrow = self.bytes().contains(&0x66);
        if rng.one_in(3) {
            let rex = 0x40 | rng.pick(&[0, 4, 8, 12]);
            // REX.W overrules the operand-size prefix.
            narrow &= rex & 8 == 0;
            self.push(rex);
        }
        let (mut opcode, immediate, escaped) = rng.pick(&OPCODES);
        if opcode == BT && stays_inside() {
            opcode = 0xB0;
        }
        if escaped {
            self.push(0x0F);
        }
        self.push(opcode);
        // An immediate's opcode wants 0 here, and stores refuse RSP and RBP as their registers for their own good.
        let register = if immediate != 0 { 0 } else { rng.pick(&[0, 1, 2, 3, 6]) };
        self.push(0x80 | register << 3 | 7);
        let end = if stays_inside() { PAGE - 16 } else { PAGE };
        let displacement = if rng.one_in(3) { rng.below(end) } else { rng.below(64) * 16 };
        for byte in (displacement as u32).to_le_bytes() {
            self.push(byte);
        }
        let value = tame(rng).to_le_bytes();
        let operand = if narrow && immediate == 4 { 2 } else { usize::from(immediate) };
        for byte in &value[..operand] {
            self.push(*byte);
        }
    }

    /// MOVS, STOS, LODS, CMPS, SCAS, with or without repetition.
    fn string(&mut self, rng: &mut Rng) {
        if rng.one_in(2) {
            self.push(rng.pick(&[0xF2, 0xF3]));
        }
        self.push(rng.pick(&[0xA4, 0xA5, 0xAA, 0xAB, 0xAC, 0xAD, 0xA6, 0xA7, 0xAE, 0xAF]));
    }
}

/// A value that as an interrupt command sends no INIT, whichever bytes of it arrive: bits 2:0 of every byte are 0. As a
/// timer's count it is long.
fn tame(rng: &mut Rng) -> u64 {
    rng.word() & 0xF8F8_F8F8_F8F8_F8F8 | 0x1000_0020_1000_0020
}

fn execute(at: u64, instruction: &Instruction, rng: &mut Rng) -> Result<(), Trap> {
    memory::fill(CODE.load(Ordering::Relaxed), 2 * PAGE, 0xCC);
    memory::put(at, instruction.bytes());
    memory::put(at + instruction.len as u64, &[0xC3]);
    // RAX, RCX, RDX, RBX, RSI; the address is in RDI. RCX is also a count of repetitions.
    let values = [tame(rng), 8, tame(rng), tame(rng), apic::PAGE + 16 * rng.below(64)];
    let address = apic::PAGE;
    catch(|| unsafe {
        // SAFETY: the code changes these registers, R8 to R15 and vector registers, and device registers.
        core::arch::asm!(
            "push rbx", "push rbp", "mov rbx, [r15 + 24]", "call r14", "pop rbp", "pop rbx",
            in("r14") at, inout("r15") values.as_ptr() => _, inout("rax") values[0] => _, inout("rcx") values[1] => _,
            inout("rdx") values[2] => _, inout("rsi") values[4] => _, inout("rdi") address => _,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _, out("r12") _, out("r13") _,
        );
    })
}

/// Another processor rewrites the code while this one executes it: what the hypervisor decodes may be other than what
/// was executed. Anything may come of it, for this guest.
fn changing_code(t: &Checks, code: u64) {
    STOP.store(false, Ordering::SeqCst);
    let rewrite = |code: u64| {
        // nop; op [rdi+0x80], edx; ret: stores, loads, an exchange, two that are not emulated, one that is no
        // instruction. They differ in one byte, so that one that is half rewritten when it is fetched is none but these.
        let opcodes: [u64; 8] = [0x89, 0x8B, 0x88, 0x8A, 0x87, 0x01, 0xDB, 0x06];
        let mut round = 0usize;
        while !STOP.load(Ordering::SeqCst) {
            guests::cpu::poke(code, 0xC300_0000_8097_0090 | opcodes[round & 7] << 8);
            round += 1;
        }
    };
    smp::begin(1, rewrite, code);
    // Emulators translate the code anew each time.
    let end = clock::now() + clock::ms(3000);
    let mut left = 2000;
    while left != 0 && clock::now() < end {
        left -= 1;
        let _ = catch(|| unsafe {
            // SAFETY: as above; an exception ends it.
            core::arch::asm!(
                "push rbx", "push rbp", "call r14", "pop rbp", "pop rbx", in("r14") code, inout("rdi") apic::PAGE => _,
                inout("rax") 0x1000_0020u64 => _, inout("rdx") 0u64 => _, out("rcx") _, out("rsi") _, out("r8") _,
                out("r9") _, out("r10") _, out("r11") _, out("r12") _, out("r13") _, out("r15") _,
            );
        });
    }
    STOP.store(true, Ordering::SeqCst);
    equal!(t, smp::finish(1, 5000), Ok(()), "the processor that rewrites code");
    apic::quiet();
}
