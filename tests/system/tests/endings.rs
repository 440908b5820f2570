//! How a run of the machine ends: power off, reset, and starting again.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::{Machine, OnReset, Running};
use system_tests::{Tests, busybox, interrupts_of, wait_until};

const LIMIT: Duration = Duration::from_secs(60);
const BOOT: Duration = Duration::from_secs(180);

/// All of them.
pub fn tests() -> Tests {
    let mut tests = Tests::of("endings");
    for lps in [1, 2] {
        tests.add(format!("power_off_ends_the_machine::{lps}lp"), move || {
            ends(lps, "", "poweroff -f", "guest-shutdown")
        });
        tests.add(format!("reboot_resets_the_machine_and_it_boots_again::{lps}lp"), move || {
            boots_again(lps)
        });
    }
    tests.add("emergency_restart_resets_the_machine", || {
        ends(2, "", "echo b > /proc/sysrq-trigger", "guest-reset")
    });
    tests.add("triple_fault_of_the_parent_resets_the_machine", || {
        // `reboot=t`: the kernel restarts by an exception without an interrupt table.
        ends(2, "reboot=t", "reboot -f", "guest-reset")
    });
    tests.add("panic_of_the_parent_resets_the_machine", || {
        ends(2, "panic=-1", "echo c > /proc/sysrq-trigger", "guest-reset")
    });
    tests.add("reset_button_starts_all_anew", || reset_button(2));
    tests.add("power_button_interrupts_the_parent", power_button);
    tests.add("nmi_of_the_machine_reaches_the_parent", nmi);
    tests.add("boots_three_times_in_a_row", || boots(3));
    tests.add_long("boots_a_hundred_times_in_a_row", || boots(100));
    tests
}

fn machine(lps: u32) -> Result<Machine> {
    Ok(Machine::new().lps(lps).memory_mib(1024).initrd(busybox()?))
}

fn ends(lps: u32, parent_args: &str, command: &str, reason: &str) -> Result<()> {
    let mut parent = machine(lps)?.parent_args(parent_args).boot()?;
    parent.start(command)?;
    let exit = parent.wait_exit(LIMIT)?;
    ensure!(exit.reason.as_deref() == Some(reason), "{exit:?}");
    ensure!(exit.status.success(), "{exit:?}");
    Ok(())
}

fn boot_id(parent: &mut Running) -> Result<String> {
    Ok(parent.shell("cat /proc/sys/kernel/random/boot_id")?.success()?)
}

/// The same machine booted another time: the parent is a new one, and the root partition again.
fn is_booted_anew(parent: &mut Running, before: &str) -> Result<()> {
    let event = parent.qmp().wait_event("RESET", LIMIT);
    event.ok().context("the machine was not reset")?;
    parent.wait_for_shell(BOOT)?;
    ensure!(boot_id(parent)? != before);
    let log = parent.shell("dmesg")?.success()?;
    ensure!(log.contains("Hyper-V: running as root partition"), "{log}");
    Ok(())
}

fn boots_again(lps: u32) -> Result<()> {
    let mut parent = machine(lps)?.on_reset(OnReset::Restart).boot()?;
    for _ in 0..2 {
        let before = boot_id(&mut parent)?;
        parent.start("reboot -f")?;
        is_booted_anew(&mut parent, &before)?;
    }
    Ok(())
}

fn reset_button(lps: u32) -> Result<()> {
    let mut parent = machine(lps)?.on_reset(OnReset::Restart).boot()?;
    let before = boot_id(&mut parent)?;
    parent.qmp().system_reset()?;
    is_booted_anew(&mut parent, &before)
}

fn boots(times: u32) -> Result<()> {
    for time in 0..times {
        let boot = || -> Result<()> {
            let lps = 1 + time % 2;
            let machine = machine(lps)?.xapic(time % 4 > 1).name(format!("boot-{time}"));
            let mut parent = machine.boot()?;
            let text = parent.shell("dmesg; test -c /dev/mshv && nproc")?.success()?;
            ensure!(text.contains("Hyper-V: running as root partition"), "{text}");
            ensure!(text.trim_end().ends_with(&lps.to_string()), "{text}");
            parent.start("poweroff -f")?;
            let exit = parent.wait_exit(LIMIT)?;
            ensure!(exit.reason.as_deref() == Some("guest-shutdown"), "{exit:?}");
            Ok(())
        };
        boot().with_context(|| format!("boot {} of {times}", time + 1))?;
    }
    Ok(())
}

/// The button is a level-triggered interrupt of the chipset: it comes, and is over once the parent has looked.
fn power_button() -> Result<()> {
    let mut parent = machine(2)?.boot()?;
    let count = |parent: &mut Running| -> Result<u64> {
        let rows = interrupts_of(parent, "acpi")?;
        ensure!(rows.iter().any(|row| row.what.contains("IO-APIC")), "{rows:?}");
        Ok(rows.iter().map(|row| row.total()).sum())
    };
    for _ in 0..3 {
        let before = count(&mut parent)?;
        parent.qmp().power_button()?;
        let after = wait_until("ACPI interrupt", LIMIT, || {
            let after = count(&mut parent)?;
            Ok((after > before).then_some(after))
        })?;
        ensure!(after < before + 10, "the line stays active: {before}, {after}");
    }
    Ok(())
}

fn nmi() -> Result<()> {
    let mut parent = machine(2)?.boot()?;
    let count = |parent: &mut Running| -> Result<u64> {
        Ok(interrupts_of(parent, "NMI")?.iter().map(|row| row.total()).sum())
    };
    let before = count(&mut parent)?;
    parent.qmp().human("nmi")?;
    wait_until("NMI in the parent", LIMIT, || Ok((count(&mut parent)? > before).then_some(())))?;
    wait_until("the parent's message about it", LIMIT, || {
        let log = parent.shell("dmesg")?.success()?;
        Ok(log.contains("NMI received for unknown reason").then_some(()))
    })
}
