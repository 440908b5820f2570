//! `zm vm disk`: disks and drives of a VM that runs.

use super::args::DiskCommand;
use super::config::{Name, disk_option, file};
use super::control::{answer, ask};
use super::place::Slot;
use super::store::Store;
use crate::output::Table;
use serde::Serialize;
use std::io::Write;

/// A LUN.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Unit {
    controller: u8,
    lun: u8,
    /// `disk` or `dvd`.
    kind: String,
    /// What a drive has in it, if anything.
    file: Option<String>,
}

impl Unit {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(3, ' ');
        let place = words.next()?;
        let (controller, lun) = place.split_once(':').unwrap_or(("0", place));
        let (controller, lun) = (controller.parse().ok()?, lun.parse().ok()?);
        let kind = words.next()?.to_owned();
        Some(Self { controller, lun, kind, file: words.next().map(str::to_owned) })
    }
}

/// Does what the user said.
pub fn run(store: &Store, command: &DiskCommand, out: &mut dyn Write) -> anyhow::Result<()> {
    let tell = |name: &Name, request: &str| answer(ask(store, name, request)?);
    match command {
        DiskCommand::List { name, json } => show(&tell(name, "disks")?, *json, out)?,
        DiskCommand::Add { name, file, lun, dvd } => {
            let lines = tell(name, &addition(file.as_deref(), lun, *dvd)?)?;
            writeln!(out, "LUN {}", lines.first().map_or("?", String::as_str))?;
        }
        DiskCommand::Remove { name, lun } => drop(tell(name, &format!("detach {lun}"))?),
        DiskCommand::Insert { name, lun, file: path } => {
            drop(tell(name, &format!("insert {lun} {}", file(path)?.display()))?);
        }
        DiskCommand::Eject { name, lun, force } => {
            let force = if *force { " force" } else { "" };
            drop(tell(name, &format!("eject {lun}{force}"))?);
        }
        DiskCommand::Resume { name } => drop(tell(name, "resume")?),
    }
    Ok(())
}

/// The request that adds something. The worker may be in another directory: paths are absolute.
fn addition(path: Option<&str>, lun: &Slot, dvd: bool) -> anyhow::Result<String> {
    Ok(match (path, dvd) {
        (Some(path), true) => format!("attach-dvd {lun} {}", file(path.as_ref())?.display()),
        (None, _) => format!("attach-dvd {lun}"),
        (Some(path), false) => format!("attach {lun} {}", disk_option(path)?),
    })
}

fn show(lines: &[String], json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let units: Vec<Unit> = lines.iter().filter_map(|line| Unit::parse(line)).collect();
    if json {
        return Ok(writeln!(out, "{}", serde_json::to_string_pretty(&units)?)?);
    }
    let mut table = Table::prose();
    table.row(["LUN", "KIND", "FILE"].map(str::to_owned).to_vec());
    for Unit { controller, lun, kind, file } in units {
        let place = if controller == 0 { lun.to_string() } else { format!("{controller}:{lun}") };
        table.row(vec![place, kind, file.unwrap_or_else(|| "-".to_owned())]);
    }
    Ok(writeln!(out, "{}", table.render())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_worker_lists_is_shown() {
        let lines = ["0 disk /a b.vhdx", "1 dvd", "2:7 disk /c"].map(str::to_owned);
        let mut out = Vec::new();
        show(&lines, false, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.contains("/a b.vhdx") && text.contains("2:7") && text.lines().count() == 4,
            "{text}"
        );
        let mut out = Vec::new();
        show(&lines, true, &mut out).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(json[0]["file"], "/a b.vhdx");
        assert_eq!((&json[1]["lun"], &json[1]["file"]), (&1.into(), &serde_json::Value::Null));
        assert_eq!((&json[2]["controller"], &json[2]["lun"]), (&2.into(), &7.into()));
    }

    #[test]
    fn additions_name_files_that_are_there_by_absolute_paths() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display().to_string();
        let (words, any) = (format!("{path},ro"), "-".parse().unwrap());
        assert_eq!(addition(Some(&words), &any, false).unwrap(), format!("attach - {path},ro"));
        assert_eq!(
            addition(Some(&path), &"3".parse().unwrap(), true).unwrap(),
            format!("attach-dvd 3 {path}")
        );
        assert_eq!(addition(None, &any, true).unwrap(), "attach-dvd -");
        assert!(addition(Some("/nowhere.img"), &any, false).is_err());
    }
}
