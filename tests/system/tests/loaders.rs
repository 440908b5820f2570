//! Zemin as it is started on hardware: by GRUB with Multiboot 2, from BIOS and UEFI.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{Artefacts, Iso, Machine, Media, Parent, Running};
use system_tests::{Tests, all_complaints, busybox, complaints, ends_in_refusal, number, scratch};

const BOOT: Duration = Duration::from_secs(240);

/// All of them.
pub fn tests() -> Tests {
    let mut tests = Tests::of("loaders");
    tests.add("grub_starts_it_from_bios", || boots(Media::Cdrom, &[]));
    tests.add("grub_without_a_module_is_refused", no_module);
    tests.add_long("grub_starts_it_from_uefi", || boots(Media::CdromUefi, &[NO_SMBIOS]));
    tests
}

/// Where firmware is UEFI, only its system table leads to the SMBIOS tables, and the parent is not given that
/// (docs/hardware.md).
const NO_SMBIOS: &str = "DMI: not present or invalid";

fn image(name: &str) -> Result<std::path::PathBuf> {
    Ok(scratch()?.join(format!("{name}.iso")))
}

fn power_on(media: Media) -> Result<Running> {
    Ok(Machine::new().lps(2).memory_mib(1024).parent(Parent::KernelOnly).media(media).boot()?)
}

/// `expected` are complaints of the parent's kernel that are known.
fn boots(media: fn(std::path::PathBuf) -> Media, expected: &[&str]) -> Result<()> {
    let kernel = Artefacts::load()?.kernel;
    let arguments = "console=ttyS0 panic=-1 grub.word=seen";
    let iso =
        Iso::new().hv_args("parent_mem=900M").module(kernel, arguments).module(busybox()?, "");
    let mut parent = power_on(media(iso.write(image("grub")?)?))?;
    parent.wait_for_shell(BOOT)?;
    let log = parent.shell("dmesg")?.success()?;
    ensure!(log.contains("Hyper-V: running as root partition"), "{log}");
    parent.shell("test -c /dev/mshv")?.success()?;
    ensure!(number(&mut parent, "nproc")? == 2);
    let words = parent.shell("cat /proc/cmdline")?.success()?;
    ensure!(words.trim() == arguments, "{words}");
    let kib = number(&mut parent, "awk '/^MemTotal/ { print $2 }' /proc/meminfo")?;
    ensure!(kib <= 900 << 10 && kib > 700 << 10, "MemTotal is {kib} KiB");
    let bare = Machine::new().lps(2).memory_mib(1024).bare(true).initrd(busybox()?);
    let on_bare = all_complaints(&mut bare.name("grub-bare").boot()?)?;
    let mut complaints = complaints(&mut parent, &on_bare)?;
    complaints.retain(|line| !expected.iter().any(|known| line.contains(known)));
    ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
    parent.start("poweroff -f")?;
    let exit = parent.wait_exit(BOOT)?;
    ensure!(exit.reason.as_deref() == Some("guest-shutdown"), "{exit:?}");
    Ok(())
}

fn no_module() -> Result<()> {
    let iso = Iso::new().write(image("grub-empty")?)?;
    let mut machine = power_on(Media::Cdrom(iso))?;
    ends_in_refusal(&mut machine, "no parent kernel was given").map(drop)
}
