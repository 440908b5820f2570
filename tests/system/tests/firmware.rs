//! ACPI tables that the firmware, or somebody after it, left damaged.

use anyhow::{Context as _, Result, ensure};
use harness::{Machine, Running};
use system_tests::{Debugged, Gdb, Image, Tests, busybox, ends_in_refusal};

/// Where BIOSes keep the RSDP.
const BIOS: (u64, usize) = (0xE_0000, 0x2_0000);
/// Offset of a table's length, of its checksum (ACPI 5.2.6) and of the MADT's first entry (5.2.12).
const LENGTH: u64 = 4;
const CHECKSUM: u64 = 9;
const MADT_ENTRIES: u64 = 44;

/// All of them.
pub fn tests() -> Tests {
    let mut tests = Tests::of("firmware");
    let mut refused = |name: &str, damage: fn(&mut Tables) -> Result<()>, reason: &'static str| {
        tests.add(name, move || ends_in_refusal(&mut damaged(damage)?, reason).map(drop));
    };
    refused("machine_without_rsdp_is_refused", |it| it.flip(it.rsdp + 8), "ACPI: no valid RSDP");
    refused("truncated_rsdt_is_refused", |it| it.put(it.rsdt + LENGTH, 10), "ACPI: .*RSDT");
    refused(
        "rsdt_beyond_memory_is_refused",
        |it| it.put(it.rsdt + LENGTH, u32::MAX),
        "ACPI: .*RSDT",
    );
    refused(
        "rsdt_without_a_madt_is_refused",
        |it| {
            let (slot, _) = it.find(b"APIC")?;
            let (_, other) = it.find(b"HPET")?;
            it.put(slot, other)?;
            it.fix(it.rsdt)
        },
        "ACPI: .*APIC",
    );
    refused(
        "madt_with_a_bad_checksum_is_refused",
        |it| {
            let (_, madt) = it.find(b"APIC")?;
            it.flip(u64::from(madt) + CHECKSUM)
        },
        "ACPI: table APIC at 0x[0-9a-f]+ has a bad checksum",
    );
    refused(
        "truncated_madt_is_refused",
        |it| {
            let (_, madt) = it.find(b"APIC")?;
            it.put(u64::from(madt) + LENGTH, 20)
        },
        "ACPI: table APIC at 0x[0-9a-f]+ ",
    );
    refused(
        "madt_beyond_memory_is_refused",
        |it| {
            let (_, madt) = it.find(b"APIC")?;
            it.put(u64::from(madt) + LENGTH, u32::MAX)
        },
        "ACPI: table APIC at 0x[0-9a-f]+ ",
    );
    refused(
        "madt_that_lists_no_processor_is_refused",
        |it| {
            let (_, madt) = it.find(b"APIC")?;
            it.put(u64::from(madt) + LENGTH, MADT_ENTRIES as u32)?;
            it.fix(madt.into())
        },
        "ACPI: table APIC .* lists no ",
    );
    refused(
        "madt_entry_of_no_length_is_refused",
        |it| {
            let (_, madt) = it.find(b"APIC")?;
            it.gdb.write(u64::from(madt) + MADT_ENTRIES + 1, &[0])?;
            it.fix(madt.into())
        },
        "ACPI: table APIC ",
    );
    tests.add("damaged_table_that_nobody_needs_is_told_and_the_machine_boots", unneeded);
    tests
}

/// The firmware's tables in a machine that stands before the hypervisor's first instruction.
struct Tables<'a> {
    gdb: &'a mut Gdb,
    rsdp: u64,
    rsdt: u64,
}

/// Boots a machine on damaged tables.
fn damaged(damage: impl FnOnce(&mut Tables) -> Result<()>) -> Result<Running> {
    let machine = Machine::new().lps(2).memory_mib(512).initrd(busybox()?);
    let mut debugged = Debugged::boot_to_entry(machine, Image::load()?.entry)?;
    damage(&mut Tables::find_in(&mut debugged.gdb)?)?;
    debugged.release()
}

impl<'a> Tables<'a> {
    fn find_in(gdb: &'a mut Gdb) -> Result<Self> {
        let area = gdb.read(BIOS.0, BIOS.1)?;
        let offset =
            (0..area.len()).step_by(16).find(|&at| area.get(at..at + 8) == Some(b"RSD PTR "));
        let rsdp = BIOS.0 + offset.context("firmware made an RSDP")? as u64;
        let mut tables = Self { gdb, rsdp, rsdt: 0 };
        tables.rsdt = tables.get(rsdp + 16)?.into();
        Ok(tables)
    }

    /// The place in the RSDT that points to the table `signature`, and the table's address.
    fn find(&mut self, signature: &[u8; 4]) -> Result<(u64, u32)> {
        let end = self.rsdt + u64::from(self.get(self.rsdt + LENGTH)?);
        for slot in (self.rsdt + 36..end).step_by(4) {
            let table = self.get(slot)?;
            if self.gdb.read(table.into(), 4)? == signature {
                return Ok((slot, table));
            }
        }
        anyhow::bail!("no table {}", signature.escape_ascii())
    }

    fn get(&mut self, address: u64) -> Result<u32> {
        let bytes = self.gdb.read(address, 4)?;
        Ok(u32::from_le_bytes(bytes.try_into().ok().context("four bytes")?))
    }

    fn put(&mut self, address: u64, value: u32) -> Result<()> {
        self.gdb.write(address, &value.to_le_bytes())
    }

    fn flip(&mut self, address: u64) -> Result<()> {
        let byte = self.gdb.read(address, 1)?;
        self.gdb.write(address, &[!*byte.first().context("a byte")?])
    }

    /// Makes the checksum of the table right.
    fn fix(&mut self, table: u64) -> Result<()> {
        let length = self.get(table + LENGTH)?;
        let bytes = self.gdb.read(table, length as usize)?;
        let sum = bytes.iter().copied().fold(0, u8::wrapping_add);
        let old = bytes.get(CHECKSUM as usize).copied().context("a table has a header")?;
        self.gdb.write(table + CHECKSUM, &[old.wrapping_sub(sum)])
    }
}

fn unneeded() -> Result<()> {
    let mut parent = damaged(|it| {
        let (_, hpet) = it.find(b"HPET")?;
        it.flip(u64::from(hpet) + CHECKSUM)
    })?;
    let log = parent.shell("dmesg")?.success()?;
    ensure!(log.contains("Hyper-V: running as root partition"), "{log}");
    let console = parent.console();
    let told = console
        .lines()
        .any(|line| line.starts_with("(zemin)") && line.contains("ACPI: table HPET"));
    ensure!(told, "{console}");
    Ok(())
}
