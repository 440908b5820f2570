//! `zm vm`: VMs by name, on top of the worker `vmwp`.
//!
//! ```text
//! args       what the user may say
//! config     a VM's definition, a TOML file
//! store      where definitions, sockets and logs are; whether a VM runs
//! worker     starting and ending the worker process
//! console    the guest's console on this terminal
//! control    questions to the worker of a VM that runs
//! disk       its disks and drives
//! controller what they are on
//! place      how one names a place there
//! ```
//!
//! There is no service behind it: what runs is known by a lock that the worker holds.

pub mod args;
mod config;
mod console;
mod control;
mod controller;
mod disk;
mod place;
mod store;
#[cfg(test)]
mod tests;
mod worker;

use crate::output::Table;
use args::{CreateArgs, VmCommand};
use config::Config;
pub use config::Name;
pub use control::ask;
use serde::Serialize;
use std::io::Write;
pub use store::Store;

/// Does what the user said.
pub fn run(command: &VmCommand, out: &mut dyn Write) -> anyhow::Result<()> {
    let store = Store::system();
    match command {
        VmCommand::Create(args) => create(&store, args, out),
        VmCommand::Start { name, console } => {
            worker::start(&store, name)?;
            if *console { console::run(&store, name) } else { Ok(()) }
        }
        VmCommand::Stop { name } => worker::stop(&store, name),
        VmCommand::List { json } => list(&store, *json, out),
        VmCommand::Show { name } => show(&store, name, out),
        VmCommand::Console { name } => console::run(&store, name),
        VmCommand::Disk { command } => disk::run(&store, command, out),
        VmCommand::Controller { command } => controller::run(&store, command, out),
        VmCommand::Delete { name } => store.remove(name),
    }
}

fn create(store: &Store, args: &CreateArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    store.add(&args.name, &Config::new(args)?)?;
    if args.start {
        return worker::start(store, &args.name);
    }
    writeln!(out, "`zm vm start {}` starts it.", args.name)?;
    Ok(())
}

/// One VM of the list.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct Line {
    name: String,
    running: bool,
    /// Process id of the worker.
    worker: Option<i32>,
    cpus: Option<u32>,
    memory: Option<String>,
    /// What is wrong with its definition.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

fn line(store: &Store, name: &Name) -> Line {
    let worker = store.worker(name);
    let (config, error) = match store.load(name) {
        Ok(config) => (Some(config), None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    Line {
        name: name.to_string(),
        running: worker.is_some(),
        worker,
        cpus: config.as_ref().map(|config| config.cpus),
        memory: config.map(|config| config.memory),
        error,
    }
}

fn list(store: &Store, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let lines: Vec<Line> = store.names()?.iter().map(|name| line(store, name)).collect();
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(&lines)?)?;
        return Ok(());
    }
    if lines.is_empty() {
        eprintln!("There is no VM. `zm vm create --help` tells how to make one.");
        return Ok(());
    }
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let mut table = Table::prose();
    table.row(["NAME", "STATE", "CPUS", "MEMORY", "WORKER"].map(str::to_owned).to_vec());
    for line in lines {
        let state = match (&line.error, line.running) {
            (Some(_), _) => "broken",
            (None, true) => "running",
            (None, false) => "off",
        };
        table.row(vec![
            line.name,
            state.to_owned(),
            or_none(line.cpus.map(|cpus| cpus.to_string())),
            or_none(line.memory),
            or_none(line.worker.map(|worker| worker.to_string())),
        ]);
    }
    writeln!(out, "{}", table.render())?;
    Ok(())
}

fn show(store: &Store, name: &Name, out: &mut dyn Write) -> anyhow::Result<()> {
    let config = store.load(name)?;
    writeln!(out, "# {}", store.definition(name).display())?;
    write!(out, "{}", config.text()?)?;
    if let Some(worker) = store.worker(name) {
        writeln!(out, "\n# running: process {worker}")?;
        writeln!(out, "# console: {}", store.console(name).display())?;
    }
    writeln!(out, "# messages: {}", store.log(name).display())?;
    Ok(())
}
