//! The tests. Each is one function with a name; what they have in common is here.

mod apic;
mod apic_timer;
mod cpuid;
mod exceptions;
mod fpu;
mod hypercall_page;
mod msr;
mod msr_rules;
mod ref_time;
mod registers;

use guests::cpu::{rdmsr, wrmsr};
use guests::report::{self, Checks, Need, Test};
use guests::{apic as driver, boot, check, cpu, equal, hypercall, line, smp, trap};
use hvdef::msr as hv;

const fn test(name: &'static str, need: Need, processors: usize, run: fn(&Checks)) -> Test {
    Test { name, run, need, processors, by_default: true }
}

/// All of them, in the order in which they run.
const TESTS: &[Test] = &[
    test("cpuid", Need::Root, 1, cpuid::run),
    test("msr", Need::Root, 1, msr::run),
    test("hypercall-page", Need::Root, 1, hypercall_page::run),
    test("ref-time", Need::HyperV, 1, ref_time::run),
    test("registers", Need::Nothing, 1, registers::run),
    test("exceptions", Need::Nothing, 1, exceptions::run),
    test("fpu", Need::Nothing, 1, fpu::run),
    test("apic", Need::Nothing, 1, apic::run),
];

/// Runs what the command line asks for.
pub fn run_selected() {
    let args = boot::args();
    let known = |name: &str| name == "all" || TESTS.iter().any(|test| test.name == name);
    for name in args.names().filter(|name| !known(name)) {
        report::run(&test("unknown", Need::Nothing, 0, |t| t.fail(format_args!("no such test"))));
        line!("unknown test {name}");
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
    driver::init();
    if hypercall::is_hyperv() {
        quiet_synic();
    }
    cpu::interrupt_window();
    let dead = smp::revive();
    if dead != 0 {
        line!("{dead} processors do not start again");
    }
}

/// Timers stopped, SINTs masked, the SynIC off.
fn quiet_synic() {
    for timer in 0..4 {
        wrmsr(hv::STIMER0_COUNT + 2 * timer, 0);
        wrmsr(hv::STIMER0_CONFIG + 2 * timer, 0);
    }
    for sint in hv::SINT0..=hv::SINT15 {
        wrmsr(sint, 1 << 16);
    }
    wrmsr(hv::SCONTROL, 0);
    for page in [hv::SIMP, hv::SIEFP, hv::VP_ASSIST_PAGE] {
        wrmsr(page, rdmsr(page) & !1);
    }
}

/// Notes a failure unless `action` ends with the exception `vector`.
fn faults<R>(t: &Checks, vector: u8, what: core::fmt::Arguments<'_>, action: impl FnOnce() -> R) {
    match trap::catch(action) {
        Err(trap) => equal!(t, trap.vector, vector, "{what}: exception"),
        Ok(_) => check!(t, false, "{what}: no exception, expected {vector}"),
    };
}

/// What `action` answers; an exception is a failure.
fn works<R>(t: &Checks, what: core::fmt::Arguments<'_>, action: impl FnOnce() -> R) -> Option<R> {
    match trap::catch(action) {
        Ok(result) => Some(result),
        Err(trap) => {
            t.fail(format_args!("{what}: exception {} at {:#x}", trap.vector, trap.rip));
            None
        }
    }
}
