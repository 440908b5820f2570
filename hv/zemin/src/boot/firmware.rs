//! What the firmware's ACPI tables say.

use super::input::{Input, Memory};
use super::machine::{POWER, PowerRegisters};
use crate::crash;
use crate::log::{Level, log};
use crate::lp::MAX_LPS;
use crate::mem::phys;
use crate::sync::{Guard, SpinLock};
use crate::time::Standard;
use acpi_scan::{Acpi, Edit, RsdpHints, hide_processors, hide_table};
use core::ops::Deref;

static ACPI: SpinLock<Acpi> = SpinLock::new(Acpi::empty());

/// The tables' contents.
pub struct Firmware {
    acpi: Guard<'static, Acpi>,
    /// Whether the calling LP stays in use after the boot.
    pub uses_own: bool,
}

impl Deref for Firmware {
    type Target = Acpi;
    fn deref(&self) -> &Acpi {
        &self.acpi
    }
}

impl Firmware {
    /// Processors that are there and that the options let the hypervisor use.
    pub fn enabled_lps(&self) -> usize {
        self.madt.enabled_lps().count()
    }

    /// Their APIC ids.
    pub fn apic_ids(&self) -> impl Iterator<Item = u32> + '_ {
        self.madt.enabled_lps().map(|lp| lp.apic_id)
    }

    /// What to calibrate clocks against.
    pub fn time_standard(&self) -> Standard {
        let port = self.fixed.pm_timer.and_then(|register| register.port());
        port.map_or(Standard::Pit, |port| Standard::PmTimer { port })
    }

    /// Where the parent finds the tables; 0 to let it search.
    pub fn rsdp(&self) -> u64 {
        self.rsdp.and_then(|rsdp| rsdp.address).unwrap_or(0)
    }
}

/// Tables of IOMMUs. Without them the parent maps its device interrupts through the hypervisor.
const HIDDEN: [&[u8; 4]; 2] = [b"IVRS", b"DMAR"];

/// Table of processors.
const MADT: [u8; 4] = *b"APIC";

/// Reads the tables. Those the hypervisor cannot do without must be sound. `own` is the calling LP's APIC id.
pub fn load(input: &Input, own: u32) -> Firmware {
    let mut acpi = ACPI.lock();
    if let Err(error) = acpi.scan(&RsdpHints::of(input), &Memory) {
        crash::refuse(format_args!("ACPI: {error}"));
    }
    for fault in acpi.faults.iter() {
        log!(Level::Warn, "ACPI: {fault}");
    }
    let port = |register: Option<acpi_scan::Register>| {
        register.and_then(|register| register.port()).unwrap_or(0)
    };
    POWER.set(PowerRegisters {
        pm1a_control: port(acpi.fixed.pm1a_control),
        pm1b_control: port(acpi.fixed.pm1b_control),
        reset: acpi.fixed.reset.and_then(|reset| Some((reset.register.port()?, reset.value))),
    });
    hide_tables(&acpi);
    let limit = input.options.lps.map_or(MAX_LPS, |lps| (lps as usize).min(MAX_LPS));
    let other = if input.options.boot_lp { None } else { acpi.madt.leave_out(own) };
    if !input.options.boot_lp && other.is_none() {
        log!(Level::Warn, "there is no LP but the one that boots: boot_lp=off has no effect");
    }
    choose_lps(&mut acpi, limit, other.unwrap_or(own));
    Firmware { acpi, uses_own: other.is_none() }
}

/// Leaves `limit` LPs, among them the one with APIC id `first`. The parent is not to see the others, nor those that could be
/// plugged in: it insists on having every LP that it sees.
fn choose_lps(acpi: &mut Acpi, limit: usize, first: u32) {
    let there = acpi.madt.enabled_lps().count();
    acpi.madt.keep_lps(limit, first);
    let kept = acpi.madt.enabled_lps().count();
    if kept < there {
        log!(Level::Info, "{} of {there} LPs stay off (at most {limit})", there - kept);
    }
    let keep = |id| id == first || acpi.madt.enabled_lps().any(|lp| lp.apic_id == id);
    for madt in acpi.tables.iter().filter(|table| table.signature.0 == MADT) {
        if let Err(fault) = hide_processors(madt.address, keep, &Memory, apply) {
            log!(Level::Warn, "ACPI: {fault}");
        }
    }
}

fn apply(edit: Edit) {
    phys::write(edit.address, &[edit.new]);
}

fn hide_tables(acpi: &Acpi) {
    for table in acpi.tables.iter().filter(|table| HIDDEN.contains(&&table.signature.0)) {
        match hide_table(table.address, &Memory) {
            Ok(edits) => {
                edits.into_iter().for_each(apply);
                log!(Level::Info, "ACPI: table {} is hidden from the parent", table.signature);
            }
            Err(fault) => log!(Level::Warn, "ACPI: {fault}"),
        }
    }
}
