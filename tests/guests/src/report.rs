//! What came out: one line for each test, and the end of the run.

use crate::trap::Frame;
use crate::{boot, cpu, hypercall, line, trap};
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

/// Failures of one test that are printed; further ones are only counted.
const SHOWN: u32 = 12;
/// Written to the exit port after success, so that QEMU exits with status 33.
const EXIT_PASSED: u32 = 0x10;
/// After failures: status 35.
const EXIT_FAILED: u32 = 0x11;

static FAILED_TESTS: AtomicU32 = AtomicU32::new(0);
static PASSED_TESTS: AtomicU32 = AtomicU32::new(0);

/// One test's result so far.
pub struct Checks {
    name: &'static str,
    failures: AtomicU32,
    skipped: AtomicU32,
}

/// What a test needs beyond a processor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// Nothing: it also passes on a bare machine.
    Nothing,
    /// The hypervisor's interface.
    HyperV,
    /// To be the root partition.
    Root,
}

/// A test.
pub struct Test {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does.
    pub run: fn(&Checks),
    /// Where it can run.
    pub need: Need,
    /// Processors that it needs.
    pub processors: usize,
    /// Whether "all" includes it: the machine survives it.
    pub by_default: bool,
}

impl Checks {
    /// Notes whether something is as it should be.
    pub fn check(&self, good: bool, why: fmt::Arguments<'_>) -> bool {
        if !good {
            self.fail(why);
        }
        good
    }

    /// Notes a failure.
    pub fn fail(&self, why: fmt::Arguments<'_>) {
        let count = self.failures.fetch_add(1, Ordering::SeqCst);
        if count < SHOWN {
            line!("FAILED {}: {why}", self.name);
        } else if count == SHOWN {
            line!("FAILED {}: and more", self.name);
        }
    }

    /// Notes that the test cannot be made here.
    pub fn skip(&self, why: &str) {
        self.skipped.store(1, Ordering::SeqCst);
        line!("skipped {}: {why}", self.name);
    }

    /// Whether something failed.
    pub fn has_failed(&self) -> bool {
        self.failures.load(Ordering::SeqCst) != 0
    }

    /// The test's name.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// Notes a failure of the test `t` unless the condition holds; what follows says why.
#[macro_export]
macro_rules! check {
    ($t:expr, $good:expr, $($why:tt)*) => { $t.check($good, format_args!($($why)*)) };
}

/// Notes a failure of the test `t` unless both values are equal.
#[macro_export]
macro_rules! equal {
    ($t:expr, $got:expr, $want:expr, $($what:tt)*) => {{
        let (got, want) = (&$got, &$want);
        $t.check(got == want, format_args!("{}: {:x?}, not {:x?}", format_args!($($what)*), got, want))
    }};
}

/// Runs one test and prints what came out. Whether it passed or could not be made.
pub fn run(test: &Test) -> bool {
    let checks =
        Checks { name: test.name, failures: AtomicU32::new(0), skipped: AtomicU32::new(0) };
    if let Some(why) = lacks(test) {
        checks.skip(why);
        return true;
    }
    if let Err(trap) = trap::catch(|| (test.run)(&checks)) {
        checks.fail(format_args!(
            "unexpected exception {} error {:x?} at {:#x}, cr2 {:#x}",
            trap.vector, trap.error, trap.rip, trap.cr2
        ));
    }
    cpu::cli();
    if checks.has_failed() {
        FAILED_TESTS.fetch_add(1, Ordering::SeqCst);
    } else if checks.skipped.load(Ordering::SeqCst) == 0 {
        PASSED_TESTS.fetch_add(1, Ordering::SeqCst);
        line!("ok {}", test.name);
    }
    !checks.has_failed()
}

fn lacks(test: &Test) -> Option<&'static str> {
    match test.need {
        Need::HyperV if !hypercall::is_hyperv() => Some("no hypervisor"),
        Need::Root if !hypercall::is_root() => Some("not the root partition"),
        _ if crate::smp::count() < test.processors => Some("too few processors"),
        _ => None,
    }
}

/// Prints the result and ends the run.
pub fn end() -> ! {
    let failed = FAILED_TESTS.load(Ordering::SeqCst);
    line!("RESULT: {} passed, {failed} failed", PASSED_TESTS.load(Ordering::SeqCst));
    let args = boot::args();
    if args.exit_port != 0 {
        cpu::outl(args.exit_port, if failed == 0 { EXIT_PASSED } else { EXIT_FAILED });
    }
    if args.end == "poweroff" {
        // SET_SYSTEM_PROPERTY: sleep state 5 is type 0 on the chipsets QEMU has; then ENTER_SLEEP_STATE.
        let _ = hypercall::with_input(0x6F, &[3, 5, 0, 0, 0, 0, 0, 0, 0]);
        let _ = hypercall::with_input(0x84, &[5]);
    } else if args.end == "reset" {
        cpu::outb(0xCF9, 2);
        cpu::outb(0xCF9, 6);
    }
    loop {
        cpu::cli();
        // A halt with interrupts closed; an NMI comes out of it.
        let _ = trap::catch(halt);
    }
}

#[expect(unsafe_code, reason = "stops the processor")]
fn halt() {
    // SAFETY: nothing is left to do.
    unsafe { core::arch::asm!("hlt", options(nostack)) };
}

/// An exception where none can be caught.
pub fn unexpected(frame: &Frame) -> ! {
    line!(
        "FAILED kernel: exception {} error {:#x} at {:#x} on processor {}, cr2 {:#x}, rsp {:#x}, flags {:#x}, cs {:#x}",
        frame.vector(),
        frame.error,
        frame.rip,
        crate::tables::this().number(),
        cpu::cr2(),
        frame.rsp,
        frame.rflags,
        frame.cs
    );
    FAILED_TESTS.fetch_add(1, Ordering::SeqCst);
    end()
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    line!("FAILED kernel: {info}");
    FAILED_TESTS.fetch_add(1, Ordering::SeqCst);
    end()
}
