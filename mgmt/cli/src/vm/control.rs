//! Questions to the worker of a VM that runs, by its control socket (`stack/vmwp/src/remote.rs`).

use super::config::Name;
use super::store::Store;
use anyhow::{Context, bail};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

/// Sends a request; what the worker says comes out of the socket.
pub fn ask(store: &Store, name: &Name, request: &str) -> anyhow::Result<UnixStream> {
    store.load(name)?;
    if store.worker(name).is_none() {
        bail!("{name} is not running; `zm vm start {name}` starts it");
    }
    if request.contains('\n') {
        bail!("a file's name must have no line end");
    }
    let path = store.control(name);
    let mut socket = UnixStream::connect(&path).with_context(|| path.display().to_string())?;
    writeln!(socket, "{request}").with_context(|| path.display().to_string())?;
    Ok(socket)
}

/// The lines that a request is answered with.
pub fn answer(mut socket: impl Read) -> anyhow::Result<Vec<String>> {
    let mut text = String::new();
    socket.read_to_string(&mut text).context("the worker does not answer")?;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    match lines.pop().as_deref() {
        Some("ok") => Ok(lines),
        Some(last) => match last.strip_prefix("error ") {
            Some(error) => bail!("{error}"),
            None => bail!("the worker says {last:?}"),
        },
        None => bail!("the worker went away"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_with_ok_or_the_reason_why_not() {
        assert_eq!(answer(&b"0 disk /a\n1 dvd\nok\n"[..]).unwrap(), ["0 disk /a", "1 dvd"]);
        assert!(answer(&b"ok\n"[..]).unwrap().is_empty());
        assert_eq!(answer(&b"error no LUN 7\n"[..]).unwrap_err().to_string(), "no LUN 7");
        assert!(answer(&b""[..]).is_err() && answer(&b"0 disk\n"[..]).is_err());
    }
}
