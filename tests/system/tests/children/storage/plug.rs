//! Controllers, disks, drives and media come and go while the guest runs.

use anyhow::{Result, ensure};
use harness::Running;

use super::child::{COMMAND, Child};

pub fn come_and_go(parent: &mut Running) -> Result<()> {
    parent
        .shell("cd /store/t; zm disk create a.vhdx --size 64M; zm disk create b.img --size 64M")?;
    let child = &mut Child::boot(parent, "")?;
    disks(child)?;
    removal_in_use(child)?;
    media(child)?;
    controllers(child)
}

/// A controller comes with a disk on it, is used, and goes while the guest has the disk open. Twice: the guest takes the
/// second for a new one.
fn controllers(child: &mut Child<'_>) -> Result<()> {
    let hosts = "ls /sys/class/scsi_host | wc -l";
    let before = child.shell(hosts)?;
    for _ in 0..2 {
        ensure!(child.controller("add", "")?.trim() == "controller 1", "the lowest number");
        child.disk("add", "/store/t/a.vhdx --lun 1:33")?;
        let name = child.block_device("33")?;
        child.shell(&format!(
            "head -c 1m /dev/urandom > /tmp/a; dd if=/tmp/a of=/dev/{name} bs=64k oflag=direct; \
             [ \"$(md5sum < /tmp/a)\" = \"$(dd if=/dev/{name} bs=64k count=16 iflag=direct | md5sum)\" ]"
        ))?;
        let reading = child.begin(&format!(
            "echo read''ing; while dd if=/dev/{name} of=/tmp/b bs=4k count=1 iflag=direct; do :; done"
        ))?;
        child.wait_for("^reading", COMMAND)?;
        child.controller("remove", "1")?;
        child.finish(reading, COMMAND)?;
        child.wait_gone(33)?;
        child.shell(&format!("until [ $({hosts}) = {} ]; do sleep 0.05; done", before.trim()))?;
        child.parent.shell("zm disk check /store/t/a.vhdx")?.success()?;
    }
    Ok(())
}

/// A disk comes, is used, goes and comes back with what was written to it.
fn disks(child: &mut Child<'_>) -> Result<()> {
    for lun in [7, 3] {
        child.disk("add", &format!("/store/t/a.vhdx --lun {lun}"))?;
        let name = child.block_device(&lun.to_string())?;
        let said = child.no_disk("add", &format!("/store/t/b.img --lun {lun}"))?;
        ensure!(said.contains("taken"), "{said}");
        ensure!(child.no_disk("add", "/store/t/a.vhdx")?.contains("cannot use"), "twice");
        let command = if lun == 7 {
            format!(
                "head -c 1m /dev/urandom > /tmp/a; dd if=/tmp/a of=/dev/{name} bs=64k oflag=direct"
            )
        } else {
            format!(
                "dd if=/dev/{name} of=/tmp/b bs=64k count=16 iflag=direct; [ \"$(md5sum < /tmp/a)\" = \"$(md5sum < /tmp/b)\" ]"
            )
        };
        child.shell(&command)?;
        child.disk("remove", &lun.to_string())?;
        child.wait_gone(lun)?;
        // Nobody has it open any more.
        child.parent.shell("zm disk check /store/t/a.vhdx")?.success()?;
    }
    ensure!(child.no_disk("remove", "7")?.contains("nothing is attached as LUN 7"), "gone");
    Ok(())
}

/// A disk that is pulled while it is written to: errors, and the guest goes on.
fn removal_in_use(child: &mut Child<'_>) -> Result<()> {
    let name = child.add_disk("/store/t/b.img --lun 9")?;
    let write = format!(
        "echo wri''ting; fio --name=w --filename=/dev/{name} --direct=1 --ioengine=libaio --iodepth=32 --rw=randwrite --bs=4k --time_based --runtime=1000"
    );
    let writing = child.begin(&write)?;
    child.wait_for("^writing", COMMAND)?;
    child.parent.shell("until [ $(stat -c %b /store/t/b.img) -gt 100 ]; do sleep 0.05; done")?;
    child.disk("remove", "9")?;
    let (status, text) = child.finish(writing, COMMAND)?;
    ensure!(status != 0, "fio noticed nothing:\n{text}");
    child.wait_gone(9)
}

/// A drive with media that go in and out, from both sides.
fn media(child: &mut Child<'_>) -> Result<()> {
    child.disk("add", "--dvd --lun 20")?;
    let name = &child.block_device("20")?;
    let mount = format!("mkdir -p /tmp/c; mount -t iso9660 -o ro /dev/{name} /tmp/c");
    ensure!(child.run(&mount, COMMAND)?.0 != 0, "nothing is in it");
    for (number, medium) in ["one", "two"].into_iter().enumerate() {
        child.disk("insert", &format!("20 /media/{medium}.iso"))?;
        let read = format!("{mount}; cat /tmp/c/{medium}");
        let text = child.shell(&read)?;
        ensure!(text.lines().last() == Some(medium), "{text:?}");
        // It is in use: the guest has locked the door.
        let said = child.no_disk("eject", "20")?;
        ensure!(said.contains("the guest holds the medium"), "{said}");
        child.shell("umount /tmp/c")?;
        match number {
            0 => drop(child.disk("eject", "20")?),
            _ => drop(child.shell(&format!("eject /dev/{name}"))?),
        }
        let list = child.disk("list", "--json")?;
        ensure!(!list.contains(".iso"), "{list}");
        ensure!(child.run(&mount, COMMAND)?.0 != 0, "nothing is in it any more");
    }
    child.disk("insert", "20 /media/one.iso")?;
    child.shell(&mount)?;
    child.disk("eject", "20 --force")?;
    child.shell("umount /tmp/c")?;
    child.disk("remove", "20")?;
    child.wait_gone(20)
}
