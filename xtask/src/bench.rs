//! `bench`: what Zemin costs, in instructions: the same guests on the bare emulated machine, as Zemin's parent and as its
//! children.
//!
//! All machines run with `-icount shift=0`, so that the guest's time-stamp counter counts instructions:
//! the figures depend neither on the host nor on its load. What is measured: `image/bench/init.c` by Linux guests,
//! `tests/guests/src/tests/measure.rs` by the test kernel, `image/bench/disk.c` by
//! a Linux guest with a disk, `image/bench/stopwatch.c` by a parent.

mod disk;
mod figures;
mod guests;
mod machines;
mod peers;
mod table;

use std::fs;

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;

use crate::build;
use crate::context::Context;
use disk::DiskLine;
use guests::Guests;
use table::{ChildLine, Misses, ParentLine};

/// How to measure.
#[derive(Args)]
pub struct Options {
    /// Only the bare machine
    #[arg(long)]
    bare_only: bool,
    /// Only children and the bare machine that they are compared with
    #[arg(long, conflicts_with = "bare_only")]
    children_only: bool,
    /// Only a child's disk
    #[arg(long, conflicts_with_all = ["bare_only", "children_only"])]
    disk_only: bool,
    /// Fail if a goal is missed
    #[arg(long)]
    check: bool,
}

/// What `out/bench.json` holds.
#[derive(Default, Serialize)]
struct Report {
    parent: Vec<ParentLine>,
    children: Vec<ChildLine>,
    disk: Vec<DiskLine>,
    /// With the child's memory in huge pages.
    disk_huge: Vec<DiskLine>,
}

/// Measures, prints tables, and leaves `out/bench.json`.
pub fn run(context: &Context, options: &Options) -> Result<()> {
    let build =
        build::Options { without_hypervisor: options.bare_only, ..build::Options::default() };
    let artefacts = build::run(context, &build)?;
    let guests = Guests::make(context, &artefacts)?;
    let mut report = Report::default();
    if !options.children_only && !options.disk_only {
        let bare = machines::parent(context, &guests, true)?;
        let zemin =
            if options.bare_only { None } else { Some(machines::parent(context, &guests, false)?) };
        report.parent = table::compare_parent(&bare, zemin.as_ref());
        print!("{}", table::parent_table(&report.parent));
    }
    if !options.bare_only && !options.disk_only {
        let metal = machines::metal(context, &artefacts, &guests)?;
        let children = machines::children(context, &artefacts, &guests)?;
        report.children = table::compare_children(&metal, &children);
        print!("{}", table::child_table(&report.children));
    }
    if !options.bare_only {
        let metal = machines::disk_metal(context, &guests)?;
        let (child, copies) = machines::disk(context, &guests, false)?;
        report.disk = disk::compare(&metal, &child);
        let title = "a child's disk, on a RAM disk of the parent";
        print!("{}", disk::table(title, &report.disk, copies));
        let (child, copies) = machines::disk(context, &guests, true)?;
        report.disk_huge = disk::compare(&metal, &child);
        print!("{}", disk::table("with its memory in huge pages", &report.disk_huge, copies));
    }
    fs::write(context.out.join("bench.json"), serde_json::to_string_pretty(&report)? + "\n")?;
    let missed = report.missed();
    if options.check && !missed.is_empty() {
        bail!("goals missed: {}", missed.join(", "));
    }
    Ok(())
}

impl Report {
    fn missed(&self) -> Vec<String> {
        let parent =
            self.parent.iter().filter_map(Misses::missed).map(|name| format!("{name} (parent)"));
        let children = self.children.iter().filter_map(Misses::missed).map(str::to_owned);
        let disk = self.disk.iter().filter_map(Misses::missed).map(str::to_owned);
        let huge = self.disk_huge.iter().filter_map(Misses::missed);
        let huge = huge.map(|name| format!("{name} (huge pages)"));
        parent.chain(children).chain(disk).chain(huge).collect()
    }
}
