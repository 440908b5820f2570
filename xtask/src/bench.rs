//! `bench`: the same guest on the bare emulated machine and as Zemin's parent, side by side.
//!
//! Both machines run with `-icount shift=0`, so that the guest's time-stamp counter counts instructions:
//! the figures depend neither on the host nor on its load. See `image/bench/init.c` for what is measured.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use harness::{Artefacts, Initramfs, Machine, Nic};
use serde::Serialize;

use crate::build;
use crate::cache::Key;
use crate::context::Context;
use crate::step::Step;
use crate::toolbox;

/// Wall time that one run may take on the slowest host.
const LIMIT: Duration = Duration::from_secs(1200);

/// What may cost at most how many times as much under Zemin as on the bare machine.
const GOALS: [(&str, f64); 3] = [("cpu_loop", 1.005), ("fork_exec", 1.05), ("boot_to_init", 1.25)];

/// How to measure.
#[derive(Args)]
pub struct Options {
    /// Only the bare machine
    #[arg(long)]
    bare_only: bool,
    /// Fail if a goal is missed
    #[arg(long)]
    check: bool,
}

/// Instructions per operation, by name, in the order of measurement.
type Figures = Vec<(String, f64)>;

/// One line of the result.
#[derive(Serialize)]
struct Line {
    name: String,
    /// Instructions per operation.
    bare: f64,
    zemin: Option<f64>,
    ratio: Option<f64>,
    goal: Option<f64>,
}

/// Measures, prints a table, and leaves `out/bench.json`.
pub fn run(context: &Context, options: &Options) -> Result<()> {
    let build =
        build::Options { without_hypervisor: options.bare_only, ..build::Options::default() };
    let artefacts = build::run(context, &build)?;
    let initrd = initrd(context, &artefacts)?;
    let bare = measure(context, &initrd, true)?;
    let zemin = if options.bare_only { None } else { Some(measure(context, &initrd, false)?) };
    let lines = compare(bare, zemin);
    print!("{}", table(&lines));
    fs::write(context.out.join("bench.json"), serde_json::to_string_pretty(&lines)? + "\n")?;
    let missed: Vec<_> =
        lines.iter().filter(|line| line.misses()).map(|line| line.name.as_str()).collect();
    if options.check && !missed.is_empty() {
        bail!("goals missed: {}", missed.join(", "));
    }
    Ok(())
}

/// Compiles the guest in the toolbox and packs it.
fn initrd(context: &Context, artefacts: &Artefacts) -> Result<PathBuf> {
    let source = context.file("image/bench/init.c");
    let toolbox = toolbox::tools(context)?;
    let key = Key::new(1).file(&source)?.text(&toolbox.root().display().to_string());
    let entry = context.cache.entry("bench", &key, |partial| {
        let step = Step::begin(context, "bench-guest", "compiling the measured guest")?;
        fs::copy(&source, partial.join("init.c"))?;
        let words = [
            "gcc",
            "-O2",
            "-fno-tree-vectorize",
            "-static",
            "-Wall",
            "-Werror",
            "-o",
            "/work/init",
            "/work/init.c",
        ];
        step.run(&mut toolbox.enter(partial, &words))?;
        step.done();
        Ok(())
    })?;
    let path = artefacts.out.join("bench.cpio");
    Ok(Initramfs::new().init(fs::read(entry.join("init"))?).write(path)?)
}

fn measure(context: &Context, initrd: &Path, bare: bool) -> Result<Figures> {
    let (name, title) = if bare {
        ("bench-bare", "measuring the bare machine")
    } else {
        ("bench-zemin", "measuring under Zemin")
    };
    let step = Step::begin(context, name, title)?;
    let machine = Machine::new().name(name).bare(bare).icount(true).nic(Nic::None).initrd(initrd);
    let mut machine = machine.parent_args("quiet nokaslr").boot()?;
    machine.wait_for("bench-(?:end|error .*)\n", LIMIT)?;
    let figures = parse(&machine.console());
    machine.wait_exit(LIMIT).context("the guest does not power off")?;
    step.done();
    figures
}

/// The figures in the guest's output.
fn parse(console: &str) -> Result<Figures> {
    if let Some(line) = console.lines().find(|line| line.contains("bench-error")) {
        bail!("the guest says: {line}");
    }
    let mut figures = Figures::new();
    for line in console.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        if let ["bench", name, ticks, operations] = words.as_slice() {
            let (ticks, operations): (f64, f64) = (ticks.parse()?, operations.parse()?);
            figures.push(((*name).to_owned(), ticks / operations.max(1.0)));
        }
    }
    Ok(figures)
}

fn compare(bare: Figures, zemin: Option<Figures>) -> Vec<Line> {
    let zemin: BTreeMap<_, _> = zemin.unwrap_or_default().into_iter().collect();
    let line = |(name, bare): (String, f64)| {
        let zemin = zemin.get(&name).copied();
        let goal = GOALS.iter().find(|(other, _)| *other == name).map(|(_, goal)| *goal);
        Line { ratio: zemin.map(|zemin| zemin / bare), name, bare, zemin, goal }
    };
    bare.into_iter().map(line).collect()
}

impl Line {
    fn misses(&self) -> bool {
        matches!((self.ratio, self.goal), (Some(ratio), Some(goal)) if ratio > goal)
    }
}

fn table(lines: &[Line]) -> String {
    let mut text = format!(
        "{:18}{:>16}{:>16}{:>9}  goal\n",
        "instructions for", "bare machine", "Zemin's parent", "ratio"
    );
    for line in lines {
        let zemin = line.zemin.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
        let ratio = line.ratio.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
        let verdict = if line.misses() { "MISSED" } else { "" };
        let goal = line.goal.map_or_else(String::new, |goal| format!("<= {goal} {verdict}"));
        let row = format!("{:18}{:>16.2}{zemin:>16}{ratio:>9}  {goal}", line.name, line.bare);
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str =
        "[    0.1] booted\nbench boot_to_init 2000 1\nbench cpu_loop 1200 100\nbench-end\n";

    #[test]
    fn figures_are_per_operation() {
        let expected = [("boot_to_init".to_owned(), 2000.0), ("cpu_loop".to_owned(), 12.0)];
        assert_eq!(parse(OUTPUT).expect("figures"), expected);
    }

    #[test]
    fn guests_error_is_passed_on() {
        let error = parse("bench-error fork: no memory\n").expect_err("it failed");
        assert!(error.to_string().contains("fork: no memory"), "{error}");
    }

    #[test]
    fn missed_goal_is_marked() {
        let bare = vec![("cpu_loop".to_owned(), 12.0), ("cpuid".to_owned(), 35.0)];
        let zemin = vec![("cpu_loop".to_owned(), 13.0), ("cpuid".to_owned(), 700.0)];
        let lines = compare(bare, Some(zemin));
        let text = table(&lines);
        assert!(
            text.lines().nth(1).expect("a line").ends_with("1.0833  <= 1.005 MISSED"),
            "{text}"
        );
        assert!(text.lines().nth(2).expect("a line").ends_with("20.0000"), "{text}");
    }
}
