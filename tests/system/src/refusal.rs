//! Machines that Zemin will not start, and crashes: how they end.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::{Machine, Running};
use regex::Regex;

/// What the hypervisor writes to the exit device when it refuses, and when it crashed.
pub const EXIT_REFUSED: i32 = 0x5B;
/// See [`EXIT_REFUSED`].
pub const EXIT_CRASH: i32 = 0x5A;

/// Gives the machine a device that ends the emulator, and tells the hypervisor.
pub fn with_exit_device(machine: Machine) -> Machine {
    machine
        .hv_args("exit_port=0xf4")
        .extra(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"])
}

/// Waits until the machine ends through its exit device, which got `code`. Returns the console's text.
pub fn ends_with(machine: &mut Running, code: i32) -> Result<String> {
    let exit = machine.wait_exit(Duration::from_secs(120))?;
    let console = machine.console();
    // What the device makes of a value (QEMU, hw/misc/debugexit.c).
    ensure!(exit.status.code() == Some(code << 1 | 1), "{exit:?}\n{console}");
    Ok(console)
}

/// The machine is refused for one reason that matches `reason`.
pub fn refusal(machine: Machine, reason: &str) -> Result<String> {
    let console = ends_with(&mut with_exit_device(machine).boot()?, EXIT_REFUSED)?;
    refused_for(&console, reason)
}

/// The console's last words are one line that matches `reason`, and that the machine stops. Returns the line.
pub fn refused_for(console: &str, reason: &str) -> Result<String> {
    let lines: Vec<_> = console.lines().filter(|line| line.starts_with("(zemin) ")).collect();
    let [.., why, stop] = lines.as_slice() else { anyhow::bail!("no refusal in:\n{console}") };
    ensure!(stop.ends_with("Zemin cannot start. The machine is halted."), "{console}");
    let (_, why) = why.split_once("] ").context("a line has a time stamp")?;
    ensure!(Regex::new(reason)?.is_match(why), "{why:?} does not say {reason:?}");
    ensure!(!console.contains("CRASH"), "{console}");
    Ok(why.to_owned())
}
