//! The parent OS: Debian on every kind of disk and network card, idle and under load.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::{Disk, Machine, Nic, Running};
use serde_json::Value;
use system_tests::{InterruptRow, Tests, complaints, interrupts_of, on, wait_until};

const LIMIT: Duration = Duration::from_secs(120);
const LOAD: Duration = Duration::from_secs(300);

/// A machine with a disk and a network card.
#[derive(Clone, Copy)]
struct Variant {
    lps: u32,
    disk: Disk,
    nic: Nic,
    /// Devices interrupt by messages; otherwise by lines of the IOAPIC (`pci=nomsi`).
    messages: bool,
}

const fn variant(lps: u32, disk: Disk, nic: Nic, messages: bool) -> Variant {
    Variant { lps, disk, nic, messages }
}

/// Each disk, card and kind of interrupt, and both numbers of LPs, at least once.
const ALWAYS: [Variant; 3] = [
    variant(2, Disk::Nvme, Nic::Virtio, true),
    variant(2, Disk::Ahci, Nic::E1000e, false),
    variant(1, Disk::Virtio, Nic::E1000e, true),
];

fn all() -> impl Iterator<Item = Variant> {
    let disks = [Disk::Virtio, Disk::Nvme, Disk::Ahci];
    let nics = [Nic::Virtio, Nic::E1000e];
    [1, 2, 4].into_iter().flat_map(move |lps| {
        disks.into_iter().flat_map(move |disk| {
            nics.into_iter().flat_map(move |nic| {
                [true, false].map(move |messages| variant(lps, disk, nic, messages))
            })
        })
    })
}

impl Variant {
    fn name(self) -> String {
        let interrupts = if self.messages { "msi" } else { "nomsi" };
        format!("{}lp_{:?}_{:?}_{interrupts}", self.lps, self.disk, self.nic).to_lowercase()
    }

    fn machine(self) -> Machine {
        let machine = Machine::new().lps(self.lps).disk(self.disk).nic(self.nic);
        if self.messages { machine } else { machine.parent_args("pci=nomsi") }
    }

    /// How the rows of the disk in `/proc/interrupts` are called.
    fn disk_rows(self) -> &'static str {
        match self.disk {
            Disk::Virtio => "virtio",
            Disk::Nvme => "nvme",
            Disk::Ahci => "ahci",
        }
    }

    /// How those of the card are called.
    fn nic_rows(self) -> &'static str {
        match self.nic {
            Nic::E1000e => "enp",
            _ => "virtio",
        }
    }
}

type Check = fn(&mut Running, Variant) -> Result<()>;

const CHECKS: [(&str, Check); 6] = [
    ("all_units_start", units),
    ("network_has_an_address_and_reaches_its_gateway", network),
    ("disk_and_network_work_under_load_at_once", load),
    ("devices_interrupt_through_the_right_controller", controllers),
    ("sshd_answers", sshd),
    ("kernel_does_not_complain", quiet),
];

/// All of them.
pub fn tests() -> Tests {
    let mut tests = Tests::of("debian");
    let always = ALWAYS.map(|variant| (variant, true));
    let is_long = |it: &Variant| !ALWAYS.iter().any(|other| other.name() == it.name());
    let long = all().filter(is_long).map(|variant| (variant, false));
    for (variant, always) in always.into_iter().chain(long) {
        for (name, check) in CHECKS {
            let body =
                move || on(&variant.name(), || Ok(variant.machine()), |it| check(it, variant));
            tests.add_if(always, format!("{name}::{}", variant.name()), body);
        }
    }
    tests.add("poweroff_ends_the_machine", || ends("poweroff", "guest-shutdown"));
    tests.add_long("reboot_resets_the_machine", || ends("reboot", "guest-reset"));
    tests
}

fn units(parent: &mut Running, _: Variant) -> Result<()> {
    let state = parent.shell_within("systemctl is-system-running --wait", LOAD)?;
    let failed = parent.shell("systemctl --failed --no-legend --plain")?.success()?;
    ensure!(failed.trim().is_empty(), "{failed}");
    ensure!(state.text.trim() == "running", "{state:?}");
    Ok(())
}

fn network(parent: &mut Running, _: Variant) -> Result<()> {
    wait_until("address by DHCP", LIMIT, || {
        let text = parent.shell("ip -br -4 address show scope global up")?.success()?;
        Ok(text.contains("10.0.2.15/24").then_some(()))
    })?;
    // The emulator's own gateway answers.
    parent.shell("ping -c 5 -i 0.2 -W 10 10.0.2.2")?.success()?;
    Ok(())
}

/// It starts with the first connection.
fn sshd(parent: &mut Running, _: Variant) -> Result<()> {
    let banner = "exec 3<> /dev/tcp/127.0.0.1/22; read -r line <&3; echo \"$line\"";
    let text = parent.shell_within(&format!("bash -c '{banner}'"), LIMIT)?.success()?;
    ensure!(text.starts_with("SSH-2.0-"), "{text}");
    Ok(())
}

/// Reads and writes of random blocks, checked, while a stream of data goes to the emulator's network and comes back.
fn load(parent: &mut Running, variant: Variant) -> Result<()> {
    let before = (rows(parent, variant.disk_rows())?, rows(parent, variant.nic_rows())?);
    let fio = "fio --name=load --filename=/var/tmp/load --size=32M --rw=randrw --bs=4k --iodepth=16 --ioengine=libaio --direct=1 --norandommap --loops=2 --verify=crc32c --verify_fatal=1 --output-format=json --output=/run/fio.json";
    // 4 MiB of pings there and back, checked by the sender, as fast as they are answered.
    let ping = "ping -q -f -c 3000 -s 1400 10.0.2.2";
    let both = format!("{fio} & fio=$!; {ping}; net=$?; wait $fio && exit $net");
    let output = parent.shell_within(&both, LOAD)?.success()?;
    ensure!(output.contains("3000 received") || output.contains(" 0% packet loss"), "{output}");
    let report: Value = serde_json::from_str(&parent.shell("cat /run/fio.json")?.success()?)?;
    let job = report.get("jobs").and_then(|jobs| jobs.get(0)).context("fio ran a job")?;
    ensure!(job.get("error") == Some(&Value::from(0)), "{job}");
    parent.shell("rm /var/tmp/load")?.success()?;
    let after = (rows(parent, variant.disk_rows())?, rows(parent, variant.nic_rows())?);
    ensure!(total(&after.0) > total(&before.0) + 100, "{before:?} {after:?}");
    ensure!(total(&after.1) > total(&before.1) + 100, "{before:?} {after:?}");
    Ok(())
}

fn rows(parent: &mut Running, device: &str) -> Result<Vec<InterruptRow>> {
    let rows = interrupts_of(parent, device)?;
    ensure!(!rows.is_empty(), "no interrupt of {device}");
    Ok(rows)
}

fn total(rows: &[InterruptRow]) -> u64 {
    rows.iter().map(InterruptRow::total).sum()
}

fn controllers(parent: &mut Running, variant: Variant) -> Result<()> {
    for device in [variant.disk_rows(), variant.nic_rows()] {
        for row in rows(parent, device)? {
            let right = if variant.messages {
                row.what.contains("PCI-MSI")
            } else {
                row.what.contains("IO-APIC") && row.what.contains("fasteoi")
            };
            ensure!(right, "{row:?}");
        }
    }
    Ok(())
}

fn quiet(parent: &mut Running, variant: Variant) -> Result<()> {
    let mut bare = variant.machine().bare(true).name(format!("bare-{}", variant.name())).boot()?;
    let on_bare = system_tests::all_complaints(&mut bare)?;
    let complaints = complaints(parent, &on_bare)?;
    ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
    Ok(())
}

fn ends(command: &str, reason: &str) -> Result<()> {
    let mut parent = Machine::new().lps(2).boot()?;
    parent.start(&format!("systemctl {command}"))?;
    let exit = parent.wait_exit(LIMIT)?;
    ensure!(exit.reason.as_deref() == Some(reason), "{exit:?}");
    Ok(())
}
