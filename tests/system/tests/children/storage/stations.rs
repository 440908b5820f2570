//! A disk command's way, as `zm trace vm` shows it to an operator.

use anyhow::{Context as _, Result, ensure};
use harness::Running;
use serde_json::Value;

use super::child::{COMMAND, Child};

/// Looks at the VM for a while after the guest has been told to begin.
fn trace(child: &mut Child<'_>) -> Result<Vec<Value>> {
    let text = child.parent.shell_within("zm trace vm debian --seconds 5 --json", COMMAND)?;
    Ok(serde_json::from_str(&text.success()?)?)
}

/// A write passes all stations in order; a guest that only computes passes none.
pub fn seen(parent: &mut Running) -> Result<()> {
    parent.shell("zm disk create /store/t/a.img --size 16M")?.success()?;
    let child = &mut Child::boot(parent, "")?;
    let name = child.add_disk("/store/t/a.img --lun 5")?;
    let write = format!("dd if=/dev/zero of=/dev/{name} bs=12288 count=1 oflag=direct");
    in_background(child, &format!("{write}; sleep 0.2"))?;
    let commands = trace(child)?;
    let ours = |command: &&Value| {
        command.get("lun") == Some(&Value::from(5)) && command.get("name") == Some(&"write".into())
    };
    let writes: Vec<_> = commands.iter().filter(ours).collect();
    ensure!(!writes.is_empty(), "{commands:?}");
    for write in writes {
        let time = |station: &str| write.get(station).and_then(Value::as_u64).context("a time");
        let times = [time("received")?, time("submitted")?, time("completed")?, time("answered")?];
        ensure!(times[0] > 0 && times.is_sorted(), "{write}");
        ensure!(write.get("bytes") == Some(&Value::from(12288)), "{write}");
    }
    child.shell(STOP)?;
    child.shell("sync")?;
    in_background(child, ":")?;
    // The guest's file system may have something to write down yet.
    let mut left = 20;
    while !trace(child)?.is_empty() {
        left -= 1;
        ensure!(left > 0, "a guest that only computes has disk commands");
    }
    let said = child.parent.shell_within("zm trace vm debian --seconds 1", COMMAND)?.success()?;
    ensure!(said.contains("No disk command"), "{said}");
    child.shell(STOP)?;
    Ok(())
}

/// Ends what [`in_background`] began.
const STOP: &str = "kill $(cat /tmp/loop.pid)";

/// Repeats a command in the guest until it is told to stop.
fn in_background(child: &mut Child<'_>, command: &str) -> Result<()> {
    let repeat =
        format!("(while :; do {command}; done) > /dev/null 2>&1 & echo $! > /tmp/loop.pid");
    child.shell(&repeat)?;
    Ok(())
}
