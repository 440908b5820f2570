//! A VM's definition: a file that a person can read and keep.

use super::args::CreateArgs;
use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf, absolute};
use std::str::FromStr;

/// Longest name: it is part of a socket's path.
const NAME_MAX: usize = 40;

/// A VM's name, which is also the name of its files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty()
            || text.len() > NAME_MAX
            || text.starts_with('-')
            || !text.chars().all(known)
        {
            return Err(format!(
                "a name has 1 to {NAME_MAX} lower-case letters, digits and hyphens, and no hyphen first"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// What a VM is made of. A key that nobody knows is a mistake, not a comment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Virtual processors.
    pub cpus: u32,
    /// Memory, as the worker takes it.
    pub memory: String,
    /// Memory comes from the system's pool of huge pages.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hugepages: bool,
    /// Kernel; without one it comes from the first disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<PathBuf>,
    /// Initial RAM disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initrd: Option<PathBuf>,
    /// The kernel's command line.
    pub cmdline: String,
    /// Disks, as the worker takes them.
    #[serde(default)]
    pub disks: Vec<String>,
    /// The same on IDE-class controllers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ide_disks: Vec<String>,
    /// What is in the DVD drives; nothing is in one that is an empty string.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dvds: Vec<PathBuf>,
    /// What a full store means: `fail` or `wait`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_no_space: Option<String>,
}

impl Config {
    /// What the user asked for. Files must be there; their paths become absolute.
    pub fn new(args: &CreateArgs) -> anyhow::Result<Self> {
        Ok(Self {
            cpus: args.cpus,
            memory: args.memory.clone(),
            hugepages: args.hugepages,
            kernel: args.kernel.as_deref().map(file).transpose()?,
            initrd: args.initrd.as_deref().map(file).transpose()?,
            cmdline: args.cmdline.clone(),
            disks: args.disk.iter().map(|disk| disk_option(disk)).collect::<Result<_, _>>()?,
            ide_disks: args
                .ide_disk
                .iter()
                .map(|disk| disk_option(disk))
                .collect::<Result<_, _>>()?,
            on_no_space: args.on_no_space.clone(),
            dvds: args.dvd.iter().map(|path| medium(path)).collect::<Result<_, _>>()?,
        })
    }

    /// Reads a definition.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        Ok(toml::from_str(text)?)
    }

    /// The definition as a file.
    pub fn text(&self) -> anyhow::Result<String> {
        Ok(toml::to_string_pretty(self)?)
    }

    /// The worker's command line, but for the console.
    pub fn arguments(&self, name: &Name) -> Vec<String> {
        let text = |path: &Path| path.display().to_string();
        let mut words = vec!["--name".to_owned(), name.to_string()];
        if let Some(kernel) = &self.kernel {
            words.extend(["--kernel".to_owned(), text(kernel)]);
        }
        if let Some(initrd) = &self.initrd {
            words.extend(["--initrd".to_owned(), text(initrd)]);
        }
        words.extend(["--cmdline".to_owned(), self.cmdline.clone()]);
        words.extend(["--memory".to_owned(), self.memory.clone()]);
        if self.hugepages {
            words.push("--hugepages".to_owned());
        }
        words.extend(["--cpus".to_owned(), self.cpus.to_string()]);
        words.extend(self.disks.iter().flat_map(|disk| ["--disk".to_owned(), disk.clone()]));
        words
            .extend(self.ide_disks.iter().flat_map(|disk| ["--ide-disk".to_owned(), disk.clone()]));
        words.extend(self.dvds.iter().flat_map(|path| ["--dvd".to_owned(), text(path)]));
        words.extend(
            self.on_no_space.iter().flat_map(|what| ["--on-no-space", what].map(str::to_owned)),
        );
        words
    }
}

/// An ISO image, or nothing.
fn medium(path: &Path) -> anyhow::Result<PathBuf> {
    if path.as_os_str().is_empty() { Ok(PathBuf::new()) } else { file(path) }
}

pub(super) fn file(path: &Path) -> anyhow::Result<PathBuf> {
    if !path.is_file() {
        bail!("{} is not a file", path.display());
    }
    full(path)
}

/// An image, or a block device that is used as one.
fn image(path: &Path) -> anyhow::Result<PathBuf> {
    let is_device = || path.metadata().is_ok_and(|metadata| metadata.file_type().is_block_device());
    if is_device() { full(path) } else { file(path) }
}

fn full(path: &Path) -> anyhow::Result<PathBuf> {
    absolute(path).with_context(|| path.display().to_string())
}

/// `FILE[,word...]` with an absolute path. A path may have commas: words are those the worker knows.
pub(super) fn disk_option(text: &str) -> anyhow::Result<String> {
    let mut path = text;
    while let Some((before, word)) = path.rsplit_once(',') {
        if !matches!(word, "ro" | "cached") && !word.starts_with("format=") {
            break;
        }
        path = before;
    }
    let words = text.get(path.len()..).unwrap_or_default();
    Ok(format!("{}{words}", image(Path::new(path))?.display()))
}
