//! A partition reports its own crash through the crash MSRs (TLFS, "Partition Crash Enlightenment").

use crate::log::{Level, level_for, log};
use crate::partition::Partition;
use core::sync::atomic::Ordering;

/// Control: the last write of a report.
const NOTIFY: u64 = 1 << 63;
/// Control: parameters 3 and 4 name a text.
const MESSAGE: u64 = 1 << 62;
/// Most of a text that is kept, in bytes and in lines.
const TEXT: usize = 192;
const LINES: usize = 4;

/// What the control register reads as: both ways of reporting are understood.
pub const CAPABILITIES: u64 = NOTIFY | MESSAGE;

/// Logs the report, unless the partition makes a habit of it.
pub fn report(partition: &Partition, control: u64) {
    let Some(left) = partition.crash_reports.take() else { return };
    let more = if left == 0 { "; further ones are not told" } else { "" };
    let p: [u64; 5] = core::array::from_fn(|i| {
        partition.crash.get(i).map_or(0, |slot| slot.load(Ordering::Relaxed))
    });
    let level = if partition.is_root { Level::Error } else { level_for(partition) };
    log!(
        level,
        "partition {} reports a crash: {:#x} {:#x} {:#x} {:#x} {:#x}{more}",
        partition.id.0,
        p[0],
        p[1],
        p[2],
        p[3],
        p[4]
    );
    if control & MESSAGE != 0 {
        tell(partition, level, p[3], p[4]);
    }
}

/// Logs the end of a text in the partition's memory, which says more than its beginning.
fn tell(partition: &Partition, level: Level, gpa: u64, len: u64) {
    let mut text = [0u8; TEXT];
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    let skip = len.saturating_sub(TEXT);
    let part = text.get_mut(..len.min(TEXT)).unwrap_or_default();
    if partition.read(gpa.saturating_add(skip as u64), part).is_err() {
        return;
    }
    let lines = part.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let early = lines.clone().count().saturating_sub(LINES);
    for line in lines.skip(early) {
        log!(level, "  {}", core::str::from_utf8(line).unwrap_or("(not text)"));
    }
}
