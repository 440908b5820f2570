//! A parent that has a worker and guests to run, and how a guest is described.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::{Artefacts, Initramfs, Machine, Output, Running};
use system_tests::{scratch, with_programs};

/// What a guest does is the word behind `do=` on its command line.
const GUEST: &str = include_str!("guest.sh");

/// Debian's kernels, by the suite they come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kernel {
    /// The release's own.
    Stable,
    /// The newest of its backports.
    Backports,
}

impl Kernel {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Stable, Self::Backports];

    /// As in names of files and tests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Backports => "backports",
        }
    }

    /// What `uname -r` says.
    pub fn release(self) -> Result<String> {
        Ok(fs::read_to_string(directory()?.join("kernels").join(self.name()).join("release"))?
            .trim()
            .to_owned())
    }
}

/// A guest to be started.
#[derive(Clone, Copy, Debug)]
pub struct Guest {
    /// Its kernel.
    pub kernel: Kernel,
    /// Virtual processors.
    pub cpus: u32,
    /// MiB of memory.
    pub memory: u32,
    /// A function of `guest.sh`.
    pub what: &'static str,
}

impl Guest {
    /// The command that runs it to its end, with its console as output.
    pub fn command(&self, options: &str) -> String {
        let Self { kernel, cpus, memory, what } = self;
        // Unpacking one for the next start takes time and memory that tests of both would miss.
        let kept = if options.contains("--kernel-cache") { "" } else { "--kernel-cache none" };
        format!(
            "vmwp --kernel /children/{}/vmlinuz --initrd /children/guest.cpio --cpus {cpus} --memory {memory}M \
             --cmdline 'console=ttyS0 quiet panic=-1 do={what}' --on-reset exit --log warn {kept} {options} < /dev/null",
            kernel.name()
        )
    }

    /// Runs it to its end.
    pub fn run(&self, parent: &mut Running, limit: Duration) -> Result<Output> {
        Ok(parent.shell_within(&self.command(""), limit)?)
    }
}

/// Where `cargo xtask build` leaves what guests are made of.
pub fn directory() -> Result<PathBuf> {
    Ok(Artefacts::load()?.out.join("children"))
}

/// A machine whose parent has the worker, `zm`, `load`, the tests of `mshv-ioctls`, and guests.
pub fn parent(lps: u32, memory_mib: u32) -> Result<Machine> {
    Ok(Machine::new().lps(lps).memory_mib(memory_mib).initrd(initrd()?))
}

fn initrd() -> Result<PathBuf> {
    Ok(initramfs()?.shell().write(scratch()?.join("children.cpio"))?)
}

/// What every parent here has, without the shell at the end.
pub fn initramfs() -> Result<Initramfs> {
    let children = directory()?;
    let mut image = with_programs(Initramfs::new(), &["vmwp", "zm"])?;
    for program in ["load", "mshv-ioctls-tests"] {
        let path = format!("usr/bin/{program}");
        image = image.file(&path, read(&children.join(program))?, 0o755);
    }
    for kernel in Kernel::ALL {
        let path = format!("{}/vmlinuz", kernel.name());
        let content = read(&children.join("kernels").join(&path))?;
        image = image.file(&format!("children/{path}"), content, 0o644);
    }
    let kernel = read(&Artefacts::load()?.guests.join("guest"))?;
    let image = image.file("children/testkernel", kernel, 0o644);
    let image = image.file("children/tiny", super::tiny::image(), 0o644);
    let image = image.file("children/guest.cpio", read(&guest()?)?, 0o644);
    Ok(image.script("mount -t debugfs debug /sys/kernel/debug"))
}

/// What all guests boot into.
fn guest() -> Result<PathBuf> {
    let load = read(&directory()?.join("load"))?;
    let image = Initramfs::new().file("usr/bin/load", load, 0o755).script(GUEST);
    Ok(image.write(scratch()?.join("guest.cpio"))?)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}
