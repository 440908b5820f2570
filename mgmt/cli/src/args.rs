//! What the user may say. The doc comments are the help texts.

use crate::disk::args::DiskCommand;
use crate::vm::Name;
use crate::vm::args::VmCommand;
use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use zemindef::log::Level;

/// Manage Zemin, the bare-metal hypervisor
///
/// Zemin starts before the operating system, which then runs on it as the parent partition. Run `zm` in the parent. If
/// anything does not work, `zm doctor` says why and what to do.
#[derive(Parser, Debug)]
#[command(name = "zm", version, after_help = HELP_FOOT, max_term_width = 100)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

const HELP_FOOT: &str = "\
Exit status: 0 success, 1 failure, 2 wrong usage. Results go to standard output, messages to standard error.
`zm help COMMAND` explains a command at length.";

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Look into the running hypervisor: status, log, counters
    ///
    /// Needs root, because it asks the hypervisor through /dev/mshv. Reading changes nothing and takes no lock that a
    /// guest would wait for.
    Hv {
        #[command(subcommand)]
        command: HvCommand,
    },

    /// Create, start, stop and list virtual machines, and use their consoles
    ///
    /// Needs root in the parent. A VM is a definition file and, while it runs, one worker process (vmwp).
    Vm {
        #[command(subcommand)]
        command: VmCommand,
    },

    /// Watch what a virtual machine does
    Trace {
        #[command(subcommand)]
        what: TraceCommand,
    },

    /// Make, check, resize, compact and convert disk images: VHDX, VHD, raw
    ///
    /// Images are interchangeable with Hyper-V's and QEMU's. A command that fails leaves what was there; an image that a
    /// running VM uses is refused.
    Disk {
        #[command(subcommand)]
        command: DiskCommand,
    },

    /// Explain why the hypervisor is, or is not, running
    ///
    /// Examines the processor, the firmware, the boot entry, the kernel and the driver, and prints a verdict, the checks
    /// behind it and what to do next. Changes nothing. More can be checked as root.
    ///
    /// Marks: ✓ as it should be, ✗ a problem, – could not or need not be checked.
    #[command(
        after_long_help = "Exit status: 0 when Zemin runs and this system is its parent, 1 otherwise."
    )]
    Doctor {
        /// Print JSON: running, verdict, checks, steps and the facts they come from
        #[arg(long)]
        json: bool,
    },

    /// Print a script that makes SHELL complete zm's commands and options
    ///
    /// For bash:  zm completions bash > /etc/bash_completion.d/zm
    Completions {
        /// Which shell
        shell: Shell,
    },
}

#[derive(Subcommand, Debug)]
pub enum TraceCommand {
    /// Show a VM's disk commands, each with the time at every station of its way
    ///
    /// The way is: out of the guest's ring, handed to the parent's kernel, back from it, answered in the guest's ring. A guest
    /// that only computes passes no station at all.
    Vm {
        /// Which
        name: Name,
        /// For how long
        #[arg(short, long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
        seconds: u64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Subcommand, Debug)]
pub enum HvCommand {
    /// Show version, build, processors, memory and uptime of the hypervisor
    ///
    /// The build id identifies the very binary: it names the symbols that belong to a crash report.
    Status {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },

    /// Show the hypervisor's log
    ///
    /// The hypervisor keeps its newest lines in a ring in memory. A line has the time since the hypervisor started, the
    /// logical processor that wrote it, and a level.
    #[command(after_long_help = "Examples:
  zm hv log -n 20              the last 20 lines
  zm hv log --level warn       warnings and errors
  zm hv log -f --json          follow, one JSON object per line")]
    Log(LogOptions),

    /// Show what the hypervisor counts: exits by reason, interrupts, hypercalls
    ///
    /// Counters exist per logical processor (LP), count from the start of the hypervisor and never go back. Those that
    /// are zero on all LPs shown are left out unless --all is given.
    #[command(after_long_help = "Examples:
  zm hv counters                  since the start
  zm hv counters --watch 1        per second, every second, what moved
  zm hv counters --hypercalls     hypercalls by code, with failures
  zm hv counters --describe       what each counter means")]
    Counters(CounterOptions),
}

#[derive(clap::Args, Debug, Clone, Default)]
pub struct LogOptions {
    /// Go on showing lines as they are written, until interrupted
    #[arg(short, long)]
    pub follow: bool,

    /// Show lines of this level and more important ones only
    #[arg(short, long, value_name = "LEVEL", default_value = "trace")]
    pub level: LogLevel,

    /// Start with the last N lines (of those that --level admits) instead of the oldest
    #[arg(short = 'n', long, value_name = "N")]
    pub lines: Option<usize>,

    /// Print JSON, one object per line
    #[arg(long)]
    pub json: bool,
}

#[derive(clap::Args, Debug, Clone, Default)]
pub struct CounterOptions {
    /// Show this logical processor only
    #[arg(long, value_name = "N", conflicts_with = "hypercalls")]
    pub lp: Option<u32>,

    /// Leave out counters that are zero on all LPs shown (the default)
    #[arg(long, conflicts_with = "all")]
    pub nonzero: bool,

    /// Show counters that are zero, too
    #[arg(long)]
    pub all: bool,

    /// Every SECS seconds, show how much was counted per second since the last time; until interrupted
    #[arg(long, value_name = "SECS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub watch: Option<u64>,

    /// Show hypercalls by code instead: calls, errors and the last status that was not success
    #[arg(long)]
    pub hypercalls: bool,

    /// Explain each counter instead (needs no hypervisor)
    #[arg(long, conflicts_with_all = ["lp", "watch", "hypercalls", "all"])]
    pub describe: bool,

    /// Print JSON: one object, with --watch one per line
    #[arg(long)]
    pub json: bool,
}

/// Log levels by name.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// Something is broken
    Error,
    /// Something is not as it should be, and was coped with
    Warn,
    /// Milestones of a normal run
    Info,
    /// What a developer wants to know
    Debug,
    /// Everything that is recorded
    #[default]
    Trace,
}

impl LogLevel {
    /// Whether lines with this level number are wanted. Numbers that later hypervisors add are less important than all.
    pub fn admits(self, number: u8) -> bool {
        self == Self::Trace || number <= self.level() as u8
    }

    fn level(self) -> Level {
        match self {
            Self::Error => Level::Error,
            Self::Warn => Level::Warn,
            Self::Info => Level::Info,
            Self::Debug => Level::Debug,
            Self::Trace => Level::Trace,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_grammar_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        assert!(parse("zm hv counters --all --nonzero").is_err());
        assert!(parse("zm hv counters --hypercalls --lp 1").is_err());
        assert!(parse("zm hv counters --watch 0").is_err());
        assert!(parse("zm hv log --level loud").is_err());
        assert!(parse("zm hv").is_err());
    }

    #[test]
    fn what_the_manual_shows_is_accepted() {
        for line in [
            "hv log -n 20",
            "hv log --level warn",
            "hv log -f --json",
            "hv counters --watch 1",
            "doctor --json",
            "vm disk add web more.vhdx --lun 5",
            "vm disk add web --dvd",
            "vm create web --kernel k --ide-disk a.vhd --dvd --dvd x.iso",
        ] {
            assert!(parse(&format!("zm {line}")).is_ok(), "{line}");
        }
    }

    #[test]
    fn a_level_admits_itself_and_what_matters_more() {
        assert!(LogLevel::Warn.admits(0) && LogLevel::Warn.admits(1) && !LogLevel::Warn.admits(2));
        assert!(LogLevel::Trace.admits(200) && !LogLevel::Debug.admits(200));
    }
}
