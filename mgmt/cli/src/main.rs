//! `zm`, the command line of Zemin.
//!
//! ```text
//! args       what the user may say
//!   ├─ hv        look into the hypervisor: status, log, counters
//!   │    └─ mshv_hvcall   the one way there: a hypercall through /dev/mshv
//!   ├─ vm        virtual machines by name: create, start, stop, list, console
//!   ├─ trace     disk commands of a VM, with the time at each station
//!   ├─ disk      make, check, resize, compact and convert disk images
//!   └─ doctor    why the hypervisor runs, or does not
//! output     tables, units and text from elsewhere, for people
//! ```
//!
//! Each command gathers first and formats afterwards; what formats takes plain data and is tested without a hypervisor.
//! Results go to standard output, everything else to standard error. Exit status: 0 done (for `doctor`: the hypervisor
//! runs), 1 not, 2 wrong usage.

mod args;
mod disk;
mod doctor;
mod hv;
mod mshv_hvcall;
mod output;
mod trace;
mod vm;

use args::{Args, Command, HvCommand, TraceCommand};
use clap::{CommandFactory, Parser};
use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run(&Args::parse(), &mut io::stdout().lock()) {
        Ok(code) => code,
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zm: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Hv { command } => run_hv(command, out)?,
        Command::Vm { command } => vm::run(command, out)?,
        Command::Trace { what: TraceCommand::Vm { name, seconds, json } } => {
            trace::run(name, *seconds, *json, out)?;
        }
        Command::Disk { command } => return disk::run(command, out),
        Command::Doctor { json } => {
            let report = doctor::examine();
            let text =
                if *json { doctor::render::json(&report) } else { doctor::render::text(&report) };
            writeln!(out, "{text}")?;
            return Ok(if report.verdict.is_running() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Args::command(), "zm", out);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn run_hv(command: &HvCommand, out: &mut dyn Write) -> anyhow::Result<()> {
    if let HvCommand::Counters(options) = command
        && options.describe
    {
        return hv::counters::describe(options.json, out);
    }
    let hypervisor = hv::open()?;
    match command {
        HvCommand::Status { json } => hv::status::run(&hypervisor, *json, out),
        HvCommand::Log(options) => hv::log::run(&hypervisor, options, out),
        HvCommand::Counters(options) if options.hypercalls => {
            hv::hypercalls::run(&hypervisor, options, out)
        }
        HvCommand::Counters(options) => hv::counters::run(&hypervisor, options, out),
    }
}
