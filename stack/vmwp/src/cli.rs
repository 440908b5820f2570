//! The command line.

use crate::memory::MemoryLayout;
use clap::{Parser, ValueEnum};
use disk::Format;
use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Exit status:
  0    the guest powered off, or the user ended the VM with Ctrl-A x
  1    the VM could not be created, or the worker could not go on
  2    the command line is wrong
  3    the guest crashed (--on-crash exit)
  4    the guest asked for a reset (--on-reset exit)
  128+n  signal n ended the worker

On a terminal every key is the guest's, Ctrl-C too; only Ctrl-A x ends the VM (Ctrl-A twice sends one).
The guest's command line must name its console: console=ttyS0.";

/// Runs one VM on this machine's hypervisor, by /dev/mshv.
#[derive(Clone, Debug, Parser)]
#[command(version, after_help = AFTER_HELP)]
pub struct Cli {
    /// Linux kernel to start: a bzImage with a 64-bit entry, or an ELF file with a PVH entry. Without it the first disk (of
    /// --ide-disk, else of --disk) is looked at, at each start: /vmlinuz or /boot/vmlinuz of its system, else the newest
    /// kernel in /boot, with its initrd, from an ext4 file system on the whole disk or in a partition (GPT)
    #[arg(long, value_name = "FILE", required_unless_present_any = ["disk", "ide_disk"])]
    pub kernel: Option<PathBuf>,

    /// Where unpacked kernels are kept: a VM whose bzImage was met before (compressed by zstd) need not unpack it, a third of
    /// the time to its init. "none" keeps and takes none
    #[arg(long, value_name = "DIRECTORY", default_value = "/var/cache/zemin/kernels", value_parser = parse_kernel_cache)]
    pub kernel_cache: KernelCacheOption,

    /// Seconds after which a kernel met for the first time is unpacked for the next start: when the guest has booted,
    /// as a rule, for it takes time from its processors
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub unpack_after: u64,

    /// Initial RAM disk
    #[arg(long, value_name = "FILE", requires = "kernel")]
    pub initrd: Option<PathBuf>,

    /// The kernel's command line. Where it names no root= and the kernel comes from the disk, the disk's system is the root
    #[arg(long, value_name = "STRING", default_value = "console=ttyS0")]
    pub cmdline: String,

    /// Memory, with unit: 512M, 2G. At least 32M, in steps of 2M
    #[arg(long, value_name = "SIZE", default_value = "512M", value_parser = parse_memory)]
    pub memory: u64,

    /// Disk on the synthetic SCSI controller; give it once for each, in the order of their LUNs. The name tells the
    /// format (.vhdx, .vhd, .img, .raw, .iso); behind commas: ro for reading only, cached to go through the page cache, format=vhdx, vhd or raw
    #[arg(long, value_name = "FILE[,ro][,cached][,format=NAME]", value_parser = parse_disk)]
    pub disk: Vec<DiskOption>,

    /// Disk on an IDE-class controller of its own, as boot disks have; up to four, as with --disk
    #[arg(long, value_name = "FILE[,…]", value_parser = parse_disk)]
    pub ide_disk: Vec<DiskOption>,

    /// DVD drive on the SCSI controller, with an ISO image in it or empty; drives take the LUNs after those of the disks
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "", value_parser = parse_medium)]
    pub dvd: Vec<PathBuf>,

    /// When a disk's store has no space left for what the guest writes
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = OnNoSpace::Fail)]
    pub on_no_space: OnNoSpace,

    /// Virtual processors, 1 to 64
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub cpus: u32,

    /// Weight among the VMs that want processors at the same time, 1 to 10000; the VM's, whatever its number of VPs
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub weight: u32,

    /// What each VP gets of a processor whenever it wants it, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=95))]
    pub reserve: u32,

    /// What each VP gets of a processor at most, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub limit: u32,

    /// Where the first serial port goes: stdio, pipe:PATH (FIFOs PATH.in and PATH.out), socket:PATH (Unix socket
    /// that is listened on) or none
    #[arg(long, value_name = "KIND", default_value = "stdio", value_parser = parse_console)]
    pub console: ConsoleKind,

    /// Unix socket to listen on for those who look into the running VM or change it (`zm trace`, `zm vm disk`)
    #[arg(long, value_name = "PATH", value_parser = socket_path)]
    pub control: Option<PathBuf>,

    /// Take the guest's memory from the system's pool of 2 MiB pages, whole at the start; the disks' rings know it then
    /// beforehand
    #[arg(long)]
    pub hugepages: bool,

    /// Name of the VM, for log and process list
    #[arg(long, default_value = "vm")]
    pub name: String,

    /// When the guest asks for a reset
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = OnReset::Reboot)]
    pub on_reset: OnReset,

    /// When the guest crashes the machine, as by a triple fault
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = OnCrash::Exit)]
    pub on_crash: OnCrash,

    /// Offer the guest only the xAPIC
    #[arg(long)]
    pub no_x2apic: bool,

    /// What to log to standard error: error, warn, info, debug, trace, or a filter as in RUST_LOG (which this replaces)
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
}

/// Where unpacked kernels are kept, if anywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelCacheOption(pub Option<PathBuf>);

/// A disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskOption {
    /// Its image.
    pub path: PathBuf,
    /// The guest cannot write it.
    pub read_only: bool,
    /// Its data goes through the page cache of the parent.
    pub cached: bool,
    /// The image's format, if not by its name.
    pub format: Option<Format>,
}

/// What a reset does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnReset {
    /// Start the VM anew
    Reboot,
    /// End with status 4
    Exit,
}

/// What a crash does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnCrash {
    /// End with status 3
    Exit,
    /// Start the VM anew
    Reboot,
}

/// What a full store means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OnNoSpace {
    /// The write fails, and the guest hears why
    #[default]
    Fail,
    /// The write waits until there is space and `zm vm disk resume`
    Wait,
}

/// Kinds of consoles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsoleKind {
    /// Standard input and output.
    Stdio,
    /// Two FIFOs.
    Pipe(PathBuf),
    /// A Unix socket.
    Socket(PathBuf),
    /// Nowhere.
    None,
}

/// What follows the path is taken from the end, so that a path may have commas of its own.
pub(crate) fn parse_disk(text: &str) -> Result<DiskOption, String> {
    let (mut path, mut option) = (text, DiskOption::default());
    while let Some((before, word)) = path.rsplit_once(',') {
        match word {
            "ro" => option.read_only = true,
            "cached" => option.cached = true,
            "format=raw" => option.format = Some(Format::Raw),
            "format=vhd" => option.format = Some(Format::Vhd),
            "format=vhdx" => option.format = Some(Format::Vhdx),
            word if word.starts_with("format=") => {
                return Err("formats are raw, vhd and vhdx".into());
            }
            _ => break,
        }
        path = before;
    }
    if path.is_empty() {
        return Err("it needs a path".into());
    }
    Ok(DiskOption { path: path.into(), ..option })
}

/// A path, or nothing.
fn parse_medium(text: &str) -> Result<PathBuf, Infallible> {
    Ok(text.into())
}

fn parse_kernel_cache(text: &str) -> Result<KernelCacheOption, Infallible> {
    Ok(KernelCacheOption((text != "none").then(|| text.into())))
}

fn parse_console(text: &str) -> Result<ConsoleKind, String> {
    let (kind, path) = text.split_once(':').unwrap_or((text, ""));
    match (kind, path) {
        ("stdio", "") => Ok(ConsoleKind::Stdio),
        ("none", "") => Ok(ConsoleKind::None),
        ("pipe" | "socket", "") => Err(format!("{kind} needs a path: {kind}:PATH")),
        ("pipe", path) => Ok(ConsoleKind::Pipe(path.into())),
        ("socket", path) => socket_path(path).map(ConsoleKind::Socket),
        _ => Err("it is stdio, pipe:PATH, socket:PATH or none".into()),
    }
}

/// The system keeps socket paths in 108 bytes.
fn socket_path(path: &str) -> Result<PathBuf, String> {
    let path: OsString = path.into();
    if path.as_bytes().len() > 107 {
        return Err("the path of a socket has at most 107 bytes".into());
    }
    Ok(path.into())
}

/// A size that a VM can have.
fn parse_memory(text: &str) -> Result<u64, String> {
    let size = parse_size(text)?;
    MemoryLayout::new(size).map(|_| size).map_err(|error| error.to_string())
}

/// A number with a unit, as bytes.
fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = &text[digits.len()..];
    let number: u64 = digits.parse().map_err(|_| "it is a number with a unit, as 512M")?;
    let shift = match unit.trim_end_matches("iB").trim_end_matches('B') {
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        "" => return Err(format!("{number} of what? 512M and 2G have a unit")),
        other => return Err(format!("there is no unit {other}: K, M, G, T")),
    };
    number.checked_mul(1 << shift).ok_or_else(|| "so much memory does not exist".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from([&["vmwp", "--kernel", "k"], arguments].concat())
    }

    #[test]
    fn the_definition_is_consistent_and_the_help_tells_the_exit_statuses() {
        Cli::command().debug_assert();
        let help = Cli::command().render_long_help().to_string();
        for word in ["--hugepages", "socket:PATH", "Exit status", "Ctrl-A x", "128+n"] {
            assert!(help.contains(word), "{word} in\n{help}");
        }
    }

    #[test]
    fn the_defaults_make_a_small_vm_on_the_terminal() {
        let cli = parse(&[]).unwrap();
        assert_eq!((cli.memory, cli.cpus, cli.console), (512 << 20, 1, ConsoleKind::Stdio));
        assert_eq!((cli.on_reset, cli.on_crash), (OnReset::Reboot, OnCrash::Exit));
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("2G"), Ok(2 << 30));
        assert_eq!(parse_size("768MiB"), Ok(768 << 20));
        assert_eq!(parse_size("64m"), Ok(64 << 20));
        assert!(parse_size("512").unwrap_err().starts_with("512 of what?"));
        assert!(parse_size("5X").unwrap_err().contains("no unit X"));
        assert!(parse_size("99999999999T").unwrap_err().contains("does not exist"));
        for nonsense in ["", "M", "-1M", "1.5G"] {
            assert!(parse_size(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn a_size_no_vm_can_have_is_refused_at_once() {
        let error = parse(&["--memory", "33M"]).unwrap_err().to_string();
        assert!(error.contains("not a multiple of 2 MiB"), "{error}");
        assert!(parse(&["--memory", "2M"]).is_err());
    }

    #[test]
    fn consoles_are_told_apart() {
        assert_eq!(parse_console("pipe:/a:b"), Ok(ConsoleKind::Pipe("/a:b".into())));
        assert_eq!(parse_console("socket:s"), Ok(ConsoleKind::Socket("s".into())));
        assert_eq!(parse_console("none"), Ok(ConsoleKind::None));
        assert!(parse_console("pipe").unwrap_err().contains("pipe:PATH"));
        assert!(parse_console("tcp:1").is_err());
        assert!(parse_console(&format!("socket:{}", "x".repeat(108))).is_err());
    }

    #[test]
    fn disks_have_a_path_and_words_behind_it() {
        let disk = |path: &str, read_only, format| {
            Ok(DiskOption { path: path.into(), read_only, format, cached: false })
        };
        assert_eq!(parse_disk("a.vhdx"), disk("a.vhdx", false, None));
        assert_eq!(parse_disk("a,b.img,ro"), disk("a,b.img", true, None));
        assert_eq!(parse_disk("x,format=raw,ro"), disk("x", true, Some(Format::Raw)));
        assert!(parse_disk("x.img,cached").unwrap().cached);
        assert!(parse_disk("x,format=qcow2").is_err() && parse_disk(",ro").is_err());
        assert_eq!(parse(&["--disk", "a.img", "--disk", "b.img"]).unwrap().disk.len(), 2);
        let cli = parse(&["--ide-disk", "a.vhd,ro", "--dvd", "--dvd", "x.iso"]).unwrap();
        assert!(cli.ide_disk[0].read_only);
        assert_eq!(cli.dvd, [PathBuf::new(), "x.iso".into()]);
    }

    #[test]
    fn shares_have_bounds() {
        let cli = parse(&[]).unwrap();
        assert_eq!((cli.weight, cli.reserve, cli.limit), (100, 0, 100));
        for wrong in [["--weight", "0"], ["--reserve", "96"], ["--limit", "0"], ["--limit", "101"]]
        {
            assert!(parse(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn there_are_1_to_64_processors() {
        assert!(parse(&["--cpus", "0"]).is_err() && parse(&["--cpus", "65"]).is_err());
        assert_eq!(parse(&["--cpus", "64"]).unwrap().cpus, 64);
    }
}
