//! A partition reports its own crash through the crash MSRs (TLFS, "Partition Crash Enlightenment").

use crate::log::{Level, log};
use crate::partition::Partition;
use core::sync::atomic::Ordering;

/// Control: the last write of a report.
const NOTIFY: u64 = 1 << 63;
/// Control: parameters 3 and 4 name a text.
const MESSAGE: u64 = 1 << 62;
/// Most of a text that is kept.
const TEXT: usize = 192;

/// What the control register reads as: both ways of reporting are understood.
pub const CAPABILITIES: u64 = NOTIFY | MESSAGE;

/// Logs the report.
pub fn report(partition: &Partition, control: u64) {
    let p: [u64; 5] = core::array::from_fn(|i| {
        partition.crash.get(i).map_or(0, |slot| slot.load(Ordering::Relaxed))
    });
    log!(
        Level::Error,
        "partition {} reports a crash: {:#x} {:#x} {:#x} {:#x} {:#x}",
        partition.id.0,
        p[0],
        p[1],
        p[2],
        p[3],
        p[4]
    );
    if control & MESSAGE != 0 {
        let mut text = [0u8; TEXT];
        // The end of the text tells more than its beginning.
        let len = usize::try_from(p[4]).unwrap_or(usize::MAX);
        let skip = len.saturating_sub(TEXT);
        let part = text.get_mut(..len.min(TEXT)).unwrap_or_default();
        if partition.read(p[3].saturating_add(skip as u64), part).is_ok() {
            for line in part.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
                log!(Level::Error, "  {}", core::str::from_utf8(line).unwrap_or("(not text)"));
            }
        }
    }
}
