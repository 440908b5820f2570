//! What the user or the machine got wrong: one clear line on the console, then the machine stops, or goes on where that
//! is safe.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use harness::{Artefacts, Machine, Parent, Running};
use regex::Regex;
use system_tests::{Tests, busybox, number, refusal, scratch, wait_until, without_exit_device};

/// All of them.
pub fn tests() -> Tests {
    let mut tests = Tests::of("bad_input");
    tests.add("missing_kernel_is_refused", || {
        refused(Machine::new().parent(Parent::Nothing), "no parent kernel was given")
    });
    tests.add("refusal_without_an_exit_device_halts_every_processor", halts);
    tests.add("random_bytes_as_kernel_are_refused", || {
        let kernel = file("random", &noise(1 << 20))?;
        refused(kernel_only(kernel), "parent kernel: not a Linux kernel")
    });
    tests.add("tiny_file_as_kernel_is_refused", || {
        refused(
            kernel_only(file("tiny", b"\x7fELF")?),
            "parent kernel: .*(not a Linux kernel|truncated)",
        )
    });
    for kept in [600, 100_000, 3 << 20] {
        tests.add(format!("kernel_cut_after_{kept}_bytes_is_refused"), move || {
            let kernel = std::fs::read(Artefacts::load()?.kernel)?;
            let cut = kernel.get(..kept).context("the kernel is longer")?;
            refused(kernel_only(file("cut", cut)?), "parent kernel: truncated: .* needed, .* there")
        });
    }
    tests.add("initrd_larger_than_the_parents_memory_is_refused", || {
        let machine = Machine::new().memory_mib(1024).initrd(hole(300)?);
        refused(machine.hv_args("parent_mem=200M"), "parent kernel: .*initrd")
    });
    tests.add("initrd_larger_than_the_machines_memory_is_refused", || {
        let machine = Machine::new().memory_mib(256).initrd(hole(300)?);
        refused(machine, "the initrd does not fit into memory: .* not all RAM")
    });
    tests.add("processor_without_virtualization_is_refused", || {
        refused(small()?.cpu("-svm"), "(?i)virtualization|AMD-V|SVM")
    });
    tests.add("processor_without_nested_paging_is_refused", || {
        refused(small()?.cpu("-npt"), "(?i)nested paging")
    });
    for option in ["paren_mem=1G", "lps=none", "loglevel", "noreboot=1"] {
        tests.add(format!("option_{option}_is_reported_and_the_machine_boots"), move || {
            mistake(option)
        });
    }
    tests.add("parent_gets_no_more_memory_than_parent_mem", capped);
    tests.add("hypervisor_uses_no_more_processors_than_lps", one_lp);
    tests.add("processor_that_boots_is_the_parents_only_if_it_is_to_stay", boot_lp);
    tests.add("the_only_processor_stays_whatever_is_asked", only_lp);
    tests
}

fn small() -> Result<Machine> {
    Ok(Machine::new().memory_mib(1024).initrd(busybox()?))
}

fn kernel_only(kernel: PathBuf) -> Machine {
    Machine::new().memory_mib(512).parent(Parent::KernelOnly).kernel(kernel)
}

fn file(name: &str, content: &[u8]) -> Result<PathBuf> {
    let path = scratch()?.join(name);
    std::fs::write(&path, content)?;
    Ok(path)
}

/// A file of zeros.
fn hole(mib: u64) -> Result<PathBuf> {
    let path = scratch()?.join(format!("{mib}mib"));
    std::fs::File::create(&path)?.set_len(mib << 20)?;
    Ok(path)
}

/// The same bytes in every run (xorshift).
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn refused(machine: Machine, reason: &str) -> Result<()> {
    refusal(machine, reason).map(drop)
}

fn halts() -> Result<()> {
    let mut machine = without_exit_device(Machine::new().lps(2).parent(Parent::Nothing)).boot()?;
    machine.wait_for("The machine is halted", Duration::from_secs(60))?;
    wait_until("halted processors", Duration::from_secs(30), || {
        let registers = machine.qmp().human("info registers -a")?;
        let (halted, all) = (registers.matches("HLT=1").count(), registers.matches("CPU#").count());
        Ok((all >= 2 && halted == all).then_some(()))
    })?;
    // Nothing wakes them.
    machine.qmp().human("nmi")?;
    let registers = machine.qmp().human("info registers -a")?;
    ensure!(machine.exit_status().is_none(), "{registers}");
    Ok(())
}

fn mistake(option: &str) -> Result<()> {
    let mut parent = small()?.hv_args(option).boot()?;
    parent.shell("test -c /dev/mshv")?.success()?;
    let console = parent.console();
    let line = Regex::new(&format!(r#"(?m)^\(zemin\) .*option "{option}": .+"#))?;
    match line.find_iter(&console).count() {
        1 => Ok(()),
        other => bail!("{other} lines about {option}:\n{console}"),
    }
}

fn capped() -> Result<()> {
    let mut parent = small()?.memory_mib(2048).hv_args("parent_mem=700M").boot()?;
    let kib = number(&mut parent, "awk '/^MemTotal/ { print $2 }' /proc/meminfo")?;
    ensure!(kib <= 700 << 10 && kib > 600 << 10, "MemTotal is {kib} KiB");
    Ok(())
}

fn one_lp() -> Result<()> {
    let mut parent = small()?.lps(2).hv_args("lps=1").boot()?;
    let log = parent.shell("dmesg")?.success()?;
    ensure!(log.contains("Hyper-V: running as root partition"), "{log}");
    // Not even one that could come later: the parent would ask for it.
    for cpus in ["possible", "present", "online"] {
        let list = parent.shell(&format!("cat /sys/devices/system/cpu/{cpus}"))?.success()?;
        ensure!(list.trim() == "0", "{cpus}: {list}");
    }
    Ok(())
}

/// Which processors the parent has, by their APIC ids.
fn apic_ids(parent: &mut Running) -> Result<Vec<u32>> {
    let ids = parent.shell("awk '/^apicid/ { print $3 }' /proc/cpuinfo")?.success()?;
    ids.lines().map(|id| Ok(id.trim().parse()?)).collect()
}

fn boot_lp() -> Result<()> {
    // In one thread QEMU has as many processors as there are LPs.
    for (option, expected) in [("boot_lp=on", vec![0, 1, 2]), ("boot_lp=off", vec![1, 2])] {
        let mut parent = small()?.lps(3).one_thread(true).hv_args(option).boot()?;
        let ids = apic_ids(&mut parent)?;
        ensure!(ids == expected, "{option}: {ids:?}");
    }
    Ok(())
}

fn only_lp() -> Result<()> {
    let mut parent = small()?.hv_args("boot_lp=off").boot()?;
    let ids = apic_ids(&mut parent)?;
    ensure!(ids == [0], "{ids:?}");
    let console = parent.console();
    ensure!(console.contains("boot_lp=off has no effect"), "{console}");
    Ok(())
}
