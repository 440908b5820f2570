//! When the hypervisor itself is at fault: a report, never silence.
//!
//! The report goes to the UART and the log ring, a record of fixed layout stays in memory for a debugger, the other LPs
//! stop, and the machine resets or halts. A fault inside the report only stops.
#![expect(
    unsafe_code,
    reason = "walks a stack that may be damaged; writes the crash record; leaves the emulator"
)]

use crate::log::{Level, log};
use crate::mem::IMAGE_OFFSET;
use crate::trap::Frame;
use crate::{boot, interrupts, lp};
use arch_x86::cpu;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering};
use zemindef::crash::CrashRecord;

/// What happens after the report.
static HALT: AtomicBool = AtomicBool::new(false);
/// Port of the emulator's exit device; 0 for none.
static EXIT_PORT: AtomicU16 = AtomicU16::new(0);
/// Who reports: an LP's index plus 1, or [`NO_LP`]; 0 for nobody.
static REPORTER: AtomicU32 = AtomicU32::new(0);
/// A reporter that is no LP yet: the first one, before memory is set up.
const NO_LP: u32 = u32::MAX;

/// Value written to the exit port after a crash; the emulator ends with status `2 * value + 1`.
pub const EXIT_CRASH: u8 = 0x5A;
/// Value written to the exit port when the machine cannot go on for a reason that was told (bad input, bad processor).
pub const EXIT_REFUSED: u8 = 0x5B;

/// The record, at an address that the symbol table names.
#[unsafe(no_mangle)]
static CRASH_RECORD: RecordCell = RecordCell(UnsafeCell::new(CrashRecord::EMPTY));

/// A record that one LP writes once and nobody here reads.
#[repr(transparent)]
struct RecordCell(UnsafeCell<CrashRecord>);

// SAFETY: only the one LP that `begin` lets through writes it.
unsafe impl Sync for RecordCell {}

/// Sets what follows a report.
pub fn configure(halt: bool, exit_port: u16) {
    HALT.store(halt, Ordering::Relaxed);
    EXIT_PORT.store(exit_port, Ordering::Relaxed);
}

/// An exception in the hypervisor.
pub fn on_exception(frame: &Frame) -> ! {
    begin();
    log!(
        Level::Error,
        "CRASH: exception {} (error {:#x}) at {:#x}, cr2 {:#x}",
        frame.vector,
        frame.error_code,
        frame.rip,
        cpu::cr2()
    );
    log!(
        Level::Error,
        "  rax {:016x} rcx {:016x} rdx {:016x} rbx {:016x}",
        frame.rax,
        frame.rcx,
        frame.rdx,
        frame.rbx
    );
    log!(
        Level::Error,
        "  rsp {:016x} rbp {:016x} rsi {:016x} rdi {:016x}",
        frame.rsp,
        frame.rbp,
        frame.rsi,
        frame.rdi
    );
    log!(
        Level::Error,
        "  r8  {:016x} r9  {:016x} r10 {:016x} r11 {:016x}",
        frame.r8,
        frame.r9,
        frame.r10,
        frame.r11
    );
    log!(
        Level::Error,
        "  r12 {:016x} r13 {:016x} r14 {:016x} r15 {:016x}",
        frame.r12,
        frame.r13,
        frame.r14,
        frame.r15
    );
    log!(
        Level::Error,
        "  cs {:x} ss {:x} rflags {:x} cr3 {:x} cr4 {:x}",
        frame.cs,
        frame.ss,
        frame.rflags,
        cpu::cr3(),
        cpu::cr4()
    );
    let record = CrashRecord {
        vector: frame.vector as u32,
        error_code: frame.error_code as u32,
        rip: frame.rip,
        rsp: frame.rsp,
        rflags: frame.rflags,
        cr2: cpu::cr2(),
        registers: [
            frame.rax, frame.rcx, frame.rdx, frame.rbx, frame.rsp, frame.rbp, frame.rsi, frame.rdi,
            frame.r8, frame.r9, frame.r10, frame.r11, frame.r12, frame.r13, frame.r14, frame.r15,
        ],
        ..CrashRecord::EMPTY
    };
    finish(record, frame.rip, frame.rbp)
}

/// An NMI: another LP crashed and wants this one stopped, or the machine raised one, which is the parent's to hear.
pub fn on_nmi(_frame: &Frame) {
    if REPORTER.load(Ordering::Acquire) != 0 {
        cpu::halt_forever();
    }
    interrupts::on_machine_nmi();
}

#[panic_handler]
fn on_panic(info: &core::panic::PanicInfo) -> ! {
    begin();
    log!(Level::Error, "CRASH: {info}");
    let (rbp, rip): (u64, u64);
    // SAFETY: reads two registers.
    unsafe { core::arch::asm!("mov {}, rbp", "lea {}, [rip]", out(reg) rbp, out(reg) rip) };
    let mut record = CrashRecord { vector: u32::MAX, rip, ..CrashRecord::EMPTY };
    record.set_message(format_args!("{info}"));
    finish(record, rip, rbp)
}

/// Says why the machine cannot go on, and stops it for good: for what is not the hypervisor's fault.
pub fn refuse(reason: core::fmt::Arguments<'_>) -> ! {
    log!(Level::Error, "{reason}");
    log!(Level::Error, "Zemin cannot start. The machine is halted.");
    leave(EXIT_REFUSED);
    cpu::halt_forever()
}

/// Only the first LP to get here reports. Any other LP just stops; so does the first at a second fault, which ends the
/// report.
fn begin() {
    let this = lp::try_current().map_or(NO_LP, |lp| lp.index + 1);
    let first = REPORTER.compare_exchange(0, this, Ordering::AcqRel, Ordering::Acquire);
    if let Err(reporter) = first {
        if reporter == this {
            leave(EXIT_CRASH);
        }
        cpu::halt_forever();
    }
    crate::log::force_console();
    interrupts::stop_other_lps();
}

fn finish(mut record: CrashRecord, rip: u64, rbp: u64) -> ! {
    record.magic = CrashRecord::MAGIC;
    record.time_100ns = crate::time::now();
    record.lp = lp::try_current().map_or(u32::MAX, |lp| lp.index);
    (record.cr3, record.cr4) = (cpu::cr3(), cpu::cr4());
    record.build_id = boot::build_id();
    log!(Level::Error, "  lp {} build {}", record.lp, boot::BuildId(&record.build_id));
    log!(Level::Error, "  back trace: {rip:#x}");
    record.backtrace[0] = rip;
    let mut frame = rbp;
    for slot in record.backtrace.iter_mut().skip(1) {
        let Some((next, address)) = stack_frame(frame) else { break };
        *slot = address;
        frame = next;
        if let Some(trap) = trap_frame(address, next) {
            log!(
                Level::Error,
                "    {address:#x}: vector {} at {:#x}, rsp {:#x}, rflags {:#x}",
                trap.vector,
                trap.rip,
                trap.rsp,
                trap.rflags
            );
            frame = trap.rbp;
        } else {
            log!(Level::Error, "    {address:#x}");
        }
    }
    // SAFETY: only one LP gets here, once.
    unsafe { CRASH_RECORD.0.get().write_volatile(record) };
    leave(EXIT_CRASH);
    if HALT.load(Ordering::Relaxed) {
        log!(Level::Error, "halted (noreboot)");
        cpu::halt_forever();
    }
    boot::reset_machine()
}

/// What the trap interrupted whose handler returns to `address`.
fn trap_frame(address: u64, frame: u64) -> Option<&'static Frame> {
    if !crate::trap::is_return(address) || !is_on_stack(frame) {
        return None;
    }
    // SAFETY: aligned and on a stack, where the stub put it; should it be unmapped after all, the second fault only
    // stops. Nobody runs who could change it.
    Some(unsafe { &*(frame as *const Frame) })
}

/// The frame above `frame`, if that looks like one: on a mapped stack, with a return address into the image.
fn stack_frame(frame: u64) -> Option<(u64, u64)> {
    if !is_on_stack(frame) {
        return None;
    }
    // SAFETY: aligned and on a stack page; should it be unmapped after all, the second fault only stops.
    let (next, address) =
        unsafe { ((frame as *const u64).read(), (frame as *const u64).add(1).read()) };
    (address >= IMAGE_OFFSET && next > frame).then_some((next, address))
}

/// Whether two words at `frame` may be on a stack's page.
fn is_on_stack(frame: u64) -> bool {
    let on_stack =
        (0xFFFF_FF00_0000_0000..0xFFFF_FF80_0000_0000).contains(&frame) || frame >= IMAGE_OFFSET;
    on_stack && frame.is_multiple_of(8) && frame % 4096 <= 4080
}

/// Ends the emulator, if the operator named its exit device.
fn leave(code: u8) {
    let port = EXIT_PORT.load(Ordering::Relaxed);
    if port != 0 {
        // SAFETY: the operator says that this is the emulator's exit device.
        unsafe { arch_x86::port::write_u8(port, code) };
    }
}
