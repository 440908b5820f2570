//! What a guest's tools see, and say.

use anyhow::{Context as _, Result, ensure};
use harness::Running;

use super::child::{Child, new_root};

/// Classes of devices on VMBus (`include/linux/hyperv.h`).
const SCSI: &str = "{ba6163d9-04a1-4d29-b605-72e2ffb1dc7f}";
const IDE: &str = "{32412632-86cb-44a2-9b5c-50d1417354f5}";

/// Each command prints a line with each of the texts.
fn prints(child: &mut Child<'_>, command: &str, texts: &[&str]) -> Result<()> {
    let output = child.shell(command)?;
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    for text in texts {
        let found = output.lines().any(|line| words(line).contains(text));
        ensure!(found, "{command:?} in the guest does not say {text:?}:\n{output}");
    }
    Ok(())
}

pub fn tools(parent: &mut Running) -> Result<()> {
    let make = "cd /store/t; zm disk create a.vhdx --size 256M --block-size 1M; zm disk create 4k.vhdx --size 64M --sector-size 4096; \
        zm disk create r.img --size 64M; zm disk create o.vhd --size 32M";
    parent.shell(make)?.success()?;
    let child = &mut Child::boot(parent, "--dvd /media/one.iso")?;
    prints(child, "cat /sys/bus/vmbus/devices/*/class_id", &[SCSI])?;
    prints(child, "basename $(readlink /sys/bus/vmbus/devices/*/driver)", &["hv_storvsc"])?;
    prints(child, "lsvmbus", &["VMBUS ID 1: Synthetic SCSI Controller"])?;
    // The controller's channel, and one more for the second processor.
    let class = format!("Class_ID = {SCSI} - Synthetic SCSI Controller");
    let channels = ["Rel_ID=1, target_cpu=0", "target_cpu=1"];
    prints(child, "lsvmbus -v", &[&class, channels[0], channels[1]])?;
    let long = ["Device_ID = {", "Sysfs path: /sys/bus/vmbus/devices/"];
    prints(child, "lsvmbus -vv", &[&class, long[0], long[1], channels[0], channels[1]])?;
    prints(child, "lsscsi", &["disk Msft Virtual Disk 1.0", "cd/dvd Msft Virtual DVD-ROM 1.0"])?;
    let disks = ["a.vhdx", "4k.vhdx", "r.img", "o.vhd"]
        .map(|file| child.add_disk(&format!("/store/t/{file}")));
    let [a, four, raw, old] = disks;
    let (a, four, raw, old) = (a?, four?, raw?, old?);
    prints(
        child,
        &format!("sg_inq /dev/{a}"),
        &["Vendor identification: Msft", "Product identification: Virtual Disk", "PDT=0"],
    )?;
    let page = |name: &str| format!("sg_vpd -p {name} /dev/{a}");
    prints(child, &page("sv"), &["Block limits (SBC)", "Device identification"])?;
    prints(child, &page("bl"), &["Maximum unmap LBA count:", "Optimal unmap granularity:"])?;
    prints(child, &page("lbpv"), &["LBPU=1"])?;
    prints(child, &page("di"), &["NAA"])?;
    let identity = |name: &str| format!("sg_vpd -q -p di /dev/{name}");
    ensure!(child.shell(&identity(&a))? != child.shell(&identity(&raw))?, "disks have names");
    prints(
        child,
        &format!("sg_readcap -l /dev/{a}"),
        &["Number of logical blocks=524288", "Logical block length=512 bytes", "lbpme=1"],
    )?;
    prints(child, &format!("sg_readcap -l /dev/{four}"), &["Logical block length=4096 bytes"])?;
    prints(child, &format!("blockdev --getss --getsize64 /dev/{four}"), &["4096", "67108864"])?;
    prints(child, &format!("hdparm -g /dev/{a}"), &["sectors = 524288"])?;
    for name in [&a, &four, &raw, &old] {
        trim(child, name)?;
    }
    discard(child, &raw)?;
    Ok(())
}

/// A file system gives back what it does not use, all of it in one go, and what it holds stays.
fn trim(child: &mut Child<'_>, name: &str) -> Result<()> {
    let fill = format!(
        "mke2fs -q -F -t ext4 -E nodiscard /dev/{name}; mkdir -p /tmp/d; mount /dev/{name} /tmp/d; \
         head -c 4m /dev/urandom > /tmp/d/keep; head -c 12m /dev/urandom > /tmp/d/drop; sync; rm /tmp/d/drop; sync; md5sum < /tmp/d/keep"
    );
    let before = child.shell(&fill)?;
    prints(child, "fstrim -v /tmp/d", &["/tmp/d:", "bytes) trimmed"])?;
    let after = "umount /tmp/d; echo 3 > /proc/sys/vm/drop_caches; mount /dev/NAME /tmp/d; md5sum < /tmp/d/keep; umount /tmp/d";
    let after = child.shell(&after.replace("NAME", name))?;
    ensure!(before.contains(after.trim()), "{name}: {before:?} became {after:?}");
    Ok(())
}

/// What was discarded takes no space in the parent, and is zero.
fn discard(child: &mut Child<'_>, name: &str) -> Result<()> {
    let blocks = "sync; stat -c %b /store/t/r.img";
    let fill = format!(
        "head -c 32m /dev/urandom > /tmp/r; dd if=/tmp/r of=/dev/{name} bs=1M oflag=direct"
    );
    child.shell(&fill)?;
    let full = system_tests::number(child.parent, blocks)?;
    ensure!(full >= 32 << 11, "{full} blocks with 32 MiB in them");
    child.shell(&format!("blkdiscard -o 1M -l 30M /dev/{name}"))?;
    let left = system_tests::number(child.parent, blocks)?;
    ensure!(left + (28 << 11) <= full, "{full} blocks, after a discard of 30 MiB {left}");
    let zeros =
        format!("dd if=/dev/{name} bs=1M skip=1 count=30 iflag=direct | tr -d '\\0' | wc -c");
    prints(child, &zeros, &["0"])
}

/// The boot disk is on an IDE controller, the tools are on the SCSI one.
pub fn ide(parent: &mut Running) -> Result<()> {
    new_root(parent)?;
    let child = &mut Child::start(parent, "--ide-disk /store/t/root.vhdx")?;
    let class = child.shell("cat $(readlink -f /sys/block/sda/device/../../..)/class_id")?;
    ensure!(class.trim() == IDE, "{class:?}");
    let root = child.shell("grep -w / /proc/mounts")?;
    ensure!(root.contains("/dev/sda") || root.contains("/dev/root"), "{root:?}");
    child.shell("head -c 8m /dev/urandom > /var/tmp/data; sync; md5sum < /var/tmp/data > /var/tmp/sum; sync")?;
    child.enter()?;
    prints(child, "sg_inq /dev/sda", &["Vendor identification: Msft"])?;
    prints(child, "lsvmbus", &["Synthetic IDE Controller", "Synthetic SCSI Controller"])?;
    child.cut_power()?;
    child.power_on().context("the second start")?;
    child.shell("md5sum < /var/tmp/data | diff - /var/tmp/sum")?;
    Ok(())
}
