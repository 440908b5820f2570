//! The other processors: each waits in HLT for work and says when it is done.
#![expect(unsafe_code, reason = "starts processors")]

use crate::apic::{self, mode};
use crate::tables::{self, Cpu, MAX_CPUS, cpu};
use crate::{acpi, boot, clock, line, memory, paging, trap};
use core::sync::atomic::{AtomicUsize, Ordering};

/// Wakes a processor that waits for work.
pub const WAKE: u8 = 0xE1;
/// Page where processors start.
pub const TRAMPOLINE: u64 = 0x8000;

unsafe extern "C" {
    static ap_trampoline: u8;
    static ap_trampoline_end: u8;
    static ap_words: u8;
}

static COUNT: AtomicUsize = AtomicUsize::new(1);

/// Number of processors that run.
pub fn count() -> usize {
    COUNT.load(Ordering::Relaxed)
}

/// All processors but the one that booted.
pub fn others() -> impl Iterator<Item = usize> {
    1..count()
}

/// Starts everybody.
pub fn init(rsdp: u64) {
    let own = apic::id();
    let limit = (boot::args().cpus as usize).min(MAX_CPUS);
    acpi::processors(rsdp, |apic_id| {
        let index = count();
        if apic_id == own || index >= limit {
            return;
        }
        cpu(index).apic_id.store(apic_id, Ordering::Relaxed);
        if start(index) {
            COUNT.store(index + 1, Ordering::Relaxed);
        } else {
            line!("FAILED start: the processor with APIC id {apic_id} does not start");
        }
    });
    line!("{} processors, {}", count(), if apic::is_x2apic() { "x2APIC" } else { "xAPIC" });
}

/// Starts, or restarts, processor `index` by INIT and startup IPIs. Whether it came up.
pub fn start(index: usize) -> bool {
    let cpu = cpu(index);
    prepare(index);
    let apic_id = cpu.apic_id.load(Ordering::Relaxed);
    apic::command(apic_id, mode::INIT);
    clock::delay_us(200);
    for _ in 0..2 {
        apic::command(apic_id, mode::STARTUP | (TRAMPOLINE >> 12) as u32);
        if clock::wait_until(20, || cpu.online.load(Ordering::SeqCst)) {
            return true;
        }
    }
    clock::wait_until(1000, || cpu.online.load(Ordering::SeqCst))
}

/// Puts the trampoline where a startup IPI finds it, set for processor `index`.
pub fn prepare(index: usize) {
    let cpu = cpu(index);
    cpu.online.store(false, Ordering::SeqCst);
    cpu.job.store(0, Ordering::SeqCst);
    cpu.recovery.store(0, Ordering::SeqCst);
    let from = &raw const ap_trampoline;
    // SAFETY: the trampoline is code inside the image.
    let code = unsafe {
        core::slice::from_raw_parts(from, (&raw const ap_trampoline_end) as usize - from as usize)
    };
    memory::put(TRAMPOLINE, code);
    let words = TRAMPOLINE + ((&raw const ap_words) as u64 - from as u64);
    let entry: extern "C" fn(usize) -> ! = ap_main;
    for (i, word) in [paging::root(), tables::stack_end(index), index as u64, entry as usize as u64]
        .into_iter()
        .enumerate()
    {
        crate::cpu::poke(words + 8 * i as u64, word);
    }
}

extern "C" fn ap_main(index: usize) -> ! {
    tables::load(index);
    boot::init_processor();
    let cpu = cpu(index);
    cpu.online.store(true, Ordering::SeqCst);
    loop {
        crate::cpu::cli();
        if cpu.job.load(Ordering::SeqCst) == 0 {
            crate::cpu::sti_hlt();
        } else {
            work(cpu);
        }
    }
}

fn work(cpu: &Cpu) {
    let (job, argument) = (cpu.job.load(Ordering::SeqCst), cpu.job_argument.load(Ordering::SeqCst));
    // SAFETY: only `begin` stores, and it stores such a function.
    let job: fn(u64) = unsafe { core::mem::transmute(job as usize) };
    crate::cpu::sti();
    let result = trap::catch(|| job(argument));
    cpu.job.store(0, Ordering::SeqCst);
    cpu.job_result.store(
        match result {
            Ok(()) => 1,
            Err(trap) => {
                cpu.job_fault.store(trap.rip, Ordering::SeqCst);
                0x100 + u32::from(trap.vector)
            }
        },
        Ordering::SeqCst,
    );
}

/// Why a processor did not do its work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JobError {
    /// It did not finish in time.
    TimedOut,
    /// An exception ended it.
    Exception {
        /// Which.
        vector: u8,
        /// Where.
        rip: u64,
    },
}

/// Gives processor `index`, which waits, something to do.
pub fn begin(index: usize, job: fn(u64), argument: u64) {
    let cpu = cpu(index);
    cpu.job_result.store(0, Ordering::SeqCst);
    cpu.job_argument.store(argument, Ordering::SeqCst);
    cpu.job.store(job as usize as u64, Ordering::SeqCst);
    apic::send(cpu.apic_id.load(Ordering::Relaxed), WAKE);
}

/// Waits until processor `index` has finished, at most `ms` milliseconds.
pub fn finish(index: usize, ms: u64) -> Result<(), JobError> {
    let cpu = cpu(index);
    let done = || cpu.job_result.load(Ordering::SeqCst) != 0;
    if !clock::wait_until(ms, done) {
        return Err(JobError::TimedOut);
    }
    match cpu.job_result.load(Ordering::SeqCst) {
        1 => Ok(()),
        other => Err(JobError::Exception {
            vector: other as u8,
            rip: cpu.job_fault.load(Ordering::SeqCst),
        }),
    }
}

/// Lets processor `index` do something and waits for it.
pub fn run(index: usize, ms: u64, job: fn(u64), argument: u64) -> Result<(), JobError> {
    begin(index, job, argument);
    finish(index, ms)
}

/// Restarts every processor that does not answer. How many there were.
pub fn revive() -> usize {
    others()
        .filter(|&index| run(index, 100, |_| {}, 0).is_err())
        .filter(|&index| !start(index))
        .count()
}
