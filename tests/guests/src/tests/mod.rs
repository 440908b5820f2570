//! The tests. Each is one function with a name; what they have in common is here.

mod apic;
mod apic_modes;
mod apic_timer;
mod child_clock;
mod child_ends;
mod child_leftovers;
mod child_many;
mod child_memory;
mod child_races;
mod child_registers;
mod child_rights;
mod children;
mod cpuid;
mod debug;
mod ends;
mod exceptions;
mod fpu;
mod hostile;
mod hostile_children;
mod hostile_children_calls;
mod hostile_cpuid;
mod hostile_input;
mod hostile_mmio;
mod hostile_msr;
mod hypercall_page;
mod idle;
mod ipi;
mod long_mode;
mod measure;
mod measure_children;
mod measure_vmbus;
mod memory;
mod msr;
mod msr_rules;
mod outside;
mod own_state;
mod protection;
mod rage;
mod real_mode;
mod ref_time;
mod registers;
mod sched;
mod sched_child;
mod stimer;
mod stimer_messages;
mod storm;
mod subject;
mod task_switch;
mod tlb;
mod tsc;
mod windows;

use guests::cpu::{rdmsr, wrmsr};
use guests::report::{self, Checks, Need, Test};
use guests::{apic as driver, boot, check, cpu, equal, hypercall, line, smp, trap};
use hvdef::msr as hv;

/// Something to do on any processor, and what it is called.
type Job = (&'static str, fn(u64));

const fn test(name: &'static str, need: Need, processors: usize, run: fn(&Checks)) -> Test {
    Test { name, run, need, processors, by_default: true }
}

/// All of them, in the order in which they run.
const TESTS: &[Test] = &[
    test("cpuid", Need::Root, 1, cpuid::run),
    test("msr", Need::Root, 1, msr::run),
    test("hypercall-page", Need::Root, 1, hypercall_page::run),
    test("ref-time", Need::HyperV, 1, ref_time::run),
    test("tsc", Need::Nothing, 1, tsc::run),
    test("registers", Need::Nothing, 1, registers::run),
    test("exceptions", Need::Nothing, 1, exceptions::run),
    test("protection", Need::Nothing, 1, protection::run),
    test("fpu", Need::Nothing, 1, fpu::run),
    test("apic", Need::Nothing, 1, apic::run),
    test("apic-modes", Need::HyperV, 1, apic_modes::run),
    test("ipi", Need::Nothing, 2, ipi::run),
    test("stimer", Need::HyperV, 1, stimer::run),
    test("tlb", Need::HyperV, 2, tlb::run),
    test("debug-registers", Need::Nothing, 1, debug::run),
    test("memory", Need::Root, 1, memory::run),
    test("real-mode", Need::Nothing, 2, real_mode::run),
    test("long-mode", Need::Nothing, 1, long_mode::run),
    test("interrupt-window", Need::Nothing, 1, windows::run),
    test("hlt-wakeup", Need::Nothing, 1, windows::hlt),
    test("idle", Need::HyperV, 1, idle::run),
    test("storm", Need::Nothing, 1, storm::run),
    test("children", Need::Root, 1, children::run),
    test("child-ends", Need::Root, 1, child_ends::run),
    test("child-registers", Need::Root, 1, child_registers::run),
    test("child-clock", Need::Root, 1, child_clock::run),
    test("child-leftovers", Need::Root, 1, child_leftovers::run),
    test("child-many", Need::Root, 1, child_many::run),
    test("child-memory", Need::Root, 1, child_memory::run),
    test("child-races", Need::Root, 2, child_races::run),
    test("hostile-cpuid", Need::HyperV, 1, hostile_cpuid::run),
    test("hostile-msr", Need::HyperV, 1, hostile_msr::run),
    test("hostile-apic-mmio", Need::HyperV, 1, hostile_mmio::run),
    test("hostile", Need::Root, 1, hostile::run),
    test("hostile-children", Need::Root, 1, hostile_children::run),
    Test { by_default: false, ..test("hostile-child", Need::HyperV, 1, hostile::run) },
    Test { by_default: false, ..test("outside", Need::HyperV, 1, outside::run) },
    Test { by_default: false, ..test("own-state", Need::Nothing, 1, own_state::run) },
    Test { by_default: false, ..test("rage-spin", Need::Nothing, 1, rage::spin) },
    Test { by_default: false, ..test("rage-exceptions", Need::Nothing, 1, rage::exceptions) },
    Test { by_default: false, ..test("rage-exits", Need::HyperV, 1, rage::exits) },
    Test { by_default: false, ..test("rage-intercepts", Need::HyperV, 1, rage::intercepts) },
    Test { by_default: false, ..test("rage-interrupts", Need::Nothing, 1, rage::interrupts) },
    Test { by_default: false, ..test("rage-crashes", Need::HyperV, 1, rage::crashes) },
    Test { by_default: false, ..test("measure", Need::Nothing, 1, measure::run) },
    Test { by_default: false, ..test("sched", Need::Root, 1, sched::run) },
    Test { by_default: false, ..test("cr8", Need::Nothing, 1, ends::cr8_priority) },
    Test { by_default: false, ..test("task-jump", Need::Nothing, 2, task_switch::jump) },
    Test { by_default: false, ..test("task-gate", Need::Nothing, 2, task_switch::gate) },
    Test { by_default: false, ..test("triple-fault", Need::Nothing, 1, ends::triple_fault) },
    Test { by_default: false, ..test("apic-stack", Need::Nothing, 1, ends::apic_stack) },
];

/// What must still pass after a test whose name begins with this.
const HOSTILE: &str = "hostile";
/// These.
const AFTERWARDS: [&str; 3] = ["cpuid", "ref-time", "ipi"];

/// Runs what the command line asks for.
pub fn run_selected() {
    let args = boot::args();
    let known = |name: &str| name == "all" || TESTS.iter().any(|test| test.name == name);
    for name in args.names().filter(|name| !known(name)) {
        report::run(&test(name, Need::Nothing, 0, |t| t.fail(format_args!("no such test"))));
    }
    for test in TESTS.iter().filter(|test| args.selects(test.name, test.by_default)) {
        report::run(test);
        restore();
        let again = |name: &str| test.name.starts_with(HOSTILE) && AFTERWARDS.contains(&name);
        for test in TESTS.iter().filter(|test| again(test.name)) {
            report::run(test);
            restore();
        }
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
