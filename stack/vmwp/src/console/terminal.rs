//! The console on this process's standard input and output.
//!
//! A terminal is put into raw mode, so that Ctrl-C and everything else but Ctrl-A x is the guest's, and put back at the
//! end, also after a panic.

use super::escape::Escape;
use super::{OutputPort, Reader};
use crate::control::{Control, Outcome};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The terminal as it was, to be put back.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// While this lives the terminal is in raw mode.
pub struct RawMode(());

impl RawMode {
    /// Puts the terminal of standard input into raw mode; `None` if it is none.
    fn enter() -> io::Result<Option<Self>> {
        let input = io::stdin();
        if !isatty(&input) {
            return Ok(None);
        }
        let before = tcgetattr(&input)?;
        let mut raw = before.clone();
        raw.make_raw();
        // "\n" of our own log still starts a line.
        raw.output_modes = before.output_modes;
        tcsetattr(&input, OptionalActions::Now, &raw)?;
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        restore_after_panic();
        Ok(Some(Self(())))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Puts the terminal back. Whoever leaves the process in a hurry calls it first.
pub fn restore() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        // There is nobody left to tell.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }
}

fn restore_after_panic() {
    let next = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        restore();
        next(info);
    }));
}

/// Opens standard input and output.
pub fn open(
    reader: Reader,
    control: Arc<Control>,
) -> io::Result<(Arc<dyn OutputPort>, Option<RawMode>)> {
    let raw = RawMode::enter()?;
    let escapes = raw.is_some();
    let read = move || read_input(&reader, &control, escapes);
    thread::Builder::new().name("console".into()).spawn(read)?;
    Ok((Arc::new(Stdout), raw))
}

/// Until the end of the input. A pipe's bytes are all the guest's; a terminal's may be for us.
fn read_input(reader: &Reader, control: &Control, escapes: bool) {
    let (mut input, mut escape, mut buffer) = (io::stdin(), Escape::default(), [0; 1024]);
    loop {
        let count = match input.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                tracing::warn!(%error, "cannot read standard input any more");
                return;
            }
        };
        if !escapes {
            reader.deliver(&buffer[..count]);
            continue;
        }
        let typed = escape.filter(&buffer[..count]);
        reader.deliver(&typed.bytes);
        if typed.quit {
            control.end(Outcome::Quit);
            return;
        }
    }
}

/// Standard output, unbuffered: a prompt has no end of line.
struct Stdout;

impl OutputPort for Stdout {
    fn write(&self, bytes: &[u8]) {
        let mut output = io::stdout().lock();
        // A closed output is no reason for the guest to stop.
        let _ = output.write_all(bytes).and_then(|()| output.flush());
    }
}
