//! The hypervisor's command line: `option` or `option=value`, separated by blanks.
//!
//! [`parse`] reads all of it and reports every mistake, each of which prints as one line; what was right counts even
//! then, so that the mistakes can be shown on the console that the user asked for. [`OPTIONS`] is the documentation.

mod error;
mod options;
mod values;

pub use error::{Mistake, OptionError};
pub use options::{OPTIONS, OptionDoc};
pub use values::{Console, LogLevel};

use crate::list::List;
use crate::text::split_word;

/// Most mistakes reported one by one; [`Parsed::more_errors`] counts the rest.
pub const MAX_ERRORS: usize = 8;

/// What the user asked for, or the defaults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Where messages go.
    pub console: Console,
    /// The least severe messages shown.
    pub loglevel: LogLevel,
    /// Bytes of RAM that the parent gets at most.
    pub parent_mem: Option<u64>,
    /// Logical processors started at most.
    pub lps: Option<u32>,
    /// Whether the processor that the firmware started stays in use after the boot.
    pub boot_lp: bool,
    /// Whether the parent is offered x2APIC.
    pub x2apic: bool,
    /// After a crash, halt instead of resetting the machine.
    pub noreboot: bool,
    /// Port of an `isa-debug-exit` device, for tests.
    pub exit_port: Option<u16>,
}

impl Options {
    /// What an empty command line means.
    pub const DEFAULT: Self = Self {
        console: Console::Serial { port: values::COM1, baud: values::DEFAULT_BAUD },
        loglevel: LogLevel::Info,
        parent_mem: None,
        lps: None,
        boot_lp: true,
        x2apic: true,
        noreboot: false,
        exit_port: None,
    };
}

/// A command line, read.
#[derive(Clone, Copy, Debug)]
pub struct Parsed<'a> {
    /// What was right, on top of the defaults.
    pub options: Options,
    /// What was wrong.
    pub errors: List<OptionError<'a>, MAX_ERRORS>,
    /// Mistakes beyond those in `errors`.
    pub more_errors: usize,
}

/// Reads the hypervisor's command line (without the file name that some loaders put first).
pub fn parse(line: &[u8]) -> Parsed<'_> {
    let nothing = OptionError { word: &[], mistake: Mistake::Unknown };
    let mut parsed =
        Parsed { options: Options::DEFAULT, errors: List::new(nothing), more_errors: 0 };
    let mut seen = 0;
    let mut rest = line;
    loop {
        let (word, after) = split_word(rest);
        if word.is_empty() {
            return parsed;
        }
        if let Err(mistake) = options::apply(&mut parsed.options, &mut seen, word)
            && parsed.errors.push(OptionError { word, mistake }).is_err()
        {
            parsed.more_errors = parsed.more_errors.saturating_add(1);
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests;
