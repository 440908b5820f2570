//! `zm disk`: make, look into, check, resize, compact and convert disk images.
//!
//! The work is the `disk` crate's; here are the words for it, progress for what takes long, and texts for people.

pub mod args;
mod progress;
mod report;
mod size;

use ::disk::{CreateOptions, Disk, Format, OpenOptions, SectorSizes, Shrink};
use args::{
    CheckOptions, ConvertOptions, CreateArgs, DiskCommand, FileOptions, Layout, ResizeOptions,
};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Does what was said.
pub fn run(command: &DiskCommand, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    match command {
        DiskCommand::Create(options) => create(options, out)?,
        DiskCommand::Info(options) => info(options, out)?,
        DiskCommand::Check(options) => return check(options, out),
        DiskCommand::Resize(options) => resize(options, out)?,
        DiskCommand::Compact(options) => compact(options, out)?,
        DiskCommand::Convert(options) => convert(options, out)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn open(
    path: &Path,
    format: Option<args::FormatName>,
    read_only: bool,
) -> anyhow::Result<Box<dyn Disk>> {
    let format = format.map(Format::from);
    let options = OpenOptions { read_only, format, ..OpenOptions::default() };
    Ok(::disk::open_file(path, &options)?)
}

fn create_options(layout: &Layout) -> CreateOptions {
    CreateOptions {
        format: layout.format.map(Format::from),
        block_size: layout.block_size.map(|size| size.0),
        fixed: layout.fixed,
        overwrite: layout.force,
        ..CreateOptions::default()
    }
}

fn create(options: &CreateArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let sectors = match (options.sector_size, options.physical_sector_size) {
        (None, None) => None,
        (logical, physical) => Some(SectorSizes {
            logical: logical.unwrap_or(512),
            physical: physical.unwrap_or(4096),
        }),
    };
    let made = CreateOptions {
        size: options.size.map(|size| size.0),
        sectors,
        parent: options.parent.clone(),
        ..create_options(&options.layout)
    };
    ::disk::create_file(&options.file, &made)?;
    let disk = open(&options.file, options.layout.format, true)?;
    writeln!(out, "{}: {}", options.file.display(), report::line(&*disk))?;
    Ok(())
}

fn info(options: &FileOptions, out: &mut dyn Write) -> anyhow::Result<()> {
    let disk = open(&options.file, options.format, true)?;
    let report = report::Report::of(&*disk, &options.file)?;
    writeln!(out, "{}", if options.json { report.json() } else { report.text() })?;
    Ok(())
}

/// Opening checks every structure, so what is left to say is what it noticed.
fn check(options: &CheckOptions, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let mut disk = open(&options.file, options.format, !options.repair)?;
    let mut remarks = disk.describe().remarks;
    if options.repair {
        ::disk::repair(&*disk)?;
        drop(disk);
        disk = open(&options.file, options.format, true)?;
        for remark in remarks.drain(..) {
            writeln!(out, "repaired: {remark}")?;
        }
        remarks = disk.describe().remarks;
    }
    for remark in &remarks {
        writeln!(out, "problem: {remark}")?;
    }
    if !remarks.is_empty() {
        writeln!(
            out,
            "{}: usable; `zm disk check --repair` sets it right",
            options.file.display()
        )?;
        return Ok(ExitCode::FAILURE);
    }
    writeln!(out, "{}: sound ({})", options.file.display(), report::line(&*disk))?;
    Ok(ExitCode::SUCCESS)
}

fn resize(options: &ResizeOptions, out: &mut dyn Write) -> anyhow::Result<()> {
    let disk = open(&options.file, options.format, false)?;
    let size = options.size.of(disk.size())?;
    if size < disk.size() && !options.shrink {
        let (size, now) = (crate::output::bytes(size), crate::output::bytes(disk.size()));
        anyhow::bail!(
            "{}: cutting it down from {now} to {size} loses what is beyond: say --shrink if you mean it",
            options.file.display()
        );
    }
    let shrink = if options.shrink { Shrink::Allow } else { Shrink::Refuse };
    let named = |error: ::disk::Error| error.in_file(&options.file);
    disk.resize(size, shrink).map_err(named)?;
    disk.close().map_err(named)?;
    writeln!(out, "{}: {}", options.file.display(), report::line(&*disk))?;
    Ok(())
}

fn compact(options: &args::CompactOptions, out: &mut dyn Write) -> anyhow::Result<()> {
    let before = report::occupied(&options.file)?;
    let bar = progress::Bar::new("compacting");
    ::disk::compact(&options.file, options.format.map(Format::from), &mut bar.listener())?;
    bar.finish();
    let after = report::occupied(&options.file)?;
    let name = options.file.display();
    let (before, after) = (crate::output::bytes(before), crate::output::bytes(after));
    writeln!(out, "{name}: takes {after}, took {before}")?;
    Ok(())
}

fn convert(options: &ConvertOptions, out: &mut dyn Write) -> anyhow::Result<()> {
    let source = open(&options.source, options.source_format, true)?;
    let bar = progress::Bar::new("copying");
    let made = create_options(&options.layout);
    ::disk::convert(&*source, &options.target, &made, &mut bar.listener())?;
    bar.finish();
    let disk = open(&options.target, options.layout.format, true)?;
    writeln!(out, "{}: {}", options.target.display(), report::line(&*disk))?;
    Ok(())
}

#[cfg(test)]
mod tests;
