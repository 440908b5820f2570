//! Stock kernels boot, find what the Hyper-V ABI promises them, and end as they want.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::Running;
use system_tests::{Tests, all_complaints, on};

use super::machine::{Guest, Kernel, parent};

const BOOT: Duration = Duration::from_secs(240);

/// How often a kernel is booted in a row.
const TIMES: u32 = 50;

/// The worker's exit statuses (`vmwp --help`).
const CRASHED: i32 = 3;
const RESET: i32 = 4;

/// Errors that these kernels log on Hyper-V itself as well, or for want of VMBus.
const EXPECTED: [&str; 4] = [
    "PCI: Fatal: No config space access function found",
    "mce: Unable to init MCE device",
    "hv_vmbus: ",
    "the host may be an older version no longer supported by Linux",
];

/// Adds all of them.
pub fn add(tests: &mut Tests) {
    for kernel in Kernel::ALL {
        for cpus in [1, 2, 4] {
            let name = format!("{}::{cpus}vp", kernel.name());
            let body = move || on_parent(|parent| enlightened(parent, kernel, cpus));
            tests.add(format!("boot::kernel_finds_hyper_v_and_powers_off::{name}"), body);
        }
        let name = kernel.name();
        tests.add_if(false, format!("boot::kernel_boots_again_and_again::{name}"), move || {
            on_parent(|parent| (0..TIMES).try_for_each(|_| enlightened(parent, kernel, 2)))
        });
        tests.add(format!("boot::reboot_is_a_reset::{name}"), move || {
            on_parent(|parent| ends(parent, kernel, "restart", "restarting", RESET))
        });
        tests.add(format!("boot::panic_is_reported_and_is_a_reset::{name}"), move || {
            on_parent(|parent| panics(parent, kernel))
        });
    }
    tests.add("boot::triple_fault_is_a_crash", || on_parent(triple_fault));
    tests.add("boot::reset_starts_the_vm_anew", || on_parent(boots_again));
    tests.add("boot::parents_kernel_does_not_complain", || on_parent(quiet));
}

fn on_parent(test: impl FnOnce(&mut Running) -> Result<()>) -> Result<()> {
    on("children-2lp", || parent(2, 2048), test)
}

/// The lines of `text` that begin with `word`, without it.
fn lines<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.trim().strip_prefix(word)).map(str::trim).collect()
}

fn enlightened(parent: &mut Running, kernel: Kernel, cpus: u32) -> Result<()> {
    let guest = Guest { kernel, cpus, memory: 256, what: "check" };
    let text = guest.run(parent, BOOT)?.success()?;
    ensure!(lines(&text, "release ") == [kernel.release()?], "{text}");
    ensure!(lines(&text, "cpus ") == [cpus.to_string()], "{text}");
    ensure!(text.contains("Hypervisor detected: Microsoft Hyper-V"), "{text}");
    // Both are made through the hypercall page.
    ensure!(text.contains("Hyper-V: Using IPI hypercalls"), "{text}");
    ensure!(text.contains("Hyper-V: Using enlightened APIC"), "{text}");
    let clocks = lines(&text, "clocks ").join(" ");
    ensure!(clocks.contains("hyperv_clocksource_tsc_page"), "{text}");
    let clock = lines(&text, "clock ");
    ensure!(clock == ["hyperv_clocksource_tsc_page"] || clock == ["tsc"], "{text}");
    ensure!(lines(&text, "event ") == vec!["Hyper-V clockevent"; cpus as usize], "{text}");
    ensure!(text.contains("/sys/bus/acpi/devices/VMBUS:00"), "{text}");
    timers_tick(&text, cpus)?;
    let complaints: Vec<_> = (0..4).flat_map(|level| lines(&text, &format!("<{level}>"))).collect();
    let unexpected = |line: &&&str| !EXPECTED.iter().any(|known| line.contains(known));
    let complaints: Vec<_> = complaints.iter().filter(unexpected).collect();
    ensure!(complaints.is_empty(), "{complaints:?}");
    Ok(())
}

/// Every processor had interrupts of its synthetic timer.
fn timers_tick(text: &str, cpus: u32) -> Result<()> {
    let row = lines(text, "HVS:").join(" ");
    let counts = row.split_whitespace().map_while(|word| word.parse::<u64>().ok());
    let ticking = counts.filter(|count| *count > 0).count();
    ensure!(ticking == cpus as usize, "{text}");
    Ok(())
}

fn ends(
    parent: &mut Running,
    kernel: Kernel,
    what: &'static str,
    word: &str,
    status: i32,
) -> Result<()> {
    let output = Guest { kernel, cpus: 2, memory: 256, what }.run(parent, BOOT)?;
    ensure!(output.text.contains(word), "{output:?}");
    ensure!(output.status == status, "{output:?}");
    Ok(())
}

/// The guest tells the hypervisor of its crash, too. Its own last words may come in pieces.
fn panics(parent: &mut Running, kernel: Kernel) -> Result<()> {
    let log = |parent: &mut Running| parent.shell("zm hv log")?.success();
    let reports = |log: &str| log.matches("reports a crash").count();
    let before = reports(&log(parent)?);
    ends(parent, kernel, "panic", "", RESET)?;
    let log = log(parent)?;
    ensure!(reports(&log) == before + 1, "{log}");
    // The UART is the parent's console.
    ensure!(reports(&parent.console()) == 0, "{}", parent.console());
    Ok(())
}

/// `reboot=t`: the kernel restarts by an exception without an interrupt table.
fn triple_fault(parent: &mut Running) -> Result<()> {
    let guest = Guest { kernel: Kernel::Stable, cpus: 2, memory: 256, what: "restart" };
    let command = guest.command("").replace("panic=-1", "reboot=t");
    let output = parent.shell_within(&command, BOOT)?;
    ensure!(output.status == CRASHED && output.text.contains("restarting"), "{output:?}");
    Ok(())
}

/// The guest resets itself again and again, until a signal ends the worker.
fn boots_again(parent: &mut Running) -> Result<()> {
    let guest = Guest { kernel: Kernel::Stable, cpus: 1, memory: 256, what: "restart" };
    let command = guest.command("").replace("--on-reset exit", "--on-reset reboot");
    let output = "/tmp/again";
    let script = format!(
        ": > {output}; {command} >> {output} & until [ $(grep -c restarting {output}) -ge 3 ]; do sleep 0.2; done; kill $!; wait $!"
    );
    let output = parent.shell_within(&script, 3 * BOOT)?;
    ensure!(output.status == 128 + 15, "{output:?}");
    Ok(())
}

fn quiet(parent: &mut Running) -> Result<()> {
    let mut bare = super::machine::parent(2, 2048)?.bare(true).name("bare-children-2lp").boot()?;
    let on_bare = all_complaints(&mut bare)?;
    let complaints = system_tests::complaints(parent, &on_bare)?;
    ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
    Ok(())
}
