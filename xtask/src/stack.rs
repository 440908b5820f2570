//! The programs of the parent's user space, linked against the parent OS's C library.
//!
//! The host may run a newer release than the parent OS. So the linker is pointed at the toolbox's C
//! library (the same release as the parent's); everything else is the host's own toolchain.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::context::Context;
use crate::hypervisor::{copy, target_directory};
use crate::step::{Step, output};
use crate::toolbox::Toolbox;

const HOST: &str = "x86_64-unknown-linux-gnu";

/// Where the packages live whose binaries belong into the parent.
const PARENT: [&str; 2] = ["mgmt", "stack"];

/// Builds all binaries of `mgmt/` and `stack/` into `out/bin/`, and names them.
pub fn build(context: &Context, toolbox: &Toolbox) -> Result<Vec<PathBuf>> {
    let programs = programs(context)?;
    let directory = context.out.join("bin");
    std::fs::create_dir_all(&directory)?;
    if programs.is_empty() {
        return Ok(Vec::new());
    }
    let step = Step::begin(context, "stack", "building the parent's programs")?;
    let mut cargo = Command::new("cargo");
    cargo.current_dir(&context.root).args(["build", "--release", "--bins", "--target", HOST]);
    cargo.args(programs.iter().flat_map(|program| ["--package", &program.package]));
    let sysroot = toolbox.root().display();
    cargo.arg(format!("--config=target.{HOST}.rustflags=[\"-Clink-arg=--sysroot={sysroot}\"]"));
    step.run(&mut cargo)?;
    let built = target_directory(context)?.join(HOST).join("release");
    let mut paths = Vec::new();
    for program in programs {
        let path = directory.join(&program.name);
        copy(&built.join(&program.name), &path)?;
        paths.push(path);
    }
    step.done();
    Ok(paths)
}

struct Program {
    package: String,
    name: String,
}

fn programs(context: &Context) -> Result<Vec<Program>> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(&context.root).args(["metadata", "--format-version=1", "--no-deps"]);
    let metadata: Value = serde_json::from_str(&output(&mut cargo)?)?;
    let packages =
        metadata.get("packages").and_then(Value::as_array).context("cargo tells no packages")?;
    let inside = |package: &&Value| {
        let path = text(package, "manifest_path");
        PARENT
            .iter()
            .any(|directory| path.starts_with(&format!("{}/{directory}/", context.root.display())))
    };
    Ok(packages.iter().filter(inside).flat_map(binaries).collect())
}

fn binaries(package: &Value) -> Vec<Program> {
    let targets =
        package.get("targets").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let is_program = |target: &&Value| {
        target.get("kind").is_some_and(|kind| kind.to_string().contains("\"bin\""))
    };
    let program = |target| Program {
        package: text(package, "name").to_owned(),
        name: text(target, "name").to_owned(),
    };
    targets.iter().filter(is_program).map(program).collect()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}
