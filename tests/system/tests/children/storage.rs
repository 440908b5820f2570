//! The storage service under a stock Debian: what the guest's own tools see, whether data survives whatever happens, and
//! how errors arrive.
//!
//! Every test boots Debian's kernel and initrd with its root on a differencing disk over `debian.vhdx`, and a shell in
//! place of systemd ([`child`]). Programs that Debian leaves out come on a read-only disk of their own (`tools.img`).

mod child;
mod errors;
mod kexec;
mod look;
mod plug;
mod power;
mod stations;
mod verify;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use harness::{Artefacts, Machine, Running, Toolbox};
use system_tests::{Tests, on, scratch};

use super::machine::{directory, initramfs};

/// Adds all of them.
pub fn add(tests: &mut Tests) {
    let mut add = |always: bool, name: &str, check: fn(&mut Running) -> Result<()>| {
        tests.add_if(always, format!("storage::{name}"), move || {
            on("children-storage", machine, |parent| {
                child::tidy_up(parent)?;
                check(parent)
            })
        });
    };
    add(true, "tools_see_what_they_see_on_hyper_v", look::tools);
    add(true, "guest_boots_from_an_ide_controller", look::ide);
    add(true, "disks_and_media_come_and_go", plug::come_and_go);
    add(true, "a_write_is_seen_on_its_way_and_computing_is_not", stations::seen);
    add(true, "another_kernel_takes_over_the_disks", kexec::another_kernel);
    add(false, "crash_kernel_finds_the_disks", kexec::crash_kernel);
    add(true, "memory_in_huge_pages_is_known_to_the_disks", verify::huge_pages);
    add(false, "random_io_verifies_on_all_formats", verify::short);
    add(false, "random_io_verifies_at_all_queue_depths", verify::long);
    add(false, "full_store_fails_the_write_and_nothing_else", errors::full);
    add(false, "full_store_lets_writes_wait_if_asked_to", errors::wait);
    add(false, "bad_sectors_are_told_exactly", errors::bad_sectors);
    add(false, "power_cuts_lose_nothing_flushed::3", |parent| power::cuts(parent, 3));
    add(false, "power_cuts_lose_nothing_flushed::100", |parent| power::cuts(parent, 100));
}

/// A sector of the disk at `/dev/vdc` that cannot be written, and one that cannot be read.
const UNWRITABLE: u64 = 1000;
const UNREADABLE: u64 = 2000;

/// The parent finds Debian's disk on `/dev/vda`, the tools on `/dev/vdb` and a disk with errors on `/dev/vdc`.
fn machine() -> Result<Machine> {
    let image = initramfs()?.file("media/one.iso", std::fs::read(iso("one")?)?, 0o644).file(
        "media/two.iso",
        std::fs::read(iso("two")?)?,
        0o644,
    );
    let image = image.script("mkdir /store; mount -t ext4 /dev/vda /store").shell();
    let initrd = image.write(scratch()?.join("children-storage.cpio"))?;
    let drive = |name: &str, file: &str| -> Result<[String; 2]> {
        let path = directory()?.join(file);
        Ok([
            "-drive".to_owned(),
            format!("if=none,id={name},format=raw,snapshot=on,file={}", path.display()),
        ])
    };
    let errors = |kind: &str, sector: u64| {
        format!(
            r#"{{"event":"none","iotype":"{kind}","sector":{sector},"errno":5,"once":false,"immediately":true}}"#
        )
    };
    let bad = format!(
        r#"{{"driver":"blkdebug","node-name":"bad","image":{{"driver":"null-co","size":16777216,"read-zeroes":true}},"inject-error":[{},{}]}}"#,
        errors("write", UNWRITABLE),
        errors("read", UNREADABLE)
    );
    let device = |name: &str| {
        ["-device".to_owned(), format!("virtio-blk-pci,drive={name},werror=report,rerror=report")]
    };
    Ok(Machine::new()
        .lps(2)
        .memory_mib(3072)
        .initrd(initrd)
        .extra(drive("store", "debian.img")?)
        .extra(drive("tools", "tools.img")?)
        .extra(["-blockdev".to_owned(), bad])
        .extra(["store", "tools", "bad"].into_iter().flat_map(device)))
}

/// An ISO image with a file `name` that contains `name`.
fn iso(name: &str) -> Result<PathBuf> {
    let (path, content) = (scratch()?.join(format!("{name}.iso")), scratch()?.join("iso"));
    let _ = std::fs::remove_dir_all(&content);
    std::fs::create_dir(&content)?;
    std::fs::write(content.join(name), format!("{name}\n"))?;
    let toolbox = Toolbox::at(Artefacts::load()?.toolbox);
    let mut xorriso: Command = toolbox.command("usr/bin/xorriso");
    xorriso.args(["-report_about", "FAILURE", "-as", "mkisofs", "-quiet", "-V", name, "-o"]);
    let status =
        xorriso.arg(&path).arg(&content).stdin(Stdio::null()).stderr(Stdio::null()).status()?;
    ensure!(status.success(), "xorriso: {status}");
    Ok(path)
}
