//! `run` and `up`: the machine in the foreground, its console on this terminal.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use harness::{Artefacts, Disk, Machine, Nic, OnReset};

/// The controller of the parent's disk.
#[derive(Clone, Copy, ValueEnum)]
enum DiskKind {
    Virtio,
    Nvme,
    Ahci,
}

/// The network card.
#[derive(Clone, Copy, ValueEnum)]
enum NicKind {
    Virtio,
    E1000e,
    None,
}

/// The machine to run.
#[derive(Args)]
pub struct Options {
    /// Logical processors
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    lps: u32,
    /// RAM, for example 2G or 1536M
    #[arg(long, default_value = "3G", value_parser = memory)]
    memory: u32,
    /// Controller of the parent's disk
    #[arg(long, value_enum, default_value_t = DiskKind::Virtio)]
    disk: DiskKind,
    /// Network card
    #[arg(long, value_enum, default_value_t = NicKind::Virtio)]
    nic: NicKind,
    /// The same kernel straight on the emulated machine, without Zemin
    #[arg(long)]
    bare: bool,
    /// Without the Debian child that otherwise starts with the parent
    #[arg(long)]
    no_child: bool,
    /// LPs without x2APIC
    #[arg(long)]
    xapic: bool,
    /// Guest time counts instructions, and waiting costs nothing
    #[arg(long)]
    icount: bool,
    /// Keep what the parent writes to its disk (otherwise it goes to an overlay that is thrown away)
    #[arg(long)]
    persist: bool,
    /// Wait for gdb on port 1234 of the loopback address before the first instruction
    #[arg(long)]
    gdb: bool,
    /// Added to the parent kernel's command line
    #[arg(long, value_name = "WORDS", default_value = "", allow_hyphen_values = true)]
    parent_args: String,
    /// Added to the hypervisor's command line
    #[arg(long, value_name = "WORDS", default_value = "", allow_hyphen_values = true)]
    hv_args: String,
    /// Print the QEMU command instead of running it
    #[arg(long)]
    dry_run: bool,
    /// Further words for QEMU, after `--`
    #[arg(last = true)]
    qemu: Vec<String>,
}

/// Runs the machine; returns only if it cannot.
pub fn run(artefacts: &Artefacts, options: &Options) -> Result<()> {
    let port = free_port();
    let words = words(artefacts, options, port)?;
    let (program, rest) = words.split_first().context("the QEMU command is empty")?;
    if options.dry_run {
        let environment =
            artefacts.qemu_environment.iter().map(|(name, value)| format!("{name}={value} "));
        println!("{}{}", environment.collect::<String>(), harness::quoted(&words));
        return Ok(());
    }
    hint(options, port);
    let error = Command::new(program).args(rest).envs(&artefacts.qemu_environment).exec();
    bail!("cannot start {program}: {error}")
}

fn words(artefacts: &Artefacts, options: &Options, port: Option<u16>) -> Result<Vec<String>> {
    let mut machine = Machine::new()
        .lps(options.lps)
        .memory_mib(options.memory)
        .bare(options.bare)
        .xapic(options.xapic)
        .icount(options.icount)
        .persist(options.persist)
        .paused(options.gdb)
        .on_reset(OnReset::Restart)
        .disk(match options.disk {
            DiskKind::Virtio => Disk::Virtio,
            DiskKind::Nvme => Disk::Nvme,
            DiskKind::Ahci => Disk::Ahci,
        })
        .nic(match options.nic {
            NicKind::Virtio => Nic::Virtio,
            NicKind::E1000e => Nic::E1000e,
            NicKind::None => Nic::None,
        })
        .hv_args(&options.hv_args)
        // Somebody is looking: a panic stays on the screen.
        .parent_args("panic=0")
        .parent_args(&options.parent_args);
    if let Some(port) = port {
        machine = machine.forward_ssh(port);
    }
    if let Some(image) = child_disk(artefacts, options) {
        machine = machine.child_disk(image);
    }
    machine = machine.extra(["-serial", "mon:stdio"]);
    if options.gdb {
        machine = machine.extra(["-gdb", "tcp:127.0.0.1:1234"]);
    }
    Ok(machine.extra(options.qemu.iter().cloned()).command(artefacts)?)
}

/// The disk with the child's image, if there is to be a child.
fn child_disk(artefacts: &Artefacts, options: &Options) -> Option<PathBuf> {
    let image = artefacts.out.join("children/debian.img");
    (!options.bare && !options.no_child && image.exists()).then_some(image)
}

fn hint(options: &Options, port: Option<u16>) {
    eprintln!(
        "The console is this terminal: Ctrl-A X ends the machine, Ctrl-A C is QEMU's monitor."
    );
    eprintln!("The parent logs root in by itself; this is a development image.");
    if !options.bare && !options.no_child {
        eprintln!(
            "A Debian child starts with it: `zm vm list`, `zm vm console debian` (Ctrl-] leaves)."
        );
    }
    if let (Some(port), false) = (port, matches!(options.nic, NicKind::None)) {
        eprintln!("With your ssh key: ssh -p {port} -o StrictHostKeyChecking=no root@127.0.0.1");
    }
    if options.gdb {
        eprintln!(
            "It waits for a debugger: gdb out/zemin.debug -ex 'target remote 127.0.0.1:1234'"
        );
    }
}

/// A free port of the loopback address, 2222 if possible.
fn free_port() -> Option<u16> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?.local_addr().ok();
    Some(bind(2222).or_else(|| bind(0))?.port())
}

/// `2G` and `1536M` in MiB.
fn memory(text: &str) -> Result<u32, String> {
    let (number, unit) = match text.to_ascii_uppercase().strip_suffix('G') {
        Some(number) => (number.to_owned(), 1024),
        None => (text.to_ascii_uppercase().trim_end_matches('M').to_owned(), 1),
    };
    let number: u32 =
        number.parse().map_err(|_| format!("{text:?} is no size like 2G or 1536M"))?;
    number.checked_mul(unit).filter(|mib| *mib >= 64).ok_or_else(|| "at least 64M".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_with_a_unit() {
        assert_eq!(memory("2G"), Ok(2048));
        assert_eq!(memory("1536m"), Ok(1536));
        assert_eq!(memory("512"), Ok(512));
        assert!(memory("lots").is_err() && memory("1M").is_err() && memory("9999999G").is_err());
    }
}
