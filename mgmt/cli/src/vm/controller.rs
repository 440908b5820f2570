//! `zm vm controller`: SCSI controllers of a VM that runs.

use super::args::ControllerCommand;
use super::control::{answer, ask};
use super::store::Store;
use crate::output::Table;
use serde::Serialize;
use std::io::Write;

/// A SCSI controller.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Controller {
    controller: u8,
    /// Disks and drives on it.
    luns: u32,
}

impl Controller {
    fn parse(line: &str) -> Option<Self> {
        let (controller, luns) = line.split_once(' ')?;
        Some(Self { controller: controller.parse().ok()?, luns: luns.parse().ok()? })
    }
}

/// Does what the user said.
pub fn run(store: &Store, command: &ControllerCommand, out: &mut dyn Write) -> anyhow::Result<()> {
    match command {
        ControllerCommand::List { name, json } => {
            show(&answer(ask(store, name, "controllers")?)?, *json, out)?;
        }
        ControllerCommand::Add { name } => {
            let lines = answer(ask(store, name, "attach-controller")?)?;
            writeln!(out, "controller {}", lines.first().map_or("?", String::as_str))?;
        }
        ControllerCommand::Remove { name, controller } => {
            answer(ask(store, name, &format!("detach-controller {controller}"))?)?;
        }
    }
    Ok(())
}

fn show(lines: &[String], json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let controllers: Vec<_> = lines.iter().filter_map(|line| Controller::parse(line)).collect();
    if json {
        return Ok(writeln!(out, "{}", serde_json::to_string_pretty(&controllers)?)?);
    }
    let mut table = Table::prose();
    table.row(["CONTROLLER", "LUNS"].map(str::to_owned).to_vec());
    for Controller { controller, luns } in controllers {
        table.row([controller.to_string(), luns.to_string()].to_vec());
    }
    Ok(writeln!(out, "{}", table.render())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_worker_lists_is_shown() {
        let lines = ["0 3", "1 0"].map(str::to_owned);
        let mut out = Vec::new();
        show(&lines, true, &mut out).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!((&json[0]["luns"], &json[1]["controller"]), (&3.into(), &1.into()));
        let mut out = Vec::new();
        show(&lines, false, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), 3);
    }
}
