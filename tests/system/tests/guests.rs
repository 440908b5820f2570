//! The bare test kernel (`tests/guests`) in the parent's place: what Zemin promises, instruction by instruction, and what it
//! must survive.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::{Artefacts, Machine, Parent};
use system_tests::Tests;

const LIMIT: Duration = Duration::from_secs(600);
/// How the emulator ends after the kernel's success (its exit port gets 0x10).
const PASSED: i32 = 33;

/// Tests that run in one boot: name, names of the tests, and how many calls or values those with random input make in a
/// long run (0: those without).
const GROUPS: [(&str, &str, u64); 10] = [
    ("interface", "cpuid+msr+hypercall-page+ref-time+tsc", 0),
    ("processor", "registers+long-mode+protection+fpu+debug-registers+exceptions", 0),
    ("interrupts", "apic+apic-modes+cr8+ipi+stimer", 0),
    ("memory", "tlb+memory+real-mode", 0),
    ("races", "interrupt-window+idle+hlt-wakeup+storm", 0),
    (
        "children",
        "children+child-ends+child-registers+child-clock+child-memory+child-leftovers+child-many+child-races",
        0,
    ),
    ("hostile_cpuid", "hostile-cpuid", 1_000_000),
    ("hostile_msr", "hostile-msr", 1_000_000),
    ("hostile_hypercalls", "hostile", 3_000_000),
    ("hostile_child_management", "hostile-children", 300_000),
];

/// All of them.
pub fn tests() -> Tests {
    let mut tests = Tests::of("guests");
    for lps in [1, 2] {
        for (name, names, long) in GROUPS {
            tests.add(format!("{name}::{lps}lp"), move || passes(lps, names, "x2apic=on", ""));
            if long != 0 {
                // Other values than in every run.
                let random = format!("count={long} seed=2026");
                tests.add_long(format!("{name}_at_length::{lps}lp"), move || {
                    passes(lps, names, "x2apic=on", &random)
                });
            }
        }
        tests.add(format!("scheduler::{lps}lp"), move || schedules(lps));
        // With the APIC's registers in a page.
        tests.add(format!("interrupts_in_xapic_mode::{lps}lp"), move || {
            passes(lps, "apic+cr8+ipi+stimer+hlt-wakeup+hostile-apic-mmio", "x2apic=off", "")
        });
        tests.add_long(format!("hostile_apic_page_at_length::{lps}lp"), move || {
            passes(lps, "hostile-apic-mmio", "x2apic=off", "count=1000000 seed=2026")
        });
    }
    tests.add_long("all::4lp", || passes(4, "all", "x2apic=on", ""));
    tests.add("triple_fault_resets_the_machine", triple_fault);
    tests
}

fn machine(lps: u32, names: &str) -> Result<Machine> {
    let kernel = Artefacts::load()?.guests.join("guest");
    let machine = Machine::new().lps(lps).memory_mib(512).parent(Parent::KernelOnly).kernel(kernel);
    Ok(machine.parent_args(&format!("test={names}")))
}

fn passes(lps: u32, names: &str, hv_args: &str, arguments: &str) -> Result<()> {
    succeeds(machine(lps, names)?.hv_args(hv_args).parent_args(arguments), lps)
}

/// On a machine whose time is a count of instructions, so that shares and latencies do not depend on the host.
fn schedules(lps: u32) -> Result<()> {
    // QEMU's x2APIC timer does not work there.
    succeeds(machine(lps, "sched")?.xapic(true).icount(true).parent_args("count=1"), lps)
}

fn succeeds(machine: Machine, lps: u32) -> Result<()> {
    let mut machine = machine.parent_args("exit_port=0xf4").boot()?;
    let exit = machine.wait_exit(LIMIT)?;
    let console = machine.console();
    let wrong: Vec<_> = console.lines().filter(|line| line.contains("FAILED")).collect();
    ensure!(exit.status.code() == Some(PASSED), "{exit:?}\n{}", wrong.join("\n"));
    let result = console.lines().rev().find_map(|line| line.strip_prefix("RESULT: "));
    let (passed, rest) = result.and_then(|line| line.split_once(" passed")).context("a result")?;
    let skipped: Vec<_> = console.lines().filter(|line| line.starts_with("skipped")).collect();
    // What needs two processors says so on one; nothing else is left out.
    ensure!(lps == 1 || skipped.is_empty(), "{}", skipped.join("\n"));
    ensure!(passed.parse::<usize>()? > 0 || !skipped.is_empty(), "nothing was tested");
    ensure!(rest.trim() == ", 0 failed", "{result:?}");
    Ok(())
}

fn triple_fault() -> Result<()> {
    let mut machine = machine(1, "triple-fault")?.boot()?;
    let exit = machine.wait_exit(LIMIT)?;
    ensure!(exit.reason.as_deref() == Some("guest-reset"), "{exit:?}");
    Ok(())
}
