//! The table of options: one row says all there is to say about one.

use super::Options;
use super::error::Mistake;
use super::values::{console, log_level, on_off, port, processors, size};

/// One option, as documentation shows it.
#[derive(Clone, Copy)]
pub struct OptionDoc {
    /// What the user writes before `=`.
    pub name: &'static str,
    /// What may follow it; empty if nothing.
    pub value: &'static str,
    /// What holds without the option.
    pub default: &'static str,
    /// What it does.
    pub help: &'static str,
    apply: fn(&mut Options, &[u8]) -> Option<()>,
}

/// All options, for the parser and for documentation.
pub const OPTIONS: &[OptionDoc] = &[
    OptionDoc {
        name: "console",
        value: "com1, com2, none or an I/O port (0x3f8), then optionally a comma and the baud rate",
        default: "com1,115200",
        help: "where messages go",
        apply: |options, value| console(value).map(|value| options.console = value),
    },
    OptionDoc {
        name: "loglevel",
        value: "error, warn, info, debug or trace",
        default: "info",
        help: "the least severe messages shown",
        apply: |options, value| log_level(value).map(|value| options.loglevel = value),
    },
    OptionDoc {
        name: "parent_mem",
        value: "bytes, with K, M or G after the number; 64M at least",
        default: "all RAM",
        help: "RAM that the parent partition gets at most",
        apply: |options, value| size(value).map(|value| options.parent_mem = Some(value)),
    },
    OptionDoc {
        name: "lps",
        value: "a number from 1 to 256",
        default: "all",
        help: "logical processors that are started at most",
        apply: |options, value| processors(value).map(|value| options.lps = Some(value)),
    },
    OptionDoc {
        name: "boot_lp",
        value: "on or off",
        default: "on",
        help: "whether the processor that the firmware started stays in use after the boot",
        apply: |options, value| on_off(value).map(|value| options.boot_lp = value),
    },
    OptionDoc {
        name: "x2apic",
        value: "on or off",
        default: "on",
        help: "whether the parent partition is offered x2APIC",
        apply: |options, value| on_off(value).map(|value| options.x2apic = value),
    },
    OptionDoc {
        name: "noreboot",
        value: "",
        default: "reset",
        help: "after a crash of the hypervisor, halt instead of resetting the machine",
        apply: |options, _| {
            options.noreboot = true;
            Some(())
        },
    },
    OptionDoc {
        name: "exit_port",
        value: "an I/O port (0xf4)",
        default: "none",
        help: "for tests: the port of an isa-debug-exit device, written to end the emulator",
        apply: |options, value| port(value).map(|value| options.exit_port = Some(value)),
    },
];

/// Puts one word of the command line into `options`. `seen` has a bit for each row that occurred.
pub(super) fn apply(options: &mut Options, seen: &mut u32, word: &[u8]) -> Result<(), Mistake> {
    let equals = word.iter().position(|byte| *byte == b'=');
    let name = word.get(..equals.unwrap_or(word.len())).unwrap_or_default();
    let value = equals.and_then(|at| word.get(at.saturating_add(1)..));
    let mut rows = OPTIONS.iter().zip(0..);
    let (option, index) =
        rows.find(|(option, _)| option.name.as_bytes() == name).ok_or(Mistake::Unknown)?;
    let bit = 1_u32 << (index % u32::BITS);
    if *seen & bit != 0 {
        return Err(Mistake::Duplicate);
    }
    *seen |= bit;
    let value = match (value, option.value) {
        (Some(_), "") => return Err(Mistake::UnexpectedValue),
        (None, "") => &[],
        (None | Some([]), expected) => return Err(Mistake::MissingValue(expected)),
        (Some(value), _) => value,
    };
    (option.apply)(options, value).ok_or(Mistake::BadValue(option.value))
}
