//! Questions to a Linux that runs as the parent.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use harness::Running;
use regex::Regex;

/// Kernel messages that tell of something wrong.
const COMPLAINT: &str = r"(?i)\b(warning|bug|oops|panic|lockup|stalls?|stalled|hung|corrupt(ed)?|inconsistent|error|fail(ed|ure|s)?|unable|cannot|timed out|timeout|nobody cared|unchecked|call trace|invalid|bogus|broken|unexpected|spurious|hv_status)\b";

/// Messages that match and tell of nothing wrong, each with the reason.
const ALLOWED: [(&str, &str); 4] = [
    (r"(Kernel c|C)ommand line: .*\bpanic=", "the harness's own option"),
    (
        r"clocksource: Watchdog remote CPU \d+ read timed out",
        "the emulator's processors share the host's; the bare machine says it now and then, too",
    ),
    (
        r"ACPI: Unable to map lapic to logical cpu number",
        "the firmware's AML has the processor that boots and then rests; where it is not used the kernel is not told of it",
    ),
    (
        r"MTRR settings|probably your BIOS does not setup all CPUs",
        "the emulator's processors forget their MTRRs on INIT; the bare machine says it from 2 processors on",
    ),
];

/// What is wrong in the kernel's log of `parent`, and is not so on the bare machine with the same kernel.
pub fn complaints(parent: &mut Running, on_bare: &[String]) -> Result<Vec<String>> {
    let mut lines = all_complaints(parent)?;
    lines.retain(|line| !on_bare.contains(line));
    Ok(lines)
}

/// All lines of the kernel's log that tell of something wrong, without their time stamps. What programs write there is
/// not the kernel's.
pub fn all_complaints(parent: &mut Running) -> Result<Vec<String>> {
    let text = parent.shell("dmesg")?.success()?;
    let (stamp, complaint) = (Regex::new(r"^\[ *[0-9.]+\] ")?, Regex::new(COMPLAINT)?);
    let allowed = ALLOWED.iter().map(|(pattern, _)| Regex::new(pattern));
    let allowed = allowed.collect::<Result<Vec<_>, _>>()?;
    let lines = text.lines().map(|line| stamp.replace(line, "").into_owned());
    let program = Regex::new(r"^\S+\[\d+\]: ")?;
    let lines = lines.filter(|line| complaint.is_match(line) && !program.is_match(line));
    Ok(lines.filter(|line| !allowed.iter().any(|pattern| pattern.is_match(line))).collect())
}

/// A row of `/proc/interrupts`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterruptRow {
    /// `24`, `HVS`, `RES`, …
    pub name: String,
    /// How often, by CPU.
    pub counts: Vec<u64>,
    /// Controller, trigger and devices, or what the row means.
    pub what: String,
}

impl InterruptRow {
    /// How often on all CPUs.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// All of `/proc/interrupts`.
pub fn interrupts(parent: &mut Running) -> Result<Vec<InterruptRow>> {
    let text = parent.shell("cat /proc/interrupts")?.success()?;
    let (header, rows) = text.split_once('\n').context("/proc/interrupts has rows")?;
    let cpus = header.split_whitespace().count();
    let parse = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let words: Vec<_> = rest.split_whitespace().collect();
        let counts: Vec<u64> =
            words.iter().take(cpus).map_while(|word| word.parse().ok()).collect();
        let what = words.get(counts.len()..)?.join(" ");
        Some(InterruptRow { name: name.trim().to_owned(), counts, what })
    };
    Ok(rows.lines().filter_map(parse).collect())
}

/// The rows of `/proc/interrupts` whose description contains `what`, or whose name is it.
pub fn interrupts_of(parent: &mut Running, what: &str) -> Result<Vec<InterruptRow>> {
    let rows = interrupts(parent)?.into_iter();
    Ok(rows.filter(|row| row.name == what || row.what.contains(what)).collect())
}

/// Asks again until there is an answer.
pub fn wait_until<T>(
    what: &str,
    limit: Duration,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if Instant::now() >= deadline {
            bail!("no {what} within {limit:?}");
        }
    }
}

/// A number that a command prints.
pub fn number(parent: &mut Running, command: &str) -> Result<u64> {
    let text = parent.shell(command)?.success()?;
    text.trim().parse().with_context(|| format!("{command} printed {text:?}"))
}
