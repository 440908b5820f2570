//! `zm` looks into the hypervisor from the parent, and explains machines that have none.

use anyhow::{Context as _, Result, ensure};
use harness::{Artefacts, Machine, Running};
use serde_json::Value;
use system_tests::{Image, Tests, on, with_zm};

/// Hypercalls that Linux makes while a page of another processor's is unmapped, and the like: any will do.
const WORK: &str = "for i in $(seq 50); do seq 1 200 | md5sum > /dev/null; done";

/// All of them.
pub fn tests() -> Tests {
    let mut tests = Tests::of("zm");
    for lps in [1, 2] {
        let mut add = |name: &str, check: fn(&mut Running, u32) -> Result<()>| {
            let body = move || on(&format!("zm-{lps}lp"), || machine(lps), |it| check(it, lps));
            tests.add(format!("{name}::{lps}lp"), body);
        };
        add("status_tells_the_machine", status);
        add("log_holds_what_the_hypervisor_said_at_boot", log);
        add("counters_rise_under_load", counters);
        add("hypercalls_are_counted_by_code", hypercalls);
        add("doctor_finds_the_parent_well", doctor);
    }
    tests.add("doctor_says_that_no_hypervisor_was_started", || {
        bare_doctor(machine(1)?, "not_installed")
    });
    tests.add("doctor_says_that_the_processor_lacks_virtualization", || {
        bare_doctor(machine(1)?.cpu("-svm"), "(?i)virtuali[sz]ation|AMD-V|SVM")
    });
    tests.add("hypervisor_is_small", small);
    tests
}

fn machine(lps: u32) -> Result<Machine> {
    Ok(Machine::new().lps(lps).memory_mib(1024).initrd(with_zm()?))
}

fn json(parent: &mut Running, command: &str) -> Result<Value> {
    let text = parent.shell(command)?.success()?;
    serde_json::from_str(&text).with_context(|| format!("{command} printed {text}"))
}

fn number(value: &Value, name: &str) -> Result<u64> {
    value.get(name).and_then(Value::as_u64).with_context(|| format!("no number {name} in {value}"))
}

fn status(parent: &mut Running, lps: u32) -> Result<()> {
    let status = json(parent, "zm hv status --json")?;
    ensure!(number(&status, "lp_count")? == u64::from(lps));
    ensure!(number(&status, "root_vp_count")? == u64::from(lps));
    ensure!(number(&status, "partition_count")? == 1);
    // 1 GiB, less what firmware and the display keep.
    let ram = number(&status, "ram_total_bytes")? >> 20;
    ensure!((1000..=1024).contains(&ram), "{ram} MiB");
    let (total, free) = (number(&status, "pool_total_pages")?, number(&status, "pool_free_pages")?);
    ensure!(0 < free && free < total, "{free} of {total} pages");
    let memory = total * 4096 + number(&status, "image_bytes")?;
    ensure!(memory < 8 << 20, "the hypervisor uses {memory} bytes");
    let image = Image::load()?.physical;
    ensure!(number(&status, "image_bytes")? == image.end - image.start);
    let version = status.get("version").and_then(Value::as_str).context("a version")?;
    ensure!(version.split('.').all(|part| part.parse::<u8>().is_ok()), "{version}");
    let build = status.get("build_id").and_then(Value::as_str).context("a build id")?;
    ensure!(parent.console().contains(&format!("build {build}")), "{build}");
    let uptime = number(&status, "uptime_us")?;
    let later = number(&json(parent, "zm hv status --json")?, "uptime_us")?;
    ensure!(later > uptime, "{uptime} {later}");
    Ok(())
}

fn log(parent: &mut Running, _: u32) -> Result<()> {
    let text = parent.shell("zm hv log")?.success()?;
    let banner = parent.console();
    let banner = banner.lines().find(|line| line.contains("(zemin)")).context("a banner")?;
    let (_, banner) = banner.split_once("] ").context("a time stamp")?;
    ensure!(text.contains(banner), "{banner} is not in\n{text}");
    let lines = parent.shell("zm hv log --json")?.success()?;
    let records = lines.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    ensure!(records.len() == text.lines().count(), "{text}\n{lines}");
    Ok(())
}

/// The sum of all numbers in a JSON value whose name is `name`.
fn sum(value: &Value, name: &str) -> u64 {
    match value {
        Value::Object(members) => {
            let own = members.iter().map(|(key, value)| {
                let direct = value.as_u64().filter(|_| key == name);
                direct.unwrap_or_else(|| if key == name { all(value) } else { sum(value, name) })
            });
            own.sum()
        }
        Value::Array(items) => items.iter().map(|item| sum(item, name)).sum(),
        _ => 0,
    }
}

fn all(value: &Value) -> u64 {
    match value {
        Value::Array(items) => items.iter().map(all).sum(),
        other => other.as_u64().unwrap_or(0),
    }
}

fn counters(parent: &mut Running, _: u32) -> Result<()> {
    let before = json(parent, "zm hv counters --all --json")?;
    parent.shell(WORK)?.success()?;
    let after = json(parent, "zm hv counters --all --json")?;
    for name in ["exits.total", "exits.hypercall", "injected.interrupts", "timer.expired"] {
        let (before, after) = (sum(&before, name), sum(&after, name));
        ensure!(after > before, "{name}: {before}, then {after}");
    }
    ensure!(sum(&after, "exits.shutdown") == 0);
    Ok(())
}

fn hypercalls(parent: &mut Running, _: u32) -> Result<()> {
    let before = json(parent, "zm hv counters --hypercalls --json")?;
    let after = json(parent, "zm hv counters --hypercalls --json")?;
    let (before, after) = (sum(&before, "calls"), sum(&after, "calls"));
    // Asking is a hypercall itself.
    ensure!(before > 0 && after > before, "{before}, then {after}");
    Ok(())
}

fn doctor(parent: &mut Running, _: u32) -> Result<()> {
    let output = parent.shell("zm doctor")?;
    ensure!(output.status == 0, "{output:?}");
    let verdict = json(parent, "zm doctor --json")?;
    ensure!(verdict.get("running") == Some(&Value::Bool(true)), "{verdict}");
    Ok(())
}

fn bare_doctor(machine: Machine, verdict: &str) -> Result<()> {
    let mut linux = machine.bare(true).boot()?;
    let output = linux.shell("zm doctor")?;
    ensure!(output.status == 1, "{output:?}");
    let text = linux.shell("zm doctor --json")?.text;
    let json: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
    ensure!(json.get("running") == Some(&Value::Bool(false)), "{text}");
    let words = json.get("verdict").map(ToString::to_string).unwrap_or_default();
    ensure!(regex::Regex::new(verdict)?.is_match(&words), "{words}");
    Ok(())
}

fn small() -> Result<()> {
    let file = std::fs::metadata(Artefacts::load()?.hypervisor)?.len();
    ensure!(file < 512 << 10, "the hypervisor's file has {file} bytes");
    Ok(())
}
