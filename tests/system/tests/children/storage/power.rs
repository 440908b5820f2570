//! Power cuts in the middle of writes: what the guest has flushed is there afterwards, and its file system is sound.

use anyhow::{Context as _, Result, ensure};
use harness::Running;

use super::child::{COMMAND, Child, recovers};

/// The kinds of disks, one after the other.
const DISKS: [(&str, &str); 4] = [
    ("dynamic.vhdx", "--size 96M --block-size 1M"),
    ("dynamic.vhd", "--size 96M"),
    ("child.vhdx", "--parent base.vhdx"),
    ("raw.img", "--size 96M"),
];

/// What a file of the cycle `$c` with number `$n` contains.
const CONTENT: &str = "yes $c-$n | head -c $((n % 37 * 3001 + 100))";

/// Cuts the power `times` times.
pub fn cuts(parent: &mut Running, times: u32) -> Result<()> {
    parent.shell("cd /store/t; zm disk create base.vhdx --size 96M")?.success()?;
    for (file, how) in DISKS {
        parent.shell(&format!("cd /store/t; zm disk create {file} {how}"))?.success()?;
    }
    let child = &mut Child::boot(parent, "")?;
    for (file, _) in DISKS {
        let name = child.add_disk(&format!("/store/t/{file}"))?;
        child.shell(&format!("mke2fs -q -F -t ext4 /dev/{name}"))?;
        child.disk("remove", "1")?;
        child.wait_gone(1)?;
    }
    // Of each disk, the cycle that wrote to it last and how many files it had flushed.
    let mut flushed = [None; DISKS.len()];
    for cycle in 0..times {
        let which = cycle as usize % DISKS.len();
        let (file, slot) = (DISKS[which].0, &mut flushed[which]);
        let one = one(child, cycle, file, *slot);
        *slot = Some((cycle, one.with_context(|| format!("cycle {cycle}, {file}"))?));
        if cycle + 1 < times || times < 10 {
            child.power_on().with_context(|| format!("after cycle {cycle}"))?;
            child.enter()?;
        }
    }
    // The last ones of each disk are still to be looked at.
    for ((file, _), slot) in DISKS.iter().zip(flushed).filter(|_| times < 10) {
        if slot.is_some() {
            let name = child.add_disk(&format!("/store/t/{file}"))?;
            inspect(child, &name, slot)?;
        }
    }
    Ok(())
}

/// Looks at what the last cut left, writes, and cuts the power; how many files were flushed by then.
fn one(child: &mut Child<'_>, cycle: u32, file: &str, last: Option<(u32, u32)>) -> Result<u32> {
    let name = child.add_disk(&format!("/store/t/{file}"))?;
    inspect(child, &name, last)?;
    let write = format!(
        "mount /dev/{name} /tmp/d && rm -rf /tmp/d/c* && fstrim /tmp/d; c={cycle}; mkdir /tmp/d/c$c; \
         (while :; do dd if=/dev/urandom of=/tmp/d/junk bs=64k count=160 conv=notrunc; done 2> /dev/null) & \
         n=0; while n=$((n + 1)); do {CONTENT} > /tmp/d/c$c/$n; sync /tmp/d/c$c/$n /tmp/d/c$c && echo flu''shed $c $n; done"
    );
    child.begin(&write)?;
    // Somewhere in the middle, in each cycle elsewhere.
    child.wait_for(&format!("^flushed {cycle} {}$", 5 + cycle * 7 % 23), COMMAND)?;
    child.cut_power()?;
    for image in [file, "root.vhdx"] {
        recovers(child.parent, &format!("/store/t/{image}"))?;
    }
    // Of a line that was cut off nothing is believed.
    let console = child.console()?;
    let (whole, _) = console.rsplit_once('\n').unwrap_or_default();
    let prefix = format!("flushed {cycle} ");
    let numbers = whole.lines().filter_map(|line| line.strip_prefix(&prefix)?.parse().ok());
    numbers.max().context("files that were flushed")
}

/// The file system is sound once its journal is replayed, and everything flushed is in it.
fn inspect(child: &mut Child<'_>, name: &str, last: Option<(u32, u32)>) -> Result<()> {
    child.shell("mkdir -p /tmp/d")?;
    let (status, text) = child.run(&format!("e2fsck -p /dev/{name}"), COMMAND)?;
    ensure!(status <= 1, "e2fsck -p: {status}\n{text}");
    child.shell(&format!("e2fsck -fn /dev/{name}"))?;
    let Some((cycle, count)) = last else { return Ok(()) };
    let look = format!(
        "mount /dev/{name} /tmp/d; c={cycle}; for n in $(seq {count}); do \
         [ \"$({CONTENT} | md5sum)\" = \"$(md5sum < /tmp/d/c$c/$n)\" ] || echo lost $n; done; umount /tmp/d"
    );
    let text = child.shell(&look)?;
    ensure!(text.is_empty(), "{text}");
    println!("{count} files of cycle {cycle} are there");
    Ok(())
}
