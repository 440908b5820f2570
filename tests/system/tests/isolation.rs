//! The hypervisor's memory is out of the parent's reach, even of its kernel's.

use std::collections::BTreeSet;
use std::ops::Range;

use anyhow::{Context as _, Result, ensure};
use harness::{Machine, Running};
use regex::Regex;
use system_tests::{Image, Tests, busybox, on};

const LPS: u32 = 2;
const PAGE: u64 = 4096;
/// How many pages of a range are looked at, and how many bytes of each.
const PAGES: u64 = 24;
const BYTES: usize = 64;

/// All of them.
pub fn tests() -> Tests {
    let mut tests = Tests::of("isolation");
    let mut add = |name: &str, check: fn(&mut Running) -> Result<()>| {
        tests.add(name, move || on("isolation", || machine(false), check));
    };
    add("image_and_pool_are_withheld_from_the_parent", withheld);
    add("reading_the_hypervisors_memory_tells_nothing", reading);
    add("writing_the_hypervisors_memory_changes_nothing", writing);
    tests
}

fn machine(bare: bool) -> Result<Machine> {
    Ok(Machine::new().lps(LPS).memory_mib(1024).bare(bare).initrd(busybox()?))
}

/// What firmware's memory map, as the parent was given it, calls reserved.
fn reserved(parent: &mut Running) -> Result<BTreeSet<(u64, u64)>> {
    let log = parent.shell("dmesg")?.success()?;
    let entry = Regex::new(r"BIOS-e820: \[mem 0x([0-9a-f]+)-0x([0-9a-f]+)\]\s+(device )?reserved")?;
    let number = |digits: &str| u64::from_str_radix(digits, 16);
    let entries = entry.captures_iter(&log).map(|found| {
        let digits = |group| found.get(group).map_or("", |digits| digits.as_str());
        Ok((number(digits(1))?, number(digits(2))? + 1))
    });
    entries.collect()
}

/// What is reserved with the hypervisor and is not without.
fn ranges(parent: &mut Running) -> Result<Vec<Range<u64>>> {
    let without = reserved(&mut machine(true)?.name("isolation-bare").boot()?)?;
    let with = reserved(parent)?;
    Ok(with.difference(&without).map(|&(start, end)| start..end).collect())
}

fn withheld(parent: &mut Running) -> Result<()> {
    let image = Image::load()?.physical;
    let ranges = ranges(parent)?;
    ensure!(ranges.iter().any(|range| range.start <= image.start && range.end >= image.end));
    // The image, and one pool.
    ensure!(ranges.len() == 2, "{ranges:x?}");
    Ok(())
}

/// The pages that the hypervisor shares with the parent by design, in a row: hypercall page, reference time, and four for
/// each VP. The first begins with VMMCALL and RET.
fn shared(parent: &Running, range: &Range<u64>) -> Result<Range<u64>> {
    for address in range.clone().step_by(PAGE as usize) {
        if parent.qmp().physical_memory(address, 5)? == [0x0F, 0x01, 0xD9, 0xC3, 0xCC] {
            return Ok(address..address + (2 + 4 * u64::from(LPS)) * PAGE);
        }
    }
    Ok(0..0)
}

/// Pages spread over `range` that hold something that could be recognized.
fn telling_pages(parent: &Running, range: &Range<u64>) -> Result<Vec<(u64, Vec<u8>)>> {
    let count = (range.end - range.start) / PAGE;
    let shared = shared(parent, range)?;
    let mut pages = Vec::new();
    for index in (0..count).step_by(count.div_ceil(PAGES * 4) as usize) {
        let address = range.start + index * PAGE;
        let bytes = parent.qmp().physical_memory(address, BYTES)?;
        let different: BTreeSet<_> = bytes.iter().collect();
        if different.len() >= 4 && !shared.contains(&address) {
            pages.push((address, bytes));
        }
    }
    pages.truncate(PAGES as usize);
    Ok(pages)
}

fn reading(parent: &mut Running) -> Result<()> {
    let mut looked_at = 0;
    for range in ranges(parent)? {
        for (address, content) in telling_pages(parent, &range)? {
            let page = address / PAGE;
            let read = format!(
                "dd if=/dev/mem bs=4096 skip={page} count=1 2>/dev/null | od -v -An -tx1 -N{BYTES}"
            );
            let words = parent.shell(&read)?.text;
            let seen: Vec<u8> = words
                .split_whitespace()
                .filter_map(|word| u8::from_str_radix(word, 16).ok())
                .collect();
            ensure!(seen != content, "{address:#x} can be read: {seen:x?}");
            // What it reads instead, if anything, is the same nothing everywhere.
            let different: BTreeSet<_> = seen.iter().collect();
            ensure!(different.len() <= 1, "{address:#x} reads as {seen:x?}");
            looked_at += 1;
        }
    }
    ensure!(looked_at >= 8, "only {looked_at} pages could be told apart");
    // Other memory can be read that way: the test would see the content.
    let vectors = parent.shell("dd if=/dev/mem bs=4096 skip=240 count=1 2>/dev/null | wc -c")?;
    ensure!(vectors.success()?.trim() == "4096");
    alive(parent)
}

fn writing(parent: &mut Running) -> Result<()> {
    let image = Image::load()?.physical;
    for range in ranges(parent)? {
        for (address, content) in telling_pages(parent, &range)?.into_iter().take(8) {
            // Refused or lost, it has no effect. The hypervisor's own data may change by itself: its code does not.
            let write = format!("devmem {address:#x} 32 0x5a454d49");
            parent.shell(&write)?;
            let now = parent.qmp().physical_memory(address, BYTES)?;
            ensure!(
                now.get(..4) != Some(&0x5A45_4D49_u32.to_le_bytes()),
                "{address:#x} was written"
            );
            ensure!(now == content || !image.contains(&address), "{address:#x} changed");
        }
    }
    alive(parent)
}

fn alive(parent: &mut Running) -> Result<()> {
    let sum = parent.shell("seq 1 1000 | md5sum")?.success()?;
    sum.starts_with("53d025127ae99ab79e8502aae2d9bea6")
        .then_some(())
        .context("the parent computes wrong")?;
    ensure!(parent.exit_status().is_none());
    Ok(())
}
