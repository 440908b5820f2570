//! The VM's console: where COM1's output goes and its input comes from.
//!
//! ```text
//!  guest ─▶ COM1 ─▶ OutputPort ─▶ terminal | FIFO | socket
//!  guest ◀─ COM1 ◀─ InputQueue ◀─ reader thread ◀─ terminal | FIFO | socket
//! ```
//!
//! The console outlives a reset of the VM: the queue and the port stay, COM1 is made anew. Output never waits for
//! anybody: what a FIFO or a socket cannot take at once is dropped.

mod escape;
mod fifo;
mod queue;
mod socket;
mod terminal;

pub use queue::InputQueue;
pub use terminal::restore as restore_terminal;

use crate::cli::ConsoleKind;
use crate::control::Control;
use anyhow::Context;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Takes what the guest prints.
pub trait OutputPort: Send + Sync {
    /// Everything, at once or never.
    fn write(&self, bytes: &[u8]);
}

/// The console as the devices see it.
#[derive(Clone)]
pub struct ConsoleEnds {
    /// Where output goes.
    pub output: Arc<dyn OutputPort>,
    /// What the user typed.
    pub input: Arc<InputQueue>,
}

/// Who is told that there is input: the present COM1.
pub type Listener = dyn Fn() + Send + Sync;

/// An open console.
pub struct Console {
    ends: ConsoleEnds,
    listener: Arc<Mutex<Option<Weak<Listener>>>>,
    /// Puts the terminal back as it was.
    _terminal: Option<terminal::RawMode>,
}

/// What the reader threads share with the console.
#[derive(Clone)]
struct Reader {
    input: Arc<InputQueue>,
    listener: Arc<Mutex<Option<Weak<Listener>>>>,
}

impl Reader {
    /// Hands `bytes` to the guest; waits while the guest has not taken what came before.
    fn deliver(&self, bytes: &[u8]) {
        for part in bytes.chunks(queue::LIMIT) {
            self.input.push(part);
            self.notify();
        }
    }

    fn notify(&self) {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(listener) = listener.and_then(|weak| weak.upgrade()) {
            listener();
        }
    }
}

impl Console {
    /// Opens the console that was asked for.
    pub fn open(kind: &ConsoleKind, control: &Arc<Control>) -> anyhow::Result<Self> {
        let reader = Reader { input: Arc::default(), listener: Arc::default() };
        let mut raw_mode = None;
        let output: Arc<dyn OutputPort> = match kind {
            ConsoleKind::Stdio => {
                let (output, raw) = terminal::open(reader.clone(), Arc::clone(control))
                    .context("cannot use the terminal as console")?;
                raw_mode = raw;
                output
            }
            ConsoleKind::Pipe(path) => fifo::open(path, reader.clone())
                .with_context(|| format!("cannot use FIFO {} as console", path.display()))?,
            ConsoleKind::Socket(path) => socket::open(path, reader.clone())
                .with_context(|| format!("cannot use socket {} as console", path.display()))?,
            ConsoleKind::None => Arc::new(Nowhere),
        };
        let ends = ConsoleEnds { output, input: reader.input };
        Ok(Self { ends, listener: reader.listener, _terminal: raw_mode })
    }

    /// The ends to build devices with.
    pub fn ends(&self) -> &ConsoleEnds {
        &self.ends
    }

    /// From now on `listener` is told of input, as long as it lives.
    pub fn attach(&self, listener: &Arc<Listener>) {
        let mut slot = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(Arc::downgrade(listener));
    }
}

/// No console at all.
struct Nowhere;

impl OutputPort for Nowhere {
    fn write(&self, _bytes: &[u8]) {}
}

#[cfg(test)]
pub mod testing;
