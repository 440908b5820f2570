//! Debug registers and single steps are the guest's own, over exits and on every processor.
#![expect(unsafe_code, reason = "steps through instructions")]

use core::arch::asm;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use guests::cpu::{self, bits, cpuid, dr6, dr7, rdmsr, set_dr0, set_dr6, set_dr7};
use guests::report::Checks;
use guests::sync::Place;
use guests::trap::{self, DB, Frame, GP, UD, catch};
use guests::{check, equal, hypercall, smp};

static WATCHED: Place<[u64; 4]> = Place::new([0; 4]);
/// DR7: breakpoint 0 enabled for everybody.
const ENABLE_0: u64 = 0x402;
/// Breakpoint 0: writes of 8 bytes.
const WRITE_8: u64 = 0b1001 << 16;

/// All of it.
pub fn run(t: &Checks) {
    kept(t);
    breakpoints(t);
    rules(t);
    steps(t);
    for index in smp::others() {
        smp::begin(index, |seed| own_values(seed, 200), index as u64);
    }
    let own = catch(|| own_values(0x77, 200));
    check!(t, own.is_ok(), "values changed while others set theirs: {own:?}");
    for index in smp::others() {
        equal!(t, smp::finish(index, 20_000), Ok(()), "values of processor {index}");
    }
    set_dr7(0x400);
    set_dr6(0xFFFF_0FF0);
}

fn values(seed: u64) -> [u64; 4] {
    core::array::from_fn(|i| 0x10_0000 * (seed + 1) + 8 * i as u64)
}

fn set(values: [u64; 4]) {
    set_dr0(values[0]);
    cpu::set_dr1(values[1]);
    cpu::set_dr2(values[2]);
    cpu::set_dr3(values[3]);
}

fn get() -> [u64; 4] {
    [cpu::dr0(), cpu::dr1(), cpu::dr2(), cpu::dr3()]
}

fn own_values(seed: u64, rounds: u32) {
    set(values(seed));
    for round in 0..rounds {
        match round % 3 {
            0 => drop(guests::boot::command_line()),
            1 => guests::apic::send_self(0x53),
            _ => guests::clock::delay_us(20),
        }
        let _ = (cpuid(1, 0), rdmsr(0x1B));
        assert!(get() == values(seed), "debug registers changed");
    }
}

fn kept(t: &Checks) {
    set(values(3));
    set_dr6(0xFFFF_0FF0 | 5);
    // Enabled, but where nobody goes.
    set_dr7(ENABLE_0);
    let _ = (cpuid(1, 0), rdmsr(0x1B));
    if hypercall::is_hyperv() {
        let _ = hypercall::with_input(4, &[0]);
    }
    equal!(t, get(), values(3), "DR0 to DR3 over exits");
    equal!(t, dr7(), ENABLE_0, "DR7 over exits");
    equal!(t, dr6() & 0xF, 5, "DR6 over exits");
    set_dr7(0x400);
}

fn breakpoints(t: &Checks) {
    let at = WATCHED.address();
    set_dr0(at);
    set_dr6(0xFFFF_0FF0);
    set_dr7(ENABLE_0 | WRITE_8);
    let hit = catch(|| cpu::poke(at, 1));
    equal!(
        t,
        hit.as_ref().err().map(|trap| (trap.vector, trap.dr6 & 0xF)),
        Some((DB, 1)),
        "write to a watched place"
    );
    equal!(t, cpu::peek(at), 1, "the watched place: a data breakpoint comes after the write");
    equal!(t, catch(|| cpu::poke(at + 8, 1)).is_ok(), true, "write beside the watched place");
    let _ = cpuid(1, 0);
    equal!(t, catch(|| cpu::poke(at, 2)).is_ok(), false, "write to a watched place after an exit");
    // Execution, of a function that is one return.
    static CODE: Place<[u8; 16]> = Place::new([0xC3; 16]);
    set_dr0(CODE.address());
    set_dr6(0xFFFF_0FF0);
    set_dr7(ENABLE_0);
    let hit = catch(|| unsafe {
        // SAFETY: a single RET, or the breakpoint before it.
        asm!("call {}", in(reg) CODE.address(), clobber_abi("C"));
    });
    equal!(
        t,
        hit.err().map(|trap| (trap.vector, trap.dr6 & 0xF, trap.rip)),
        Some((DB, 1, CODE.address())),
        "execution breakpoint"
    );
    set_dr7(0x400);
}

fn rules(t: &Checks) {
    set_dr7(0x400 | 1 << 13);
    let hit = catch(cpu::dr0);
    equal!(
        t,
        hit.err().map(|trap| (trap.vector, trap.dr6 >> 13 & 1)),
        Some((DB, 1)),
        "debug register with general detect"
    );
    set_dr7(0x400);
    // With CR4.DE there is no DR4.
    let hit = catch(|| unsafe {
        // SAFETY: faults.
        asm!("mov {}, dr4", out(reg) _);
    });
    equal!(t, hit.err().map(|trap| trap.vector), Some(UD), "DR4 with CR4.DE");
    // QEMU takes a value with upper bits; a processor refuses it.
    let hit = catch(|| set_dr7(1 << 40 | 0x400));
    check!(t, hit.is_ok() || hit.is_err_and(|trap| trap.vector == GP), "DR7 with upper bits");
    set_dr7(0x400);
    let hit = catch(|| unsafe {
        // SAFETY: raises #DB, which is caught.
        asm!(".byte 0xF1");
    });
    equal!(t, hit.err().map(|trap| trap.vector), Some(DB), "ICEBP");
}

/// Steps taken, and the address after the latest.
static STEPS: AtomicU32 = AtomicU32::new(0);
static AFTER: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

fn step(frame: &mut Frame) {
    let number = STEPS.fetch_add(1, Ordering::SeqCst) as usize;
    if let Some(slot) = AFTER.get(number) {
        slot.store(frame.rip, Ordering::SeqCst);
    }
    if number >= 7 {
        frame.rflags &= !bits::TF;
    }
    set_dr6(0xFFFF_0FF0);
}

/// Steps over `$code` and gives the distances of the traps from its first byte; the code ends with `popfq`, whose own
/// trap is still taken.
macro_rules! stepped {
    ($($code:literal),+) => {{
        STEPS.store(0, Ordering::SeqCst);
        let first: u64;
        // SAFETY: flags are put back by the second POPFQ; the code changes nothing but what is declared.
        unsafe {
            asm!(
                "push rbx", "pushfq", "pushfq", "or qword ptr [rsp], 0x100", "lea r12, [rip + 2f]", "popfq",
                "2:", $($code,)+
                "popfq", "pop rbx",
                out("r12") first, inout("rax") 0u64 => _, inout("rcx") 0x1Bu64 => _, out("rdx") _, out("r8") _,
                out("r9") _, out("r10") _, out("r11") _,
            );
        }
        let steps = (STEPS.load(Ordering::SeqCst) as usize).min(8);
        let mut distances = [0u64; 4];
        for (slot, after) in distances.iter_mut().zip(&AFTER[..steps.min(4)]) {
            *slot = after.load(Ordering::SeqCst).wrapping_sub(first);
        }
        (steps, distances)
    }};
}

/// A trap comes after every instruction, also one that the hypervisor carries out.
fn steps(t: &Checks) {
    trap::set_handler(DB, step);
    equal!(t, stepped!("nop", "nop"), (3, [1, 2, 3, 0]), "steps over NOP");
    equal!(t, stepped!("cpuid", "nop"), (3, [2, 3, 4, 0]), "steps over CPUID");
    equal!(t, stepped!("rdmsr", "nop"), (3, [2, 3, 4, 0]), "steps over RDMSR");
    equal!(t, stepped!("wbinvd", "nop"), (3, [2, 3, 4, 0]), "steps over WBINVD");
    if hypercall::is_hyperv() {
        equal!(
            t,
            stepped!("xor ecx, ecx", "vmmcall", "nop"),
            (4, [2, 5, 6, 7]),
            "steps over VMMCALL"
        );
    }
    if cpuid(1, 0)[2] & 1 << 26 != 0 {
        let got = stepped!("xor ecx, ecx", "mov al, 1", "cdq", "xsetbv");
        equal!(t, got, (5, [2, 4, 5, 8]), "steps over XSETBV");
    }
    if !guests::apic::is_x2apic() {
        equal!(
            t,
            stepped!("mov ecx, 0xFEE00030", "mov eax, [rcx]"),
            (3, [5, 7, 8, 0]),
            "steps over an APIC access"
        );
    }
    trap::clear_handler(DB);
}
