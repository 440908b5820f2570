//! `test`: the whole suite, in parts that can be run one by one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use crate::build;
use crate::children;
use crate::context::Context;
use crate::debian;
use crate::step::visible;
use crate::target::Freestanding;
use crate::toolbox;
use crate::workspace::{Package, SYSTEM_TESTS, Workspace, select};

/// How many random cases a property is tried with, unless it says itself: proptest reads it.
const CASES: &str = "PROPTEST_CASES";
/// In every run; with --full as many as proptest thinks right.
const FEW_CASES: &str = "64";
/// A part of the suite, in the order in which they run.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Unit, property and documentation tests of every crate that the host can run
    Unit,
    /// Every crate of abi/, logic/ and hv/ compiles without an operating system below it
    Freestanding,
    /// Each fuzzer for a few seconds, or as long as --fuzz-time says
    Fuzz,
    /// The whole machine in the emulator (tests/system); builds it first
    System,
}

/// Which tests to run.
#[derive(Args)]
pub struct Options {
    /// Also the long ones: many boots, all combinations of devices, long loads
    #[arg(long)]
    full: bool,
    /// Only this part (may be given several times)
    #[arg(long, value_enum, value_name = "PART")]
    only: Vec<Part>,
    /// Seconds for each fuzzer; what it finds worth keeping is in target/fuzz-corpus
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    fuzz_time: u32,
    /// List the parts and the system tests instead of running them
    #[arg(long)]
    list: bool,
    /// Only tests whose name contains this (unit and system tests, fuzzers)
    filter: Option<String>,
}

/// Runs the chosen parts; stops at the first that fails.
pub fn run(context: &Context, options: &Options) -> Result<()> {
    if options.list {
        return list(context);
    }
    for part in Part::value_variants() {
        if options.only.is_empty() || options.only.contains(part) {
            let start = Instant::now();
            println!("==> tests: {}", name(*part));
            run_part(context, *part, options)
                .with_context(|| format!("tests: {} failed", name(*part)))?;
            println!("==> tests: {} passed in {:.0} s", name(*part), start.elapsed().as_secs_f64());
        }
    }
    Ok(())
}

fn name(part: Part) -> String {
    part.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn list(context: &Context) -> Result<()> {
    for value in Part::value_variants().iter().filter_map(ValueEnum::to_possible_value) {
        println!(
            "{:14} {}",
            value.get_name(),
            value.get_help().map(ToString::to_string).unwrap_or_default()
        );
    }
    match Workspace::read(context)?.has(SYSTEM_TESTS) {
        true => visible(system_tests(context).args(["--", "--list"])),
        false => Ok(()),
    }
}

fn run_part(context: &Context, part: Part, options: &Options) -> Result<()> {
    match part {
        Part::Unit => unit(context, options),
        Part::Freestanding => freestanding(context),
        Part::Fuzz => fuzz(context, options),
        Part::System => system(context, options),
    }
}

fn unit(context: &Context, options: &Options) -> Result<()> {
    let workspace = Workspace::read(context)?;
    let mut cargo = Command::new("cargo");
    cargo.current_dir(&context.root).arg("test");
    let wanted = |package: &&Package| package.is_for_host() && package.name != SYSTEM_TESTS;
    select(&mut cargo, workspace.packages.iter().filter(wanted));
    if !options.full && std::env::var_os(CASES).is_none() {
        cargo.env(CASES, FEW_CASES);
    }
    cargo.env("ZEMIN_QEMU_IMG", qemu_img(context)?);
    visible(cargo.args(&options.filter))
}

/// A program that the tests of disk images take for their judge: the toolbox's qemu-img under one name.
fn qemu_img(context: &Context) -> Result<PathBuf> {
    let command = toolbox::qemu(context)?.command("usr/bin/qemu-img");
    let text = |word: &std::ffi::OsStr| word.to_string_lossy().into_owned();
    let variables = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={}", text(name), text(value?))));
    let words: Vec<String> = ["exec".to_owned(), "env".to_owned()]
        .into_iter()
        .chain(variables)
        .chain([text(command.get_program())])
        .chain(command.get_args().map(text))
        .collect();
    let path = context.out.join("qemu-img");
    fs::write(&path, format!("#!/bin/sh\n{} \"$@\"\n", harness::quoted(&words)))
        .with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

fn freestanding(context: &Context) -> Result<()> {
    let workspace = Workspace::read(context)?;
    let mut cargo = Command::new("cargo");
    cargo.current_dir(&context.root).args(["build", "--profile", "hv"]);
    select(&mut cargo, workspace.packages.iter().filter(|package| package.is_freestanding()));
    Freestanding::prepare(context)?.apply(&mut cargo);
    visible(&mut cargo)
}

fn system(context: &Context, options: &Options) -> Result<()> {
    if !Workspace::read(context)?.has(SYSTEM_TESTS) {
        bail!("there is no crate {SYSTEM_TESTS}");
    }
    let artefacts = build::run(context, &build::Options::default())?;
    children::for_tests(context, &harness::Toolbox::at(artefacts.toolbox))?;
    let mut cargo = system_tests(context);
    if options.full {
        cargo.env("ZEMIN_FULL", "1");
    }
    // One machine at a time: each uses all host processors, and limits are for a machine that runs alone.
    visible(cargo.arg("--").args(&options.filter).arg("--test-threads=1"))
}

fn system_tests(context: &Context) -> Command {
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(&context.root)
        .args(["test", "--package", SYSTEM_TESTS])
        .env("ZEMIN_OUT", &context.out);
    cargo
}

/// What `cargo fuzz` passes, without the sanitizers: those need a nightly compiler, and safe code little of them.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Ccodegen-units=1";

/// Runs each `<crate>/fuzz` with libFuzzer, from the corpus in the tree.
fn fuzz(context: &Context, options: &Options) -> Result<()> {
    if which::which("c++").is_err() {
        // libFuzzer is C++.
        debian::install(context, "g++", "g++")?;
    }
    let workspace = Workspace::read(context)?;
    let time = format!("-max_total_time={}", options.fuzz_time);
    let is_wanted = |target: &str| options.filter.as_ref().is_none_or(|name| target.contains(name));
    let wanted = fuzzers(context, &workspace)?;
    for Fuzzer { directory, target } in wanted.into_iter().filter(|one| is_wanted(&one.target)) {
        let found = workspace.target.join("fuzz-corpus").join(&target);
        std::fs::create_dir_all(&found)?;
        let mut cargo = Command::new("cargo");
        cargo.current_dir(&directory).env("RUSTFLAGS", COVERAGE);
        // All fuzzers share what they are built from.
        cargo.env("CARGO_TARGET_DIR", workspace.target.join("fuzz"));
        cargo.args(["run", "--quiet", "--release", "--target", "x86_64-unknown-linux-gnu"]);
        let artifacts = directory.join("artifacts").join(&target);
        std::fs::create_dir_all(&artifacts)?;
        let artifacts = format!("-artifact_prefix={}/", artifacts.display());
        cargo
            .args(["--bin", &target, "--", &artifacts, &time, "-max_len=4096", "-verbosity=0"])
            .arg(found);
        visible(cargo.arg(directory.join("corpus").join(&target)))?;
    }
    Ok(())
}

struct Fuzzer {
    directory: PathBuf,
    target: String,
}

/// The `fuzz_targets/*.rs` of every `fuzz/` directory inside a package.
fn fuzzers(context: &Context, workspace: &Workspace) -> Result<Vec<Fuzzer>> {
    let mut found = Vec::new();
    for package in &workspace.packages {
        let directory = context.root.join(&package.directory).join("fuzz");
        let Ok(targets) = std::fs::read_dir(directory.join("fuzz_targets")) else { continue };
        for target in targets {
            let path = target?.path();
            let is_rust = path.extension().is_some_and(|extension| extension == "rs");
            if let Some(stem) = path.file_stem().filter(|_| is_rust) {
                let target = stem.to_string_lossy().into_owned();
                // libFuzzer insists that the directories it is given exist.
                std::fs::create_dir_all(directory.join("corpus").join(&target))?;
                found.push(Fuzzer { directory: directory.clone(), target });
            }
        }
    }
    found.sort_by(|a, b| (&a.directory, &a.target).cmp(&(&b.directory, &b.target)));
    Ok(found)
}
