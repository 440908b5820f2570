//! What the user may say about VMs. The doc comments are the help texts.

use super::config::Name;
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Subcommand, Debug)]
pub enum VmCommand {
    /// Define a VM
    ///
    /// What is said here goes into a file that a person can read and change: `zm vm show NAME` tells where it is.
    #[command(after_long_help = "Example:
  zm vm create web --kernel /boot/vmlinuz --initrd /boot/initrd.img \\
      --cmdline 'root=/dev/sda console=ttyS0' --disk web.vhdx --memory 1G --cpus 2 --start")]
    Create(CreateArgs),

    /// Start a VM
    Start {
        /// Which
        name: Name,
        /// Then show its console
        #[arg(short, long)]
        console: bool,
    },

    /// Stop a VM
    ///
    /// This cuts the power: what the guest has not written to its disks is lost to it. To lose nothing, shut the guest down
    /// from its own console.
    Stop {
        /// Which
        name: Name,
    },

    /// List VMs
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },

    /// Show a VM's definition and where its files are
    Show {
        /// Which
        name: Name,
    },

    /// Use a VM's console
    ///
    /// Every key is the guest's, Ctrl-C too. Ctrl-] leaves; the VM runs on.
    Console {
        /// Which
        name: Name,
    },

    /// Forget a VM
    ///
    /// Its disks stay where they are.
    Delete {
        /// Which
        name: Name,
    },
}

#[derive(Args, Debug, Clone)]
pub struct CreateArgs {
    /// Name: lower-case letters, digits and hyphens
    pub name: Name,

    /// Linux kernel to start: a bzImage, or an ELF file with a PVH entry
    #[arg(long, value_name = "FILE")]
    pub kernel: PathBuf,

    /// Initial RAM disk
    #[arg(long, value_name = "FILE")]
    pub initrd: Option<PathBuf>,

    /// The kernel's command line
    #[arg(long, value_name = "STRING", default_value = "root=/dev/sda console=ttyS0")]
    pub cmdline: String,

    /// Disk image (VHDX, VHD, raw, ISO), once for each disk. Behind commas: ro, format=vhdx, vhd or raw
    #[arg(long, value_name = "FILE")]
    pub disk: Vec<String>,

    /// Memory, with unit
    #[arg(long, value_name = "SIZE", default_value = "512M")]
    pub memory: String,

    /// Virtual processors
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub cpus: u32,

    /// Start it at once
    #[arg(long)]
    pub start: bool,
}
