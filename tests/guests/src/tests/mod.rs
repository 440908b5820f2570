//! The tests. Each is one function with a name; what they have in common is here.

mod cpuid;

use guests::report::{self, Need, Test};
use guests::{apic, boot, cpu, line, smp, trap};

const fn test(name: &'static str, need: Need, processors: usize, run: fn(&report::Checks)) -> Test {
    Test { name, run, need, processors, by_default: true }
}

/// All of them, in the order in which they run.
const TESTS: &[Test] = &[test("cpuid", Need::Root, 1, cpuid::run)];

/// Runs what the command line asks for.
pub fn run_selected() {
    let args = boot::args();
    let known = |name: &str| name == "all" || TESTS.iter().any(|test| test.name == name);
    for name in args.test.split(',').filter(|name| !known(name)) {
        line!("FAILED {name}: no such test");
    }
    for test in TESTS.iter().filter(|test| args.selects(test.name, test.by_default)) {
        report::run(test);
        restore();
    }
}

/// Puts the machine back into the state in which tests start.
fn restore() {
    trap::clear_handlers();
    cpu::set_dr7(0x400);
    apic::quiet();
    cpu::interrupt_window();
    let _ = smp::revive();
}
