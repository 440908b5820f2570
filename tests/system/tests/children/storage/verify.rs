//! Data comes back as it was written: `fio` checks every block by its sum.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::Running;

use super::child::{Child, recovers};

const LIMIT: Duration = Duration::from_secs(3600);

/// How the disks are made: in two sets of four, which are driven together.
const DISKS: [[(&str, &str); 4]; 2] = [
    [
        ("raw.img", "--size 64M"),
        ("dynamic.vhdx", "--size 64M --block-size 1M"),
        ("dynamic.vhd", "--size 64M"),
        ("4k.vhdx", "--size 64M --block-size 1M --sector-size 4096"),
    ],
    [
        ("fixed.vhdx", "--size 64M --fixed"),
        ("fixed.vhd", "--size 64M --fixed"),
        ("child.vhdx", "--parent base.vhdx"),
        ("child.vhd", "--parent base.vhd"),
    ],
];

/// Sizes of the commands and how many in a hundred are so large.
const SIZES: &str = "512/10:1536/10:4k/30:12k/10:64k/20:68k/5:256k/10:1m/5";
const SIZES_4K: &str = "4k/40:12k/15:64k/20:68k/10:256k/10:1m/5";

pub fn short(parent: &mut Running) -> Result<()> {
    verify(parent, &[(1, "2m"), (256, "12m")])
}

pub fn long(parent: &mut Running) -> Result<()> {
    verify(parent, &[(1, "16m"), (4, "64m"), (32, "64m"), (128, "64m"), (256, "64m")])
}

/// The first two kinds of disks under a child whose memory the disks' rings know beforehand.
pub fn huge_pages(parent: &mut Running) -> Result<()> {
    // Pages of 2 MiB: the child's 512 MiB.
    parent.shell("echo 256 > /proc/sys/vm/nr_hugepages")?.success()?;
    let child = &mut Child::boot(parent, "--hugepages")?;
    let disks = DISKS.first().map(|set| set.iter().take(2)).into_iter().flatten();
    let mut jobs = String::new();
    for (file, how) in disks.clone() {
        child.parent.shell(&format!("cd /store/t; zm disk create {file} {how}"))?.success()?;
        let name = child.add_disk(&format!("/store/t/{file}"))?;
        jobs += &format!(" --name={name} --filename=/dev/{name} --bssplit={SIZES}");
    }
    run(child, 8, "8m", &jobs)?;
    let rings = "grep -h '^UserBufs:' /proc/$(pidof vmwp)/fdinfo/*";
    let rings = child.parent.shell(rings)?.success()?;
    let known = rings.lines().filter(|line| !line.trim_end().ends_with("\t0")).count();
    // The root's, and one of each of these; more if there are several channels.
    ensure!(known >= 3, "rings that know the memory: {known}\n{rings}");
    child.cut_power()?;
    for (file, _) in disks {
        recovers(child.parent, &format!("/store/t/{file}"))?;
    }
    let free = child.parent.shell("grep HugePages_Free /proc/meminfo")?.success()?;
    ensure!(free.split_whitespace().nth(1) == Some("256"), "not all came back: {free}");
    child.parent.shell("echo 0 > /proc/sys/vm/nr_hugepages")?.success()?;
    Ok(())
}

/// Fills each set of disks with `amount` bytes at a time at each depth.
fn verify(parent: &mut Running, depths: &[(u32, &str)]) -> Result<()> {
    parent.shell(
        "cd /store/t; zm disk create base.vhdx --size 64M; zm disk create base.vhd --size 64M",
    )?;
    for (file, how) in DISKS.as_flattened() {
        parent.shell(&format!("cd /store/t; zm disk create {file} {how}"))?.success()?;
    }
    let child = &mut Child::boot(parent, "")?;
    for set in &DISKS {
        let mut jobs = String::new();
        for (file, _) in set {
            let name = child.add_disk(&format!("/store/t/{file}"))?;
            let sizes = if file.contains("4k") { SIZES_4K } else { SIZES };
            jobs += &format!(" --name={name} --filename=/dev/{name} --bssplit={sizes}");
        }
        for (depth, amount) in depths {
            // Buffers of all commands at once have to fit into the guest.
            let jobs =
                if *depth > 32 { jobs.replace(":256k/10:1m/5", ":128k/15") } else { jobs.clone() };
            run(child, *depth, amount, &jobs)?;
        }
    }
    let files: Vec<_> = DISKS.as_flattened().iter().map(|(file, _)| *file).collect();
    child.cut_power()?;
    for file in files {
        recovers(child.parent, &format!("/store/t/{file}"))?;
    }
    Ok(())
}

/// Writes in random order and reads all of it again, some of it soon after.
fn run(child: &mut Child<'_>, depth: u32, amount: &str, jobs: &str) -> Result<()> {
    let command = format!(
        "fio --direct=1 --ioengine=libaio --iomem_align=512 --rw=randrw --rwmixread=30 --verify=crc32c --verify_fatal=1 --verify_backlog=256 \
         --randrepeat=0 --end_fsync=1 --verify_state_save=0 --group_reporting --output-format=terse --iodepth={depth} --size=64m --io_size={amount} {jobs}"
    );
    let (status, text) = child.run(&command, LIMIT)?;
    ensure!(status == 0 && !text.contains("verify:"), "depth {depth}: {status}\n{text}");
    let errors = child.shell("dmesg | grep -c -E \"I/O error|Sense Key|timing out\"; true")?;
    ensure!(errors.trim() == "0", "{}", child.shell("dmesg | tail -n 30")?);
    Ok(())
}
