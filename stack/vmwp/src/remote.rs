//! The control socket: what others may ask of a running VM.
//!
//! A client sends one line and reads until the worker closes the connection. The last line that it gets is `ok`, or
//! `error` and what is wrong, but of `trace`.
//!
//! ```text
//! trace                   the disk commands that are answered from now on (crate::look), until the client goes
//! disks                   a line for each LUN: LUN disk FILE, LUN dvd FILE, or LUN dvd
//! controllers             a line for each SCSI controller: NUMBER COUNT-OF-LUNS
//! attach-controller       another SCSI controller; answers with its number
//! detach-controller N     it goes, and all that is on it
//! attach LUN OPTION       a disk as behind --disk; LUN may be -, the lowest that is free; answers with it
//! attach-dvd LUN [FILE]   a DVD drive, the same way
//! detach LUN              a disk or drive goes; its files are closed then
//! insert LUN FILE         another medium into a drive
//! eject LUN [force]       out of a drive; by force although the guest holds it
//! resume                  writes that wait for space are tried again
//! ```
//!
//! LUN is a number on controller 0, or CONTROLLER:NUMBER.

use crate::cli::parse_disk;
use crate::look;
use crate::storage::Storage;
use anyhow::{Context, anyhow, bail};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Longest request: a path has at most 4096 bytes.
const REQUEST_MAX: u64 = 8192;
/// How long a client may take to say what it wants, or to take the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Listens at `path`, in place of a socket that an earlier worker left.
pub fn listen(path: &Path, storage: &Arc<Storage>) -> anyhow::Result<()> {
    let place = || format!("the control socket {}", path.display());
    if UnixStream::connect(path).is_err() {
        let _ = std::fs::remove_file(path);
    }
    let listener = UnixListener::bind(path).with_context(place)?;
    let storage = Arc::clone(storage);
    let serve = move || {
        for client in listener.incoming().flatten() {
            let storage = Arc::clone(&storage);
            let serve = move || _ = serve(client, &storage);
            if let Err(error) = thread::Builder::new().name("client".into()).spawn(serve) {
                tracing::warn!(%error, "cannot serve a client of the control socket");
            }
        }
    };
    thread::Builder::new().name("control".into()).spawn(serve).with_context(place)?;
    Ok(())
}

fn serve(mut client: UnixStream, storage: &Storage) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut request = String::new();
    BufReader::new((&client).take(REQUEST_MAX)).read_line(&mut request)?;
    let request = request.trim_end_matches('\n');
    if request == "trace" {
        return look::tell(client, storage);
    }
    let answer = match answer(request, storage) {
        Ok(lines) => lines.into_iter().chain(["ok".to_owned()]).collect(),
        Err(error) => vec![format!("error {error:#}").replace('\n', " ")],
    };
    client.write_all(format!("{}\n", answer.join("\n")).as_bytes())
}

/// Does what a line says; the lines to answer with.
fn answer(request: &str, storage: &Storage) -> anyhow::Result<Vec<String>> {
    let (word, rest) = request.split_once(' ').unwrap_or((request, ""));
    let (lun, more) = rest.split_once(' ').unwrap_or((rest, ""));
    let path = Some(Path::new(more)).filter(|_| !more.is_empty());
    match word {
        "disks" => return Ok(storage.list()),
        "controllers" => return Ok(storage.controllers()),
        "attach-controller" => return Ok(vec![storage.attach_controller()?.to_string()]),
        "detach-controller" => {
            storage.detach_controller(rest.parse().with_context(|| format!("{rest:?}"))?)?;
        }
        "attach" => {
            let option = parse_disk(more).map_err(|error| anyhow!(error))?;
            return Ok(vec![storage.attach(lun.parse()?, &option)?.to_string()]);
        }
        "attach-dvd" => return Ok(vec![storage.attach_dvd(lun.parse()?, path)?.to_string()]),
        "detach" => storage.detach(lun.parse()?)?,
        "insert" => {
            let path = path.context("which medium?")?;
            storage.change_medium(lun.parse()?, Some(path), false)?;
        }
        "eject" => storage.change_medium(lun.parse()?, None, more == "force")?,
        "resume" => storage.resume(),
        _ => bail!("this worker does not know {word:?}"),
    }
    Ok(Vec::new())
}

#[cfg(test)]
mod tests;
