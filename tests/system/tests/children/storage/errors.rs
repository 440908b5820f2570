//! Errors of the store reach the guest as what they are, and cost it nothing else.

use anyhow::{Result, ensure};
use harness::Running;

use super::child::{COMMAND, Child, recovers};
use super::{UNREADABLE, UNWRITABLE};

/// A child with a disk of 64 MiB in a store of 24 MiB, with 8 MiB of data at its beginning; the disk's name in the child.
fn small_store<'a>(parent: &'a mut Running, options: &str) -> Result<(Child<'a>, String)> {
    let make = "mkdir -p /small; mount -t tmpfs -o size=24m small /small; zm disk create /small/a.vhdx --size 64M --block-size 1M";
    parent.shell(make)?.success()?;
    let mut child = Child::boot(parent, options)?;
    let name = child.add_disk("/small/a.vhdx")?;
    child.shell(&FILL.replace("NAME", &name))?;
    Ok((child, name))
}

const FILL: &str = "head -c 8m /dev/urandom > /tmp/a; dd if=/tmp/a of=/dev/NAME bs=1M oflag=direct conv=fsync 2>&1";
const SAME: &str = "[ \"$(dd if=/dev/NAME bs=1M count=8 iflag=direct 2> /dev/null | md5sum)\" = \"$(md5sum < /tmp/a)\" ]";
/// 32 MiB at 16 MiB.
const TOO_MUCH: &str = "dd if=/dev/urandom of=/dev/NAME bs=1M count=32 seek=16 oflag=direct 2>&1";

pub fn full(parent: &mut Running) -> Result<()> {
    let (mut child, name) = small_store(parent, "")?;
    let named = |command: &str| command.replace("NAME", &name);
    child.shell("dmesg -C")?;
    let (status, text) = child.run(&named(TOO_MUCH), COMMAND)?;
    ensure!(status != 0 && text.contains("No space left on device"), "{status}: {text}");
    let said = child.shell("dmesg")?;
    for line in ["Sense Key : Data Protect", "Space allocation failed write protect"] {
        ensure!(said.contains(line), "{line:?} is not in\n{said}");
    }
    child.shell(&named(SAME))?;
    // What is allocated can be written, and what is not cannot, until there is space.
    child.shell(&named("dd if=/tmp/a of=/dev/NAME bs=1M oflag=direct conv=fsync"))?;
    child.parent.shell("mount -o remount,size=128m /small")?.success()?;
    child.shell(&named(TOO_MUCH))?;
    child.shell(&named(SAME))?;
    child.cut_power()?;
    recovers(child.parent, "/small/a.vhdx")
}

pub fn wait(parent: &mut Running) -> Result<()> {
    let (mut child, name) = small_store(parent, "--on-no-space wait")?;
    let named = |command: &str| command.replace("NAME", &name);
    let data = "head -c 32m /dev/urandom > /tmp/b; echo sta''rts; dd if=/tmp/b of=/dev/NAME bs=1M seek=16 oflag=direct conv=fsync";
    let writing = child.begin(&named(data))?;
    // All space is taken, and the command is not over.
    let taken = "until [ $(df -P /small | awk 'END { print $4 }') -lt 1100 ]; do sleep 0.05; done";
    child.parent.shell(taken)?.success()?;
    child.wait_for("^starts", COMMAND)?;
    ensure!(!child.console()?.contains(&format!("end-{writing} ")), "it was to wait");
    child.parent.shell("mount -o remount,size=128m /small")?.success()?;
    child.disk("resume", "")?;
    let (status, text) = child.finish(writing, COMMAND)?;
    ensure!(status == 0, "{text}");
    child.shell(&named(SAME))?;
    let same = "[ \"$(dd if=/dev/NAME bs=1M skip=16 count=32 iflag=direct 2> /dev/null | md5sum)\" = \"$(md5sum < /tmp/b)\" ]";
    child.shell(&named(same))?;
    Ok(())
}

/// A disk of the parent's with one sector that cannot be written and one that cannot be read.
pub fn bad_sectors(parent: &mut Running) -> Result<()> {
    let child = &mut Child::boot(parent, "")?;
    let name = &child.add_disk("/dev/vdc,format=raw")?;
    let write = |sector: u64| {
        format!("dd if=/dev/zero of=/dev/{name} bs=512 count=1 seek={sector} oflag=direct 2>&1")
    };
    let read = |sector: u64| {
        format!("dd if=/dev/{name} of=/dev/null bs=512 count=1 skip={sector} iflag=direct 2>&1")
    };
    // Linux calls what a medium has lost ENODATA (`scsi_check_sense`, `BLK_STS_MEDIUM`).
    for (bad, good, says, error) in [
        (write(UNWRITABLE), write(UNWRITABLE + 8), "Write error", "Input/output error"),
        (read(UNREADABLE), read(UNREADABLE + 8), "Unrecovered read error", "No data available"),
    ] {
        child.shell("dmesg -C")?;
        let (status, text) = child.run(&bad, COMMAND)?;
        ensure!(status != 0 && text.contains(error), "{status}: {text}");
        let said = child.shell("dmesg")?;
        for line in ["Sense Key : Medium Error", &format!("Add. Sense: {says}")] {
            ensure!(said.contains(line), "{line:?} is not in\n{said}");
        }
        child.shell(&good)?;
    }
    Ok(())
}
