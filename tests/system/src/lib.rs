//! What the system tests share: how a test is described, machines that several tests look at, and questions to a parent.
//!
//! The tests themselves are in `tests/`, one file per subject. `cargo xtask test --only system` builds the machine and
//! runs them; `--full` adds the long ones, which show as ignored otherwise.
//!
//! What must always hold: a test asserts on what happened inside the machine (files of the parent's kernel, counters,
//! events of the emulator), waits for conditions, and never for time to pass.

mod gdb;
mod image;
mod initramfs;
mod parent;
mod refusal;
mod shared;
mod trial;

pub use gdb::{Debugged, Gdb};
pub use image::Image;
pub use initramfs::{busybox, scratch, with_programs, with_zm};
pub use parent::{
    InterruptRow, all_complaints, complaints, interrupts, interrupts_of, number, wait_until,
};
pub use refusal::{ends_in_refusal, refusal, without_exit_device};
pub use shared::on;
pub use trial::{Test, Tests, run};
