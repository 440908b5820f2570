//! A kernel that takes over from another without a reset: VMBus is unloaded and connected anew.

use anyhow::{Result, ensure};
use harness::Running;

use super::child::{COMMAND, Child, Shape, new_root};

/// Where a guest's own kernel and initrd lie, as seen with the tools' root.
const KERNEL: &str = "/proc/1/root/boot/vmlinuz-* --initrd=$(ls /proc/1/root/boot/initrd.img-*)";
const WRITE: &str = "head -c 4m /dev/urandom > /proc/1/root/var/tmp/data; sync; md5sum < /proc/1/root/var/tmp/data > /proc/1/root/var/tmp/sum; sync";
const COMPARE: &str = "md5sum < /var/tmp/data | diff - /var/tmp/sum";

/// The root's name for a kernel that finds the tools' disk too: Linux names disks in the order in which they answer.
fn root(child: &mut Child<'_>) -> Result<String> {
    let uuid = child.shell("blkid -o value -s UUID /dev/sda")?;
    ensure!(uuid.trim().len() == 36, "{uuid:?}");
    Ok(format!("root=UUID={}", uuid.trim()))
}

/// The same kernel again, on both processors, twice: what the first one wrote is there, and its devices work.
pub fn another_kernel(parent: &mut Running) -> Result<()> {
    let child = &mut Child::boot(parent, "")?;
    let root = root(child)?;
    child.shell(WRITE)?;
    for round in 1..=2 {
        child.shell(&format!(
            "kexec -s -l {KERNEL} --reuse-cmdline --append='{root} zemin.round={round}'"
        ))?;
        child.reboot_by("kexec -e")?;
        let booted = child.shell("grep -o 'zemin.round=[0-9]*' /proc/cmdline | tail -n 1")?;
        ensure!(
            booted.trim() == format!("zemin.round={round}"),
            "round {round}: not the kernel that was loaded, but {booted:?}:\n{}",
            child.evidence()?
        );
        ensure!(child.shell("nproc")?.trim() == "2", "all processors started again");
        child.shell(COMPARE)?;
        let complaints = child.shell("dmesg | grep -c -E 'I/O error|timing out|hung'; true")?;
        ensure!(complaints.trim() == "0", "{}", child.shell("dmesg | tail -n 40")?);
        child.disk("remove", "60")?;
        child.enter()?;
    }
    Ok(())
}

/// A kernel that panics, and the one that was kept for that moment.
pub fn crash_kernel(parent: &mut Running) -> Result<()> {
    new_root(parent)?;
    let machine = Shape { memory: "1G", cmdline: "crashkernel=320M" };
    let child = &mut Child::start_as(parent, &machine, "--disk /store/t/root.vhdx")?;
    child.enter()?;
    let root = root(child)?;
    child.shell(WRITE)?;
    child.shell(&format!(
        "kexec -s -p {KERNEL} --reuse-cmdline --append='{root} zemin.round=crash nr_cpus=1 reset_devices'"
    ))?;
    child.reboot_by("echo c > /proc/sysrq-trigger")?;
    let (status, text) =
        child.run("grep -o zemin.round=crash /proc/cmdline; test -e /proc/vmcore", COMMAND)?;
    ensure!(status == 0, "{text}");
    child.shell(COMPARE)?;
    Ok(())
}
