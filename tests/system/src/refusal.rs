//! Machines that Zemin will not start: how they end.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::{Machine, Running};
use regex::Regex;

const LIMIT: Duration = Duration::from_secs(120);

/// The machine is refused for one reason that matches `reason`. Returns the line that says so.
pub fn refusal(machine: Machine, reason: &str) -> Result<String> {
    ends_in_refusal(&mut machine.boot()?, reason)
}

/// Waits for the refusal of a machine that runs.
pub fn ends_in_refusal(machine: &mut Running, reason: &str) -> Result<String> {
    let exit = machine.wait_exit(LIMIT)?;
    let console = machine.console();
    ensure!(exit.is_refusal(), "{exit:?}\n{console}");
    refused_for(&console, reason)
}

/// The console's last words are one line that matches `reason`, and that the machine stops. Returns the line.
fn refused_for(console: &str, reason: &str) -> Result<String> {
    let lines: Vec<_> = console.lines().filter(|line| line.starts_with("(zemin) ")).collect();
    let [.., why, stop] = lines.as_slice() else { anyhow::bail!("no refusal in:\n{console}") };
    ensure!(stop.ends_with("Zemin cannot start. The machine is halted."), "{console}");
    let (_, why) = why.split_once("] ").context("a line has a time stamp")?;
    ensure!(Regex::new(reason)?.is_match(why), "{why:?} does not say {reason:?}");
    ensure!(!console.contains("CRASH"), "{console}");
    Ok(why.to_owned())
}

/// Lets the hypervisor find no exit device, as on hardware: of an option that is given twice the first counts.
pub fn without_exit_device(machine: Machine) -> Machine {
    machine.hv_args("exit_port=0x2e0")
}
