//! A VM's console on this terminal.

use super::config::Name;
use super::store::Store;
use anyhow::{Context, bail};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread;

/// Ctrl-].
const LEAVE: u8 = 0x1D;

/// Passes keys and text on until the user leaves or the VM ends.
pub fn run(store: &Store, name: &Name) -> anyhow::Result<()> {
    store.load(name)?;
    if store.worker(name).is_none() {
        bail!("{name} is not running; `zm vm start {name}` starts it");
    }
    let socket = UnixStream::connect(store.console(name))
        .with_context(|| format!("the console of {name}"))?;
    eprintln!("The console of {name}. Ctrl-] leaves it.");
    let _raw = Raw::enter()?;
    let keys = socket.try_clone()?;
    // It ends with the process: nothing can be taken out of a read of the terminal.
    thread::spawn(move || send_keys(&mut io::stdin().lock(), keys));
    let ended = copy(socket, &mut io::stdout().lock());
    drop(_raw);
    eprintln!();
    ended
}

/// Until [`LEAVE`], or the end of the input.
pub fn send_keys(input: &mut impl Read, mut socket: UnixStream) {
    let mut buffer = [0; 256];
    while let Ok(count @ 1..) = input.read(&mut buffer) {
        let keys = buffer.get(..count).unwrap_or_default();
        let end = keys.iter().position(|&key| key == LEAVE);
        let sent = socket.write_all(keys.get(..end.unwrap_or(count)).unwrap_or_default());
        if end.is_some() || sent.is_err() {
            break;
        }
    }
    let _ = socket.shutdown(Shutdown::Both);
}

fn copy(mut socket: UnixStream, output: &mut impl Write) -> anyhow::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                output.write_all(buffer.get(..count).unwrap_or_default())?;
                output.flush()?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The terminal passes every key on, and is as it was when this goes.
struct Raw(Option<Termios>);

impl Raw {
    fn enter() -> anyhow::Result<Self> {
        let stdin = io::stdin();
        if !isatty(&stdin) {
            return Ok(Self(None));
        }
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        Ok(Self(Some(before)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}
