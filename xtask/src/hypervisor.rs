//! The hypervisor, from crate `zemin` to `out/zemin`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::context::Context;
use crate::step::Step;
use crate::target::{Freestanding, TRIPLE};
use crate::workspace::Workspace;
use harness::Toolbox;

/// Builds the hypervisor: `out/zemin` without, `out/zemin.debug` with symbols and line tables.
pub fn build(context: &Context, target: Freestanding, toolbox: &Toolbox) -> Result<PathBuf> {
    let step = Step::begin(
        context,
        "zemin",
        &format!("building the hypervisor with {}", target.describe()),
    )?;
    let mut cargo = Command::new("cargo");
    cargo.current_dir(&context.root).args(["build", "--package", "zemin", "--profile", "hv"]);
    target.apply(&mut cargo);
    step.run(&mut cargo)?;
    let built = Workspace::read(context)?.target.join(TRIPLE).join("hv/zemin");
    let debug = context.out.join("zemin.debug");
    let stripped = context.out.join("zemin");
    copy(&built, &debug)?;
    let partial = context.out.join(".zemin.partial");
    step.run(toolbox.command("usr/bin/objcopy").arg("--strip-all").args([&debug, &partial]))?;
    std::fs::rename(&partial, &stripped)?;
    step.done();
    Ok(stripped)
}

/// Copies a file so that its reader never sees half of it.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let partial = to.with_extension("partial");
    std::fs::copy(from, &partial)
        .with_context(|| format!("cannot copy {} to {}", from.display(), partial.display()))?;
    std::fs::rename(&partial, to)
        .with_context(|| format!("cannot move {} into place", to.display()))
}
