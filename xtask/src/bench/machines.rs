//! The machines that are measured, each from power-on to its end.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::{Artefacts, Machine, Nic, Parent};

use super::disk;
use super::figures::Figures;
use super::guests::{Guests, HUGE, LINUX_MIB};
use crate::context::Context;
use crate::step::Step;

/// Wall time that one run may take on the slowest host.
const LIMIT: Duration = Duration::from_secs(1800);
/// RAM of the machine whose parent has children, as that of the peers.
const PARENT_MIB: u32 = 3584;
/// Last lines of the measured program, the test kernel, and the parent with children.
const GUEST_END: &str = "bench-(?:end|error .*)\n";
const KERNEL_END: &str = "RESULT: .*\n";
const PARENT_END: &str = "bench-all\n";
/// Lets the test kernel end the emulator.
const EXIT: &str = "exit_port=0xf4";
const EXIT_DEVICE: [&str; 2] = ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"];

/// A machine whose time counts instructions. Without x2APIC, whose timer does not work there.
fn machine(name: &str) -> Machine {
    Machine::new().name(name).icount(true).xapic(true).nic(Nic::None)
}

/// The root kernel with the measured program, on the bare machine or as Zemin's parent.
pub fn parent(context: &Context, guests: &Guests, bare: bool) -> Result<Figures> {
    let (name, title) = if bare {
        ("bench-bare", "measuring the bare machine")
    } else {
        ("bench-zemin", "measuring the parent")
    };
    let machine = machine(name).bare(bare).initrd(&guests.measured);
    run(context, name, title, machine.parent_args("quiet nokaslr"), GUEST_END)
}

/// Debian's cloud kernel and the test kernel on bare machines: what a child is compared with.
pub fn metal(context: &Context, artefacts: &Artefacts, guests: &Guests) -> Result<Figures> {
    let linux = machine("bench-metal").bare(true).memory_mib(LINUX_MIB);
    let linux = linux.kernel(&guests.cloud_kernel).initrd(&guests.measured);
    let linux = linux.parent_args("quiet");
    let figures = run(context, "bench-metal", "measuring the children's kernel", linux, GUEST_END)?;
    let kernel = test_kernel("bench-metal-kernel", artefacts.guests.join("guest.elf")).bare(true);
    let kernel = kernel.extra(EXIT_DEVICE);
    let kernel =
        run(context, "bench-metal-kernel", "measuring the test kernel", kernel, KERNEL_END)?;
    Ok(figures.and(&kernel))
}

/// Children, by their own accounts and the parent's; then what the test kernel sees in the parent's place.
pub fn children(context: &Context, artefacts: &Artefacts, guests: &Guests) -> Result<Figures> {
    let parent = machine("bench-children").memory_mib(PARENT_MIB).initrd(&guests.parent);
    let parent = parent.parent_args("quiet nokaslr");
    let figures = run(context, "bench-children", "measuring children", parent, PARENT_END)?;
    let kernel = test_kernel("bench-parent-kernel", artefacts.guests.join("guest"));
    let kernel = run(context, "bench-parent-kernel", "measuring switches", kernel, KERNEL_END)?;
    Ok(figures.and(&kernel))
}

/// The disk's jobs on a RAM disk of the bare machine.
pub fn disk_metal(context: &Context, guests: &Guests) -> Result<Figures> {
    // RAM for the disk and what a child has.
    let linux = machine("bench-disk-metal").bare(true).memory_mib(2 * LINUX_MIB);
    let linux = linux.kernel(&guests.cloud_kernel).initrd(&guests.disk_metal);
    let linux = linux.parent_args("quiet disk=ram0");
    run(context, "bench-disk-metal", "measuring a RAM disk", linux, GUEST_END)
}

/// The same in a child, on a RAM disk of the parent; and how many of how many commands had their data copied. `huge`: its
/// memory is in huge pages.
pub fn disk(
    context: &Context,
    guests: &Guests,
    huge: bool,
) -> Result<(Figures, Option<(u64, u64)>)> {
    let parent = machine("bench-disk").memory_mib(PARENT_MIB).initrd(&guests.disk_parent);
    let parent = parent.parent_args("quiet nokaslr").parent_args(if huge { HUGE } else { "" });
    let what =
        if huge { "measuring a child's disk, huge pages" } else { "measuring a child's disk" };
    let console = console(context, "bench-disk", what, parent, PARENT_END)?;
    Ok((Figures::parse(&console)?, disk::copies(&console)))
}

fn test_kernel(name: &str, kernel: PathBuf) -> Machine {
    let machine = machine(name).memory_mib(512).parent(Parent::KernelOnly).kernel(kernel);
    machine.parent_args("test=measure").parent_args(EXIT)
}

fn run(context: &Context, name: &str, title: &str, machine: Machine, end: &str) -> Result<Figures> {
    Figures::parse(&console(context, name, title, machine, end)?)
}

/// All that a machine says, once it has said what can be measured.
fn console(
    context: &Context,
    name: &str,
    title: &str,
    machine: Machine,
    end: &str,
) -> Result<String> {
    let step = Step::begin(context, name, title)?;
    let mut machine = machine.boot()?;
    machine.wait_for(end, LIMIT)?;
    machine.wait_exit(LIMIT).context("the machine does not power off")?;
    let console = machine.console();
    Figures::parse(&console).with_context(|| format!("see {}", machine.logs().display()))?;
    step.done();
    Ok(console)
}
