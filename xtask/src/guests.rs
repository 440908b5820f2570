//! The bare test kernels of `tests/guests`, into `out/guests/`: an ELF file and a bzImage of each.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::context::Context;
use crate::hypervisor::copy;
use crate::step::Step;
use crate::target::{Freestanding, TRIPLE};
use crate::workspace::Workspace;

/// The crate.
pub const PACKAGE: &str = "guests";
/// Its kernel; the other program of the crate is the host's tool that makes a bzImage of it.
pub const KERNEL: &str = "guest";

/// Builds `out/guests/guest.elf` and `out/guests/guest` (a bzImage), if the crate is there.
pub fn build(context: &Context, target: Freestanding) -> Result<PathBuf> {
    let directory = context.out.join("guests");
    std::fs::create_dir_all(&directory)?;
    let workspace = Workspace::read(context)?;
    if !workspace.has(PACKAGE) {
        return Ok(directory);
    }
    let step = Step::begin(context, "guests", "building the test kernels")?;
    let mut kernel = cargo(context, &["build", "--profile", "hv", "--bin", KERNEL]);
    target.apply(&mut kernel);
    step.run(&mut kernel)?;
    let elf = directory.join("guest.elf");
    copy(&workspace.target.join(TRIPLE).join("hv").join(KERNEL), &elf)?;
    let mut pack = cargo(context, &["run", "--quiet", "--bin", "pack", "--"]);
    step.run(pack.args([&elf, &directory.join(KERNEL)]))?;
    step.done();
    Ok(directory)
}

fn cargo(context: &Context, words: &[&str]) -> Command {
    let mut cargo = Command::new("cargo");
    let (subcommand, rest) = words.split_first().unwrap_or((&"build", &[]));
    cargo.current_dir(&context.root).args([subcommand, "--package", PACKAGE]).args(rest);
    cargo
}
