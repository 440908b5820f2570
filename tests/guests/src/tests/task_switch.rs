//! Task switches by hardware, which only 32-bit code can ask for. A child that does is at its end: the hypervisor does not
//! carry them out, and nobody but the child notices. Elsewhere the processor carries them out. QEMU's does so in a child,
//! too: it knows no intercept of task switches.

use core::sync::atomic::Ordering;
use guests::apic::{self, mode};
use guests::clock::{self, wait_until};
use guests::cpu::{peek32, poke32};
use guests::report::Checks;
use guests::tables::cpu;
use guests::{check, equal, line, memory, smp};

#[expect(unsafe_code, reason = "code of the image, for another mode")]
mod raw {
    core::arch::global_asm!(include_str!("task_switch.S"), options(att_syntax));

    unsafe extern "C" {
        static task_start: u8;
        static task_end: u8;
    }

    /// The code, from real mode on.
    pub fn code() -> &'static [u8] {
        let from = &raw const task_start;
        // SAFETY: code inside the image.
        unsafe { core::slice::from_raw_parts(from, (&raw const task_end) as usize - from as usize) }
    }
}

/// Where it runs, and where it leaves what it found.
const PAGE: u64 = 0x9000;
const RESULTS: u64 = 0xA000;
/// The way: by a far jump, or by an interrupt through a task gate.
const WAY: u64 = RESULTS + 0x10;
/// The code is about to switch, the new task runs, the old one goes on as if nothing had been.
const BEFORE: u32 = 1;
const NEW_TASK: u32 = 0x600D_600D;

/// `task-jump`: JMP to a task-state segment.
pub fn jump(t: &Checks) {
    one(t, 0);
}

/// `task-gate`: an interrupt through a task gate.
pub fn gate(t: &Checks) {
    one(t, 1);
}

fn one(t: &Checks, way: u32) {
    memory::put(PAGE, raw::code());
    (0..8).for_each(|i| poke32(RESULTS + 4 * i, 0));
    poke32(WAY, way);
    let apic_id = cpu(1).apic_id.load(Ordering::Relaxed);
    apic::command(apic_id, mode::INIT);
    clock::delay_us(300);
    apic::command(apic_id, mode::STARTUP | (PAGE >> 12) as u32);
    let came = wait_until(2000, || peek32(RESULTS) == BEFORE);
    check!(t, came || peek32(RESULTS) == NEW_TASK, "32-bit code did not get to its task switch");
    let done = wait_until(5000, || peek32(RESULTS) == NEW_TASK);
    // Whatever came of it, the processor is one of this kernel's again.
    check!(t, smp::start(1), "processor 1 does not start again");
    equal!(t, (done, peek32(RESULTS + 4)), (true, way), "the new task runs, and its way");
    line!("  the processor carries out task switches");
}
