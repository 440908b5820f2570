//! Signals that ask for the end: SIGINT, SIGTERM, SIGHUP, SIGQUIT.

use crate::control::{Control, Outcome};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::Arc;
use std::thread::Builder;

/// From now on these signals end the run, and a second one the process.
pub fn listen(control: Arc<Control>) -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])?;
    let wait = move || {
        let mut pending = signals.forever();
        if let Some(signal) = pending.next() {
            tracing::info!(signal, "ended by a signal");
            control.end(Outcome::Signal(signal));
        }
        if let Some(signal) = pending.next() {
            crate::console::restore_terminal();
            std::process::exit(crate::worker::EXIT_SIGNAL + signal);
        }
    };
    Builder::new().name("signals".into()).spawn(wait)?;
    Ok(())
}
