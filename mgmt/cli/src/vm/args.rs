//! What the user may say about VMs. The doc comments are the help texts.

use super::config::Name;
use super::place::{Address, Slot};
use clap::{Args, Subcommand};
use std::convert::Infallible;
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

    /// Change the disks and drives of a running VM
    ///
    /// The guest finds what is added and loses what is removed while it runs. Changes last until the worker ends; what a VM
    /// shall have at every start is in its definition.
    Disk {
        #[command(subcommand)]
        command: DiskCommand,
    },

    /// Change the SCSI controllers of a running VM
    ///
    /// Every VM has controller 0, and up to three more. A guest spreads its load over them.
    Controller {
        #[command(subcommand)]
        command: ControllerCommand,
    },

    /// Forget a VM
    ///
    /// Its disks stay where they are.
    Delete {
        /// Which
        name: Name,
    },
}

#[derive(Subcommand, Debug)]
pub enum ControllerCommand {
    /// List the SCSI controllers
    List {
        /// Of which VM
        name: Name,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },

    /// Add a controller; `zm vm disk add NAME FILE --lun N:-` puts a disk on it
    Add {
        /// To which VM
        name: Name,
    },

    /// Remove a controller with all that is on it
    ///
    /// The disks go first, and the controller when the guest is silent, at most half a minute later. Let the guest unmount
    /// its disks before.
    Remove {
        /// Of which VM
        name: Name,
        /// Which, 1 to 3
        controller: u8,
    },
}

#[derive(Subcommand, Debug)]
pub enum DiskCommand {
    /// List the disks and drives on the SCSI controllers
    List {
        /// Of which VM
        name: Name,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },

    /// Add a disk, or with --dvd a drive
    #[command(after_long_help = "Examples:
  zm vm disk add web more.vhdx             the guest finds a disk more
  zm vm disk add web old.vhd,ro --lun 5
  zm vm disk add web fast.vhdx --lun 1:-   on controller 1
  zm vm disk add web --dvd                 an empty drive")]
    Add {
        /// To which VM
        name: Name,
        /// Disk image, with words behind commas as for `zm vm create --disk`; with --dvd an ISO image, or none
        #[arg(required_unless_present = "dvd")]
        file: Option<String>,
        /// Its LUN, 0 to 63, on controller 0; or CONTROLLER:LUN, where LUN may be -: the lowest that is free
        #[arg(long, value_name = "LUN", default_value = "-")]
        lun: Slot,
        /// A DVD drive
        #[arg(long)]
        dvd: bool,
    },

    /// Remove a disk or drive
    ///
    /// As if its cable were pulled: let the guest unmount it first. Its file is closed when this returns.
    Remove {
        /// Of which VM
        name: Name,
        /// Which
        lun: Address,
    },

    /// Put an ISO image into a drive, in place of what is in it
    Insert {
        /// Of which VM
        name: Name,
        /// Which drive
        lun: Address,
        /// The image
        file: PathBuf,
    },

    /// Take the medium out of a drive
    Eject {
        /// Of which VM
        name: Name,
        /// Which drive
        lun: Address,
        /// Although the guest holds it
        #[arg(long)]
        force: bool,
    },

    /// Try writes again that wait for space (`--on-no-space wait` of the worker)
    Resume {
        /// Of which VM
        name: Name,
    },
}

#[derive(Args, Debug, Clone)]
pub struct CreateArgs {
    /// Name: lower-case letters, digits and hyphens
    pub name: Name,

    /// Linux kernel to start: a bzImage, or an ELF file with a PVH entry. Without it, the one that the first disk's own system
    /// would start, and its initrd; looked for at each start
    #[arg(long, value_name = "FILE", required_unless_present_any = ["disk", "ide_disk"])]
    pub kernel: Option<PathBuf>,

    /// Initial RAM disk
    #[arg(long, value_name = "FILE", requires = "kernel")]
    pub initrd: Option<PathBuf>,

    /// The kernel's command line
    #[arg(long, value_name = "STRING", default_value = "root=/dev/sda console=ttyS0")]
    pub cmdline: String,

    /// Disk image (VHDX, VHD, raw, ISO), once for each disk. Behind commas: ro, format=vhdx, vhd or raw
    #[arg(long, value_name = "FILE")]
    pub disk: Vec<String>,

    /// Disk image on an IDE-class controller of its own, as boot disks have; up to four
    #[arg(long, value_name = "FILE")]
    pub ide_disk: Vec<String>,

    /// DVD drive, with an ISO image in it or empty
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "", value_parser = any_path)]
    pub dvd: Vec<PathBuf>,

    /// Memory, with unit
    #[arg(long, value_name = "SIZE", default_value = "512M")]
    pub memory: String,

    /// Take it from the system's pool of 2 MiB pages (/proc/sys/vm/nr_hugepages), whole at the start; the disks are served
    /// with less effort then
    #[arg(long)]
    pub hugepages: bool,

    /// Virtual processors
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub cpus: u32,

    /// When a disk's store has no space left for what the guest writes: fail the write, or let it wait until there is space
    /// and `zm vm disk resume`
    #[arg(long, value_name = "WHAT", value_parser = ["fail", "wait"])]
    pub on_no_space: Option<String>,

    /// Start it at once
    #[arg(long)]
    pub start: bool,
}

/// A path, or nothing.
fn any_path(text: &str) -> Result<PathBuf, Infallible> {
    Ok(text.into())
}
