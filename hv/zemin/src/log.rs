//! The log: formatted lines into a ring that the parent can read, and onto the UART.

use crate::console;
use crate::lp;
use crate::partition::Partition;
use crate::sync::SpinLock;
use crate::time;
use core::fmt::Write;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use zemindef::counters::Counter;
pub use zemindef::log::Level;
use zemindef::log::{LogRing, RecordHeader};
use zemindef::property::LogChunk;

/// Bytes the ring keeps.
pub const RING_SIZE: usize = 128 << 10;
/// Longest line; the rest is cut.
const LINE_MAX: usize = 240;

static RING: SpinLock<LogRing<RING_SIZE>> = SpinLock::new(LogRing::new());
/// Highest level that is recorded.
static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);
/// Highest level that goes to the UART.
static CONSOLE_LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);
/// A crash report is under way: no lock may be waited for.
static CRASHING: AtomicBool = AtomicBool::new(false);

/// Logs one line at a level: `log!(Level::Info, "…", …)`.
macro_rules! log {
    ($level:expr, $($argument:tt)+) => { $crate::log::write($level, format_args!($($argument)+)) };
}
pub(crate) use log;

/// Sets the highest level that is recorded, and that the UART shows.
pub fn set_level(level: Level) {
    LEVEL.store(level as u8, Ordering::Relaxed);
    CONSOLE_LEVEL.store(level as u8, Ordering::Relaxed);
}

/// The highest level that is recorded.
pub fn level() -> u32 {
    u32::from(LEVEL.load(Ordering::Relaxed))
}

/// Leaves the UART to the parent, but for warnings and worse: it is its console now.
pub fn quiet_console() {
    CONSOLE_LEVEL.fetch_min(Level::Warn as u8, Ordering::Relaxed);
}

/// From here on everything goes to the UART, and nothing waits for a lock: a crash report begins.
pub fn force_console() {
    CRASHING.store(true, Ordering::Relaxed);
    CONSOLE_LEVEL.store(Level::Trace as u8, Ordering::Relaxed);
}

/// Logs one line.
pub fn write(level: Level, text: core::fmt::Arguments<'_>) {
    if level as u8 > LEVEL.load(Ordering::Relaxed) && !CRASHING.load(Ordering::Relaxed) {
        return;
    }
    let mut line = Line { bytes: [0; LINE_MAX], len: 0 };
    // A line that is too long is cut, which is all that can go wrong.
    let _ = line.write_fmt(text);
    let now = time::now();
    let text = line.bytes.get(..line.len).unwrap_or_default();
    let number = lp::try_current().map_or(RecordHeader::NO_LP, |lp| lp.index as u8);
    let ring = if CRASHING.load(Ordering::Relaxed) { RING.try_lock() } else { Some(RING.lock()) };
    let on_console = level as u8 <= CONSOLE_LEVEL.load(Ordering::Relaxed);
    // The lock also keeps lines of several LPs apart on the UART.
    if let Some(mut ring) = ring {
        ring.push(level, number, now, text);
        if on_console {
            show(now, text);
        }
    } else if on_console {
        show(now, text);
    }
}

fn show(now: u64, text: &[u8]) {
    let mut prefix = Line { bytes: [0; LINE_MAX], len: 0 };
    let _ = write!(prefix, "(zemin) [{:5}.{:06}] ", now / 10_000_000, now % 10_000_000 / 10);
    console::write(prefix.bytes.get(..prefix.len).unwrap_or_default());
    console::write(text);
    console::write(b"\n");
}

/// Reads whole records from `position` on; see [`zemindef::property::LOG`].
pub fn read(position: u64, out: &mut [u8]) -> LogChunk {
    RING.lock().read_from(position, out)
}

/// Position after the newest record.
pub fn next() -> u64 {
    RING.lock().next()
}

/// How many more lines may be logged of what a guest can do as often as it likes.
pub struct Budget(AtomicU32);

impl Budget {
    /// For this many.
    pub const fn new(lines: u32) -> Self {
        Self(AtomicU32::new(lines))
    }

    /// Takes one line and says how many are left. `None` when there is none to take: that is counted instead.
    pub fn take(&self) -> Option<u32> {
        let one_less = |left: u32| left.checked_sub(1);
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        if taken.is_err() {
            lp::current().count(Counter::LogDropped);
        }
        taken.ok().and_then(one_less)
    }
}

/// The level of lines about what a guest did. A child's do not go to the UART, which is slow.
pub fn level_for(partition: &Partition) -> Level {
    if partition.is_root { Level::Warn } else { Level::Info }
}

struct Line {
    bytes: [u8; LINE_MAX],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let room = LINE_MAX - self.len;
        let end = text.floor_char_boundary(room.min(text.len()));
        if let Some(target) = self.bytes.get_mut(self.len..self.len + end) {
            target.copy_from_slice(&text.as_bytes()[..end]);
            self.len += end;
        }
        if end < text.len() { Err(core::fmt::Error) } else { Ok(()) }
    }
}
