//! What the user may say about disks. The doc comments are the help texts.

use super::size::{NewSize, Size};
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

#[derive(Subcommand, Debug)]
pub enum DiskCommand {
    /// Make an empty disk image
    ///
    /// The file's name says the format: .vhdx (the best choice), .vhd, or .img and .raw for raw. An image is dynamic unless
    /// --fixed is given: its file grows as the disk is written to.
    #[command(after_long_help = "Examples:
  zm disk create web.vhdx --size 40G               a dynamic disk
  zm disk create db.vhdx --size 40G --fixed        all space taken now
  zm disk create test.vhdx --parent web.vhdx       changes only, over web.vhdx
  zm disk create big.vhdx --size 1T --sector-size 4096

A parent must not be written to while it has children: they are refused afterwards.")]
    Create(CreateArgs),

    /// Show what an image is and how full
    Info(FileOptions),

    /// Check every structure of an image
    ///
    /// An image that a power loss left behind is usable; its log is replayed when a VM starts, or with --repair now.
    #[command(after_long_help = "Exit status: 0 when the image is sound, 1 otherwise.")]
    Check(CheckOptions),

    /// Make a disk larger, or smaller with --shrink
    ///
    /// New space is zero; partitions and file systems are for the guest to grow. A power loss leaves the old size or the
    /// new one.
    #[command(after_long_help = "Examples:
  zm disk resize web.vhdx 80G           to 80 GiB
  zm disk resize web.vhdx +10G          by 10 GiB
  zm disk resize web.vhdx 20G --shrink  cuts off what is beyond, whatever it holds")]
    Resize(ResizeOptions),

    /// Give back the space that an image takes without need
    ///
    /// Writes the image anew beside itself, without what is free or zero, and then takes its place; until then it is
    /// untouched. Needs room for the new file. The guest can help before: `fstrim -a`.
    Compact(CompactOptions),

    /// Copy a disk into another format or kind
    ///
    /// Copies what the disk shows, its parents' part included. Zeros take no space in the copy, unless it is fixed.
    #[command(after_long_help = "Examples:
  zm disk convert debian.img debian.vhdx         raw to dynamic VHDX
  zm disk convert old.vhd new.vhdx --fixed
  zm disk convert child.vhdx all.vhdx            child and parents in one")]
    Convert(ConvertOptions),
}

#[derive(Args, Debug, Clone)]
pub struct Layout {
    /// The format, where the name does not say it
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<FormatName>,

    /// Take all space at once
    #[arg(long)]
    pub fixed: bool,

    /// How much is allocated at once: 1M to 256M for VHDX (32M unless given, 2M with a parent), 2M for VHD
    #[arg(long, value_name = "SIZE")]
    pub block_size: Option<Size>,

    /// Replace a file that is there
    #[arg(long)]
    pub force: bool,
}

#[derive(Args, Debug)]
pub struct CreateArgs {
    /// The new file
    pub file: PathBuf,

    /// Size of the disk: bytes, or with K, M, G or T
    #[arg(short, long, value_name = "SIZE", required_unless_present = "parent")]
    pub size: Option<Size>,

    /// Make a differencing disk: what it does not have itself is in PARENT
    #[arg(long, value_name = "PARENT", conflicts_with = "fixed")]
    pub parent: Option<PathBuf>,

    /// Logical sector size, which the guest addresses by: 512 or 4096 (VHDX and raw)
    #[arg(long, value_name = "BYTES", value_parser = sector)]
    pub sector_size: Option<u32>,

    /// Physical sector size, which the guest aligns to: 512 or 4096
    #[arg(long, value_name = "BYTES", value_parser = sector)]
    pub physical_sector_size: Option<u32>,

    #[command(flatten)]
    pub layout: Layout,
}

fn sector(text: &str) -> Result<u32, String> {
    match text {
        "512" => Ok(512),
        "4096" => Ok(4096),
        _ => Err("a sector has 512 or 4096 bytes".to_owned()),
    }
}

#[derive(Args, Debug)]
pub struct FileOptions {
    /// The image
    pub file: PathBuf,

    /// The format, where the name does not say it
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<FormatName>,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct CheckOptions {
    /// The image
    pub file: PathBuf,

    /// The format, where the name does not say it
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<FormatName>,

    /// Replay the log and write anew what is there twice and damaged once
    #[arg(long)]
    pub repair: bool,
}

#[derive(Args, Debug)]
pub struct ResizeOptions {
    /// The image
    pub file: PathBuf,

    /// The new size: bytes, or with K, M, G or T; with + or - in front, the difference
    #[arg(allow_hyphen_values = true)]
    pub size: NewSize,

    /// Let the disk become smaller: what is beyond the new end is lost
    #[arg(long)]
    pub shrink: bool,

    /// The format, where the name does not say it
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<FormatName>,
}

#[derive(Args, Debug)]
pub struct CompactOptions {
    /// The image
    pub file: PathBuf,

    /// The format, where the name does not say it
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<FormatName>,
}

#[derive(Args, Debug)]
pub struct ConvertOptions {
    /// The image to copy
    pub source: PathBuf,

    /// The new file
    pub target: PathBuf,

    /// The source's format, where its name does not say it
    #[arg(long, value_name = "FORMAT")]
    pub source_format: Option<FormatName>,

    #[command(flatten)]
    pub layout: Layout,
}

/// Formats by name.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatName {
    /// The disk's bytes and nothing else
    Raw,
    /// Virtual Hard Disk, up to 2040 GiB
    Vhd,
    /// Virtual Hard Disk v2, up to 64 TiB
    Vhdx,
}

impl From<FormatName> for ::disk::Format {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Raw => Self::Raw,
            FormatName::Vhd => Self::Vhd,
            FormatName::Vhdx => Self::Vhdx,
        }
    }
}
