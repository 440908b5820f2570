//! The bare test kernel (`tests/guests`) as a child: what it finds in the parent's place, it finds here, where the
//! hypervisor does more of it itself.

use anyhow::{Result, ensure};
use harness::Running;
use system_tests::{Tests, number, on};

use super::hostile::{LIMIT, begin, judge, run, worker};
use super::machine::{Guest, Kernel, parent};

/// Tests that run in one child: name, names of the tests, the kernel's other arguments, the worker's options.
const GROUPS: [(&str, &str, &str, &str); 4] = [
    (
        "processor",
        "tsc+registers+long-mode+protection+exceptions+fpu+debug-registers+ref-time+tlb",
        "",
        "",
    ),
    ("interrupts", "apic+cr8+ipi+stimer+real-mode+apic-modes", "x2apic=on", ""),
    ("interrupts_in_xapic_mode", "apic+cr8+ipi+stimer+hostile-apic-mmio", "count=4000", XAPIC),
    ("races", "interrupt-window+idle+hlt-wakeup+storm", "x2apic=on", ""),
];
/// The worker's option for a guest whose processors have no x2APIC mode.
const XAPIC: &str = "--no-x2apic";

/// The worker's exit status for a guest that crashed.
const GUEST_CRASHED: i32 = 3;

/// Adds all of them.
pub fn add(tests: &mut Tests) {
    for (name, names, arguments, options) in GROUPS {
        let passes = move |parent: &mut Running, cpus: u32| {
            judge(&run(parent, names, arguments, &format!("--cpus {cpus} {options}"))?)
        };
        tests.add(format!("guests::{name}"), move || {
            on("children-2lp", || parent(2, 2048), |parent| passes(parent, 2))
        });
        for cpus in [1, 4] {
            tests.add_long(format!("guests::{name}::{cpus}vp_on_1lp"), move || {
                on("children-1lp", || parent(1, 1024), |parent| passes(parent, cpus))
            });
        }
    }
    tests.add("guests::task_switches_end_only_their_own_vm", || {
        on("children-2lp", || parent(2, 2048), task_switches)
    });
}

/// The worker ends as for a guest at its end, or the processor does as it was asked (QEMU's knows no intercept of task
/// switches); the child beside it goes on.
fn task_switches(parent: &mut Running) -> Result<()> {
    let guest = Guest { kernel: Kernel::Stable, cpus: 1, memory: 128, what: "spin" };
    let neighbour = begin(&guest.command(""), "/tmp/neighbour", "S ");
    parent
        .shell_within(&format!("{neighbour}; echo $PID > /tmp/neighbour.pid"), LIMIT)?
        .success()?;
    for test in ["task-jump", "task-gate"] {
        let script = begin(&worker(test, "", "--cpus 2"), "/tmp/switch", "RESULT.* failed");
        let script = format!("{script}; kill $PID 2> /dev/null; wait $PID");
        let output = parent.shell_within(&script, LIMIT)?;
        if output.status != GUEST_CRASHED {
            judge(&parent.shell("cat /tmp/switch")?.text)?;
        }
    }
    let script = "n=$(grep -c '^S' /tmp/neighbour); until [ $(grep -c '^S' /tmp/neighbour) -gt $n ]; do kill -0 $(cat /tmp/neighbour.pid) || exit 1; sleep 0.1; done; \
                  kill $(cat /tmp/neighbour.pid)";
    parent.shell_within(script, LIMIT)?.success()?;
    ensure!(
        number(parent, "zm hv status --json | awk '/partition_count/ { print int($2) }'")? >= 1
    );
    Ok(())
}
