//! The workspace's doors: `cargo xtask build | up | run | test | bench | lint | doctor | clean`.
//!
//! Each does all of its set-up itself. The host needs cargo and mmdebstrap (which root gets installed
//! automatically); everything else comes from Debian's packages into a cache outside the tree:
//!
//! ```text
//! image/toolbox/packages ─→ toolbox ─┬─→ kernel ←─ linux-source, image/parent/{kernel.config,build-kernel.sh}
//!                                    │     └──────────────→ out/parent/vmlinuz
//! mgmt/ stack/ (cargo) ─→ out/bin/ ──┤     └─ modules ─┐
//! image/parent/{packages,customize.sh} ─→ base ────────┴─→ out/parent/rootfs.img ←─ image/parent/overlay/
//! hv/zemin (cargo, freestanding) ────────────────────────→ out/zemin
//! ```
//!
//! An entry of the cache is named by the hash of its inputs and appears only when it is complete, so a
//! run that was interrupted is simply started again. `out/machine.json` tells the harness what to boot.

mod bench;
mod build;
mod cache;
mod children;
mod clean;
mod context;
mod debian;
mod doctor;
mod guests;
mod hypervisor;
mod kernel;
mod layers;
mod lint;
mod qemu;
mod rootfs;
mod run;
mod stack;
mod step;
mod target;
mod test;
mod toolbox;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::context::Context;

/// Build, run, test and measure Zemin. Everything is set up as needed.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    door: Door,
}

#[derive(Subcommand)]
enum Door {
    /// Build the hypervisor, the root kernel and the parent OS into out/
    Build(build::Options),
    /// Build everything, then boot the machine on this terminal
    Up(run::Options),
    /// Boot the machine that was built, on this terminal
    Run(run::Options),
    /// Run the tests; builds what they need
    Test(test::Options),
    /// Measure, in instructions: bare machine and Zemin side by side
    Bench(bench::Options),
    /// Check formatting and lints; any warning is an error
    Lint,
    /// Tell what this machine has and lacks to build and run Zemin
    Doctor,
    /// Remove what was built
    Clean(clean::Options),
}

fn main() -> ExitCode {
    match enter(Cli::parse().door) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let causes: Vec<_> = error.chain().map(ToString::to_string).collect();
            eprintln!("error: {}", causes.join("\n  because: "));
            ExitCode::FAILURE
        }
    }
}

fn enter(door: Door) -> Result<()> {
    let context = Context::new()?;
    match door {
        Door::Build(options) => build::run(&context, &options).map(drop),
        Door::Up(options) => run::run(&build::run(&context, &build::Options::default())?, &options),
        Door::Run(options) => run::run(&harness::Artefacts::load()?, &options),
        Door::Test(options) => test::run(&context, &options),
        Door::Bench(options) => bench::run(&context, &options),
        Door::Lint => lint::run(&context),
        Door::Doctor => doctor::run(&context),
        Door::Clean(options) => clean::run(&context, &options),
    }
}
