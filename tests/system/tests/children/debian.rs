//! A whole Debian with its root on a disk that the worker serves through VMBus.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{Machine, Running};
use system_tests::{Tests, on, wait_until};

use super::machine::{directory, parent};

const LIMIT: Duration = Duration::from_secs(900);

/// Adds all of them.
pub fn add(tests: &mut Tests) {
    for cpus in [1, 2, 4] {
        tests.add_if(
            cpus == 2,
            format!("debian::boots_from_a_vhdx_on_vmbus::{cpus}vp"),
            move || on("children-debian", machine, |parent| boots(parent, cpus, From::Files)),
        );
    }
    tests.add("debian::comes_with_the_machine", || {
        on("complete", complete_machine, comes_with_the_machine)
    });
    tests.add("debian::kernel_of_its_own_disk_boots_it", || {
        on("children-debian", machine, |parent| boots(parent, 1, From::Disk))
    });
}

/// The machine of `cargo xtask up`.
fn complete_machine() -> Result<Machine> {
    Ok(Machine::new().lps(2).memory_mib(3072).child_disk(directory()?.join("debian.img")))
}

/// The child gets to its login while the parent boots, from the kernel that the image has unpacked.
fn comes_with_the_machine(parent: &mut Running) -> Result<()> {
    let log = "/run/zemin/vms/debian.log";
    wait_until("child", LIMIT, || {
        let running = parent.shell(&format!("zm vm list | grep debian; cat {log}"))?;
        Ok(running.text.contains("the VM starts").then_some(()))
    })?;
    // A line now and then brings the prompt anew, should it have been there before.
    let console = "mkfifo /tmp/in; zm vm console debian <> /tmp/in > /tmp/out 2>&1 & \
         until grep -q 'zemin-child login:' /tmp/out; do kill -0 $! || exit 1; echo > /tmp/in; sleep 5; done";
    let output = parent.shell_within(console, LIMIT)?;
    ensure!(output.status == 0, "{}", parent.shell(&format!("cat /tmp/out {log}"))?.text);
    let seen = parent.shell(&format!("ls /var/cache/zemin/kernels; cat {log}"))?.success()?;
    ensure!(seen.contains(".kernel1\n") && seen.contains("was unpacked before"), "{seen}");
    Ok(())
}

/// A guest's kernel and initrd: from files beside the disk, or those that the disk's own system would start.
#[derive(Clone, Copy)]
enum From {
    Files,
    Disk,
}

impl From {
    fn options(self) -> &'static str {
        match self {
            Self::Files => {
                "--kernel vmlinuz --initrd initrd.img --cmdline 'root=/dev/sda rw CMDLINE'"
            }
            Self::Disk => "--cmdline 'rw CMDLINE'",
        }
    }
}

/// The parent finds the guest's disk and kernel in a file system on a disk of its own.
fn machine() -> Result<Machine> {
    let image = directory()?.join("debian.img");
    let drive = format!("if=none,id=store,format=raw,snapshot=on,file={}", image.display());
    Ok(parent(2, 3072)?.extra(["-drive", &drive, "-device", "virtio-blk-pci,drive=store"]))
}

fn boots(parent: &mut Running, cpus: u32, from: From) -> Result<()> {
    parent
        .shell("mkdir -p /store; grep -q /store /proc/mounts || mount -t ext4 /dev/vda /store")?
        .success()?;
    let words = "console=ttyS0 quiet systemd.show_status=0 panic=-1 zemin.report";
    let command = format!(
        "cd /store; vmwp --disk debian.vhdx --cpus {cpus} --memory 768M {} --on-reset exit --log warn < /dev/null",
        from.options().replace("CMDLINE", words)
    );
    let text = parent.shell_within(&command, LIMIT)?.success()?;
    for line in [
        "report root /dev/sda ext4",
        "report driver hv_storvsc",
        "report failed 0",
        "report data right",
        "report end",
    ] {
        // The prompt for a login may stand before it: both write to the same console.
        ensure!(text.lines().any(|found| found.trim().ends_with(line)), "no {line:?} in\n{text}");
    }
    Ok(())
}
