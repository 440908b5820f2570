//! From a [`Machine`] to QEMU's command line. Pure, so that it is tested without QEMU.

use std::path::Path;

use crate::artefacts::Artefacts;
use crate::error::{Error, Result};
use crate::machine::{Disk, Machine, Media, Nic, OnReset, Parent};

/// The CPU: AMD-V with nested paging and an invariant TSC. What TCG cannot do is removed by name, so that
/// QEMU does not warn; MWAIT is taken away because TCG's raises #GP where Linux uses it.
const CPU: &str = "EPYC,x-force-features=on,+svm,+npt,+invtsc,-fxsr-opt,-misalignsse,-osvw,-topoext,-nrip-save,-xsavec,-monitor";

/// The kernel ends on a panic, and a reset ends the emulator, so a panic never waits for a time-out.
const PARENT_ARGS: &str = "console=ttyS0 panic=-1";

/// All words of the command, beginning with the program.
pub(crate) fn words(machine: &Machine, artefacts: &Artefacts) -> Result<Vec<String>> {
    let mut words = Words(artefacts.qemu.clone());
    words.add("-machine", "q35");
    words.add("-accel", if is_one_thread(machine) { "tcg,thread=single" } else { "tcg" });
    words.add("-cpu", cpu(machine));
    words.add("-smp", (machine.lps + u32::from(has_boot_cpu(machine))).to_string());
    words.add("-m", machine.memory_mib.to_string());
    words.0.extend(["-nodefaults", "-no-user-config", "-display", "none"].map(str::to_owned));
    if machine.icount {
        words.add("-icount", "shift=0,sleep=off");
        // Nothing of the host's time may reach a machine whose time is a count.
        words.add("-rtc", "base=2026-01-01T00:00:00,clock=vm");
    }
    if machine.on_reset == OnReset::Exit {
        words.0.push("-no-reboot".to_owned());
    }
    if machine.paused {
        words.0.push("-S".to_owned());
    }
    if machine.vga {
        words.add("-device", "VGA");
    }
    network(machine, &mut words);
    if machine.parent == Parent::Debian {
        disk(machine, exists(&artefacts.rootfs)?, &mut words);
    }
    if let Some(image) = &machine.child_disk {
        child_disk(machine, exists(image)?, &mut words);
    }
    boot(machine, artefacts, &mut words)?;
    words.0.extend(machine.extra.iter().cloned());
    Ok(words.0)
}

/// What must not happen in the order that host threads happen to run in: a count of instructions, and guests on the CPU
/// that boots, see [`has_boot_cpu`]. A medium has a command line of its own, which uses that CPU.
fn is_one_thread(machine: &Machine) -> bool {
    machine.one_thread || machine.icount || machine.media != Media::Direct
}

/// Whether QEMU gets a CPU more than the machine has LPs, which boots the hypervisor and then rests. With a host thread for each
/// CPU, what others do to their floating-point state can change the first one's global interrupt gate and nested paging
/// (docs/debugging.md), so no guest may run there.
fn has_boot_cpu(machine: &Machine) -> bool {
    machine.lps > 1 && !machine.bare && !is_one_thread(machine)
}

struct Words(Vec<String>);

impl Words {
    fn add(&mut self, option: &str, value: impl Into<String>) {
        self.0.extend([option.to_owned(), value.into()]);
    }
}

fn cpu(machine: &Machine) -> String {
    let mut words = vec![CPU.to_owned()];
    if machine.xapic {
        words.push("-x2apic".to_owned());
    }
    words.extend(machine.cpu.iter().cloned());
    words.join(",")
}

fn network(machine: &Machine, words: &mut Words) {
    let model = match machine.nic {
        Nic::Virtio => "virtio-net-pci",
        Nic::E1000e => "e1000e",
        Nic::None => return,
    };
    let forward = machine
        .forward_ssh
        .map(|port| format!(",hostfwd=tcp:127.0.0.1:{port}-:22"))
        .unwrap_or_default();
    words.add("-netdev", format!("user,id=net0{forward}"));
    words.add("-device", format!("{model},netdev=net0,romfile="));
}

fn disk(machine: &Machine, image: &Path, words: &mut Words) {
    let snapshot = if machine.persist { "off" } else { "on" };
    let file = escaped(image);
    words.add(
        "-drive",
        format!("if=none,id=disk0,format=raw,cache=unsafe,snapshot={snapshot},file={file}"),
    );
    words.add(
        "-device",
        match machine.disk {
            Disk::Virtio => "virtio-blk-pci,drive=disk0",
            Disk::Nvme => "nvme,drive=disk0,serial=zemin",
            Disk::Ahci => "ide-hd,drive=disk0,bus=ide.0",
        },
    );
}

/// The parent knows it by its serial number (`image/parent/overlay/usr/lib/zemin/example`).
fn child_disk(machine: &Machine, image: &Path, words: &mut Words) {
    let snapshot = if machine.persist { "off" } else { "on" };
    let file = escaped(image);
    words.add("-drive", format!("if=none,id=images,format=raw,snapshot={snapshot},file={file}"));
    words.add("-device", "virtio-blk-pci,drive=images,serial=zemin-images");
}

fn boot(machine: &Machine, artefacts: &Artefacts, words: &mut Words) -> Result<()> {
    match &machine.media {
        Media::Direct if machine.bare => bare(machine, artefacts, words),
        Media::Direct => hypervised(machine, artefacts, words),
        Media::Cdrom(image) => {
            cdrom(image, words);
            Ok(())
        }
        Media::CdromUefi(image) => {
            cdrom(image, words);
            let firmware = artefacts.toolbox.join("usr/share/OVMF/OVMF_CODE_4M.fd");
            words.add(
                "-drive",
                format!("if=pflash,format=raw,readonly=on,file={}", escaped(exists(&firmware)?)),
            );
            Ok(())
        }
    }
}

fn cdrom(image: &Path, words: &mut Words) {
    words.add(
        "-drive",
        format!("if=none,id=cd0,media=cdrom,readonly=on,format=raw,file={}", escaped(image)),
    );
    words.add("-device", "ide-cd,drive=cd0,bus=ide.1,bootindex=0");
}

fn bare(machine: &Machine, artefacts: &Artefacts, words: &mut Words) -> Result<()> {
    words.add("-kernel", text(kernel(machine, artefacts)?));
    words.add("-append", parent_args(machine));
    if let Parent::Initramfs(path) = &machine.parent {
        words.add("-initrd", text(exists(path)?));
    }
    Ok(())
}

fn hypervised(machine: &Machine, artefacts: &Artefacts, words: &mut Words) -> Result<()> {
    let hypervisor = machine.hypervisor.as_deref().unwrap_or(&artefacts.hypervisor);
    words.add("-kernel", text(exists(hypervisor)?));
    words.add("-append", hv_args(machine));
    if machine.parent == Parent::Nothing {
        return Ok(());
    }
    let module = format!("{} {}", text(kernel(machine, artefacts)?), parent_args(machine));
    let mut modules = vec![module.replace(',', ",,")];
    if let Parent::Initramfs(path) = &machine.parent {
        modules.push(text(exists(path)?).replace(',', ",,"));
    }
    words.add("-initrd", modules.join(","));
    Ok(())
}

fn kernel<'a>(machine: &'a Machine, artefacts: &'a Artefacts) -> Result<&'a Path> {
    exists(machine.kernel.as_deref().unwrap_or(&artefacts.kernel))
}

/// The hypervisor's command line.
pub(crate) fn hv_args(machine: &Machine) -> String {
    let mut words = vec!["console=com1".to_owned()];
    if has_boot_cpu(machine) {
        words.push("boot_lp=off".to_owned());
    }
    words.extend(machine.hv_args.iter().cloned());
    words.join(" ")
}

/// The parent kernel's command line.
pub(crate) fn parent_args(machine: &Machine) -> String {
    let mut words = vec![PARENT_ARGS.to_owned()];
    if machine.parent == Parent::Debian {
        let device = match machine.disk {
            Disk::Virtio => "vda",
            Disk::Nvme => "nvme0n1",
            Disk::Ahci => "sda",
        };
        words.push(format!("root=/dev/{device} rw"));
    }
    if machine.child_disk.is_some() {
        words.push("zemin.example".to_owned());
    }
    words.extend(machine.parent_args.iter().cloned());
    words.join(" ")
}

fn exists(path: &Path) -> Result<&Path> {
    if path.exists() { Ok(path) } else { Err(Error::NotBuilt(path.to_owned())) }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// In QEMU's `name=value` lists a comma is doubled.
fn escaped(path: &Path) -> String {
    text(path).replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artefacts() -> (tempfile::TempDir, Artefacts) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = |name: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, "").expect("written");
            path
        };
        let artefacts = Artefacts {
            qemu: vec!["qemu".to_owned()],
            qemu_environment: Default::default(),
            out: directory.path().to_owned(),
            hypervisor: file("zemin"),
            kernel: file("vmlinuz"),
            rootfs: file("rootfs.img"),
            guests: directory.path().to_owned(),
            busybox: file("busybox"),
            toolbox: directory.path().to_owned(),
        };
        (directory, artefacts)
    }

    fn value<'a>(words: &'a [String], option: &str) -> Option<&'a str> {
        let position = words.iter().position(|word| word == option)?;
        words.get(position + 1).map(String::as_str)
    }

    #[test]
    fn hypervisor_gets_the_kernel_as_a_module_with_doubled_commas() {
        let (_guard, artefacts) = artefacts();
        let machine = Machine::new().parent_args("a=1,2").hv_args("loglevel=debug");
        let words = words(&machine, &artefacts).expect("complete");
        assert!(value(&words, "-kernel").expect("a kernel").ends_with("/zemin"));
        assert_eq!(value(&words, "-append"), Some("console=com1 loglevel=debug"));
        let module = value(&words, "-initrd").expect("a module");
        assert!(
            module.contains("/vmlinuz console=ttyS0")
                && module.ends_with("root=/dev/vda rw a=1,,2"),
            "{module}"
        );
    }

    #[test]
    fn bare_machine_boots_the_kernel_itself() {
        let (_guard, artefacts) = artefacts();
        let words =
            words(&Machine::new().bare(true).disk(Disk::Nvme), &artefacts).expect("complete");
        assert!(value(&words, "-kernel").expect("a kernel").ends_with("/vmlinuz"));
        assert!(value(&words, "-append").expect("arguments").contains("root=/dev/nvme0n1 rw"));
        assert_eq!(value(&words, "-initrd"), None);
    }

    #[test]
    fn initrd_is_a_second_module() {
        let (guard, artefacts) = artefacts();
        let machine = Machine::new().initrd(guard.path().join("busybox"));
        let words = words(&machine, &artefacts).expect("complete");
        let modules = value(&words, "-initrd").expect("modules");
        assert_eq!(modules.split(',').count(), 2);
        assert!(!words.iter().any(|word| word.contains("disk0")), "an initramfs boot has no disk");
    }

    #[test]
    fn guests_never_run_on_the_first_of_several_threads() {
        let (_guard, artefacts) = artefacts();
        let of = |machine: Machine| {
            let machine = Machine { one_thread: false, ..machine };
            let words = words(&machine, &artefacts).expect("complete");
            let value = |option| value(&words, option).expect("there").to_owned();
            let rests = words.iter().any(|word| word.contains("boot_lp=off"));
            (value("-accel"), value("-smp"), rests)
        };
        let expected = |accel: &str, cpus: &str, rests| (accel.to_owned(), cpus.to_owned(), rests);
        assert_eq!(of(Machine::new().lps(2)), expected("tcg", "3", true));
        assert_eq!(of(Machine::new()), expected("tcg", "1", false));
        assert_eq!(of(Machine::new().lps(2).bare(true)), expected("tcg", "2", false));
        assert_eq!(
            of(Machine::new().lps(2).icount(true)),
            expected("tcg,thread=single", "2", false)
        );
        let medium = Machine::new().lps(2).media(Media::Cdrom(artefacts.kernel.clone()));
        assert_eq!(of(medium), expected("tcg,thread=single", "2", false));
    }

    #[test]
    fn missing_file_is_named() {
        let (_guard, artefacts) = artefacts();
        let machine = Machine::new().kernel("/nowhere/vmlinuz");
        let error = words(&machine, &artefacts).expect_err("there is no such kernel");
        assert!(error.to_string().starts_with("/nowhere/vmlinuz is missing"), "{error}");
    }

    #[test]
    fn hypervisor_without_parent_gets_no_module() {
        let (_guard, artefacts) = artefacts();
        let words = words(&Machine::new().parent(Parent::Nothing), &artefacts).expect("complete");
        assert_eq!(value(&words, "-initrd"), None);
        assert!(value(&words, "-kernel").is_some());
    }
}
