//! `lint`: formatting, and clippy for the host and for the freestanding target.

use std::process::Command;

use anyhow::Result;

use crate::context::Context;
use crate::guests;
use crate::step::visible;
use crate::target::Freestanding;
use crate::workspace::{Package, Workspace, select};

/// Runs all of it; any warning is an error.
pub fn run(context: &Context) -> Result<()> {
    format(context)?;
    let workspace = Workspace::read(context)?;
    let mut host = clippy(context, &workspace, Package::is_for_host);
    visible(host.args(["--all-targets", "--", "-D", "warnings"]))?;
    let target = Freestanding::prepare(context)?;
    let mut bare = clippy(context, &workspace, Package::is_freestanding);
    target.apply(&mut bare);
    visible(bare.args(["--", "-D", "warnings"]))?;
    if !workspace.has(guests::PACKAGE) {
        return Ok(());
    }
    let mut kernel = clippy(context, &workspace, |package| package.name == guests::PACKAGE);
    target.apply(&mut kernel);
    visible(kernel.args(["--lib", "--bin", guests::KERNEL, "--", "-D", "warnings"]))
}

/// Checks that rustfmt would change nothing.
pub fn format(context: &Context) -> Result<()> {
    visible(Command::new("cargo").current_dir(&context.root).args(["fmt", "--all", "--check"]))
}

fn clippy(context: &Context, workspace: &Workspace, wanted: fn(&Package) -> bool) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(&context.root).arg("clippy");
    select(&mut cargo, workspace.packages.iter().filter(|package| wanted(package)));
    cargo
}
