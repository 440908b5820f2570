//! Boots the whole machine in an emulator and talks to it.
//!
//! ```no_run
//! use std::time::Duration;
//! use harness::{Disk, Machine};
//!
//! let mut machine = Machine::new().lps(2).disk(Disk::Nvme).boot()?;
//! assert!(machine.shell("dmesg")?.success()?.contains("Hyper-V: running as root partition"));
//! machine.start("poweroff")?;
//! machine.wait_exit(Duration::from_secs(60))?;
//! # Ok::<(), harness::Error>(())
//! ```
//!
//! A [`Machine`] is a description; [`Machine::boot`] makes it a [`Running`] one, which is killed when it is
//! dropped. The first serial port is the console: the hypervisor and the kernel write there, and
//! [`Running::wait_for`] watches it. The second serial port carries a plain shell on which no kernel
//! message ever appears: [`Running::shell`] gets exact output and exit status from it. A third channel
//! is QEMU's own monitor ([`Running::qmp`]).
//!
//! What must always hold: every wait is for a condition, bounded by a wall-clock limit that a healthy machine never
//! comes near, and ends at once when the emulator is gone; nothing waits for time to pass.
//! `ZEMIN_TIME_SCALE` multiplies all limits on slow hosts.
//!
//! What to boot is found in `out/`, where `cargo xtask build` left it ([`Artefacts`]). Logs of each machine
//! stay in `out/test-logs/<test>/`.

mod artefacts;
mod channel;
mod command;
mod console;
mod error;
mod initramfs;
mod iso;
mod limit;
mod machine;
mod qmp;
mod running;
mod shell;
mod toolbox;

pub use artefacts::Artefacts;
pub use console::{Console, WaitError};
pub use error::{Error, Result};
pub use initramfs::Initramfs;
pub use iso::Iso;
pub use machine::{Disk, Machine, Media, Nic, OnReset, Parent};
pub use qmp::Qmp;
pub use running::{Exit, Running, quoted};
pub use shell::Output;
pub use toolbox::Toolbox;
