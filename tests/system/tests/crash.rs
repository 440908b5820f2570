//! A hypervisor that finds itself in the wrong tells what, where and how it got there, and never goes on.
//!
//! The fault is made by a debugger: an instruction of the idle loop becomes an undefined one.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::{Machine, Running};
use regex::Regex;
use serde_json::json;
use system_tests::{Debugged, Image, Tests, busybox, scratch, wait_until, without_exit_device};

const LIMIT: Duration = Duration::from_secs(60);
/// UD2.
const UNDEFINED: [u8; 2] = [0x0F, 0x0B];
/// #UD.
const INVALID_OPCODE: u32 = 6;

/// All of them.
pub fn tests() -> Tests {
    let mut tests = Tests::of("crash");
    for lps in [1, 2] {
        tests.add(format!("report_has_registers_build_and_back_trace::{lps}lp"), move || {
            report(lps)
        });
    }
    tests.add("a_stack_that_runs_over_is_told", overrun);
    tests.add("machine_resets_after_the_report", resets);
    tests.add("noreboot_halts_all_processors_and_leaves_a_record", leaves_a_record);
    tests
}

/// One processor's registers, by their names in the emulator.
type Registers = BTreeMap<String, u64>;

/// A machine whose hypervisor just met the undefined instruction at `rip`.
struct Broken {
    machine: Running,
    rip: u64,
    /// By processor, when the instruction was put in.
    before: Vec<Registers>,
}

/// In one thread, so that the emulator's processors are the LPs.
fn machine(lps: u32) -> Result<Machine> {
    Ok(Machine::new().lps(lps).one_thread(true).memory_mib(512).initrd(busybox()?))
}

fn break_it(machine: Machine) -> Result<Broken> {
    let image = Image::load()?;
    let (mut debugged, before, rip) = stopped_idle(machine, &image)?;
    debugged.gdb.write(image.physical_address(rip), &UNDEFINED)?;
    Ok(Broken { machine: debugged.release()?, rip, before })
}

/// A machine that stands still while all its processors idle in the hypervisor; their registers, and where they idle.
fn stopped_idle(machine: Machine, image: &Image) -> Result<(Debugged, Vec<Registers>, u64)> {
    let mut debugged = Debugged::boot(machine)?;
    debugged.gdb.resume()?;
    // A parent that waits for a command leaves its processors idle, in the hypervisor.
    debugged.machine.shell("true")?;
    // All of them, so that whichever meets the instruction first is known to have stood before it.
    let (before, rip) = wait_until("processors that idle in the hypervisor", LIMIT, || {
        if idle_at(&registers(&debugged.machine)?, image).is_none() {
            return Ok(None);
        }
        debugged.stop()?;
        let registers = registers(&debugged.machine)?;
        let found = idle_at(&registers, image);
        if found.is_none() {
            debugged.gdb.resume()?;
        }
        Ok(found.map(|rip| (registers, rip)))
    })?;
    Ok((debugged, before, rip))
}

/// Where all processors stand halted inside the hypervisor.
fn idle_at(cpus: &[Registers], image: &Image) -> Option<u64> {
    let rip = *cpus.first()?.get("RIP")?;
    let idles = |cpu: &Registers| cpu.get("HLT") == Some(&1) && cpu.get("RIP") == Some(&rip);
    (image.text.contains(&rip) && cpus.iter().all(idles)).then_some(rip)
}

fn registers(machine: &Running) -> Result<Vec<Registers>> {
    let text = machine.qmp().human("info registers -a")?;
    let value = Regex::new(r"\b(R[0-9A-Z]{1,2}|HLT) ?=([0-9a-f]+)")?;
    let parse = |cpu: &str| {
        let values = value.captures_iter(cpu).map(|found| found.extract::<2>().1);
        values
            .map(|[name, digits]| Ok((name.to_owned(), u64::from_str_radix(digits, 16)?)))
            .collect()
    };
    text.split("CPU#").skip(1).map(parse).collect()
}

fn hex(text: &str, pattern: &str) -> Result<u64> {
    let found = Regex::new(pattern)?
        .captures(text)
        .with_context(|| format!("no {pattern:?} in:\n{text}"))?;
    Ok(u64::from_str_radix(found.get(1).context("a group")?.as_str(), 16)?)
}

fn report(lps: u32) -> Result<()> {
    let mut broken = break_it(machine(lps)?)?;
    let exit = broken.machine.wait_exit(LIMIT)?;
    let console = broken.machine.console();
    ensure!(exit.is_crash(), "{exit:?}\n{console}");
    let (before, report) = console.split_once("CRASH: ").context("a report")?;
    ensure!(report.starts_with(&format!("exception {INVALID_OPCODE} ")), "{report}");
    ensure!(hex(report, " at 0x([0-9a-f]+)")? == broken.rip, "{report}");
    let lp = hex(report, r"\blp ([0-9a-f]+) build")?;
    let cpu = broken.before.get(lp as usize).context("the LP is one of the machine's")?;
    // Between the instruction before and the broken one only an interrupt came, which keeps these.
    for name in ["RSP", "RBP", "RBX", "R12", "R13", "R14", "R15"] {
        let told = hex(report, &format!(r"\b{} +([0-9a-f]{{16}})", name.to_lowercase()))?;
        ensure!(Some(&told) == cpu.get(name), "{name} was {:x?}\n{report}", cpu.get(name));
    }
    let build = Regex::new(r"\bbuild ([0-9a-f]{40})")?;
    let id = |text: &str| Some(build.captures(text)?.get(1)?.as_str().to_owned());
    ensure!(id(before).is_some() && id(before) == id(report), "{console}");
    let (_, trace) = report.split_once("back trace: ").context("a back trace")?;
    let addresses = Regex::new("0x([0-9a-f]+)")?;
    let addresses: Vec<u64> = addresses
        .captures_iter(trace)
        .filter_map(|found| u64::from_str_radix(found.get(1)?.as_str(), 16).ok())
        .collect();
    let text = Image::load()?.text;
    ensure!(addresses.first() == Some(&broken.rip) && addresses.len() > 1, "{trace}");
    ensure!(addresses.iter().all(|address| text.contains(address)), "{trace}");
    Ok(())
}

/// The first LP's stack lies in the image: below it is a page that is not mapped, and not somebody's data.
fn overrun() -> Result<()> {
    /// #DF: there is no stack to report a page fault on.
    const DOUBLE_FAULT: &str = "exception 8 ";
    let image = Image::load()?;
    let (mut debugged, ..) = stopped_idle(machine(1)?, &image)?;
    debugged.gdb.set_stack(image.symbol("boot_stack")? - 0x100)?;
    let mut machine = debugged.release()?;
    // An interrupt that comes for sure: an idle parent may have no timer set. Another one may have ended the machine before.
    let _ = machine.qmp().execute("system_powerdown", json!({}));
    let exit = machine.wait_exit(LIMIT)?;
    let console = machine.console();
    ensure!(exit.is_crash(), "{exit:?}\n{console}");
    let (_, report) = console.split_once("CRASH: ").context("a report")?;
    ensure!(report.starts_with(DOUBLE_FAULT), "{report}");
    Ok(())
}

fn resets() -> Result<()> {
    let mut broken = break_it(without_exit_device(machine(1)?))?;
    let exit = broken.machine.wait_exit(LIMIT)?;
    ensure!(exit.reason.as_deref() == Some("guest-reset"), "{exit:?}");
    ensure!(broken.machine.console().contains("CRASH: "));
    Ok(())
}

fn leaves_a_record() -> Result<()> {
    let mut broken = break_it(without_exit_device(machine(2)?.hv_args("noreboot")))?;
    broken.machine.wait_for(r"halted \(noreboot\)", LIMIT)?;
    wait_until("halted processors", LIMIT, || {
        let registers = broken.machine.qmp().human("info registers -a")?;
        Ok((registers.matches("HLT=1").count() == 2).then_some(()))
    })?;
    let image = Image::load()?.physical;
    let dump = scratch()?.join("crash.memory");
    let arguments =
        json!({ "val": image.start, "size": image.end - image.start, "filename": dump });
    broken.machine.qmp().execute("pmemsave", arguments)?;
    let memory = std::fs::read(dump)?;
    // docs/abi/zemin-extensions.md, section 7. The code has the magic as well: the record is the one with its size.
    let record = memory.windows(728).find(|window| {
        window.starts_with(b"ZEMINBUG") && window.get(8..12) == Some(&728_u32.to_le_bytes())
    });
    let record = record.context("no crash record in memory")?;
    ensure!(record.get(16..20) == Some(&INVALID_OPCODE.to_le_bytes()), "{record:x?}");
    ensure!(record.get(32..40) == Some(&broken.rip.to_le_bytes()), "{record:x?}");
    ensure!(record.get(208..216) == Some(&broken.rip.to_le_bytes()), "{record:x?}");
    Ok(())
}
