//! The programs of the parent's user space, linked against the parent OS's C library.
//!
//! The host may run a newer release than the parent OS. So the linker is pointed at the toolbox's C
//! library (the same release as the parent's); everything else is the host's own toolchain.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::context::Context;
use crate::step::Step;
use crate::workspace::{Package, Workspace, select};
use harness::Toolbox;

/// The triple of the parent's programs.
pub const HOST: &str = "x86_64-unknown-linux-gnu";

/// Builds all programs of `mgmt/` and `stack/` into `out/bin/`, and tells where they are.
pub fn build(context: &Context, toolbox: &Toolbox) -> Result<Vec<PathBuf>> {
    let workspace = Workspace::read(context)?;
    let wanted = |package: &&Package| package.is_for_parent() && !package.programs.is_empty();
    let packages: Vec<_> = workspace.packages.iter().filter(wanted).collect();
    let directory = context.out.join("bin");
    std::fs::create_dir_all(&directory)?;
    if packages.is_empty() {
        return Ok(Vec::new());
    }
    let step = Step::begin(context, "stack", "building the parent's programs")?;
    let mut cargo = Command::new("cargo");
    cargo.current_dir(&context.root).args(["build", "--release", "--bins", "--target", HOST]);
    select(&mut cargo, packages.iter().copied());
    let sysroot = toolbox.root().display();
    cargo.arg(format!("--config=target.{HOST}.rustflags=[\"-Clink-arg=--sysroot={sysroot}\"]"));
    step.run(&mut cargo)?;
    let built = workspace.target.join(HOST).join("release");
    let mut paths = Vec::new();
    for program in packages.iter().flat_map(|package| &package.programs) {
        let (from, partial, path) =
            (built.join(program), directory.join(".partial"), directory.join(program));
        step.run(toolbox.command("usr/bin/objcopy").arg("--strip-debug").args([&from, &partial]))?;
        std::fs::rename(&partial, &path)?;
        paths.push(path);
    }
    step.done();
    Ok(paths)
}
