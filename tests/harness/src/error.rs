//! What can go wrong with a machine under test, each with what one needs to see to understand it.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// Shorthand.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A machine did not do what it was asked or expected to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `out/` lacks something.
    #[error("{} is missing: run `cargo xtask build` first", .0.display())]
    NotBuilt(PathBuf),
    /// A file or socket of the harness itself.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The awaited thing did not come in time. Ends with the console's last lines.
    #[error("no {what} within {limit:?} (logs: {})\n--- console ---\n{tail}", logs.display())]
    TimedOut {
        /// What was awaited.
        what: String,
        /// The limit.
        limit: Duration,
        /// The console's last lines.
        tail: String,
        /// Where all of it is.
        logs: PathBuf,
    },
    /// The emulator ended while something was awaited from it. Ends with its last words.
    #[error("the machine ended ({status}) before {what} (logs: {})\n--- console ---\n{tail}", logs.display())]
    Ended {
        /// What was awaited.
        what: String,
        /// How the emulator ended.
        status: ExitStatus,
        /// The console's last lines and the emulator's complaints.
        tail: String,
        /// Where all of it is.
        logs: PathBuf,
    },
    /// The shell was started anew (the machine rebooted) while a command was running.
    #[error("the machine's shell was restarted during {0:?}")]
    ShellRestarted(String),
    /// A command inside the machine failed.
    #[error("{command:?} exited with {status}:\n{text}")]
    Command {
        /// The command.
        command: String,
        /// Its exit status.
        status: i32,
        /// What it printed.
        text: String,
    },
    /// QEMU's monitor refused a command, or is gone.
    #[error("monitor command {command}: {why}")]
    Monitor {
        /// The command.
        command: String,
        /// QEMU's words.
        why: String,
    },
    /// A pattern given by the test is no regular expression.
    #[error("not a pattern: {0}")]
    Pattern(#[from] regex::Error),
}

impl Error {
    /// For `map_err` on input and output.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
