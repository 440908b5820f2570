//! Wall-clock limits: how long a healthy machine could possibly take, on the slowest host we know.

use std::time::Duration;

/// From power-on to the shell of the parent OS.
pub(crate) const BOOT: Duration = Duration::from_secs(300);
/// One command in the shell.
pub(crate) const COMMAND: Duration = Duration::from_secs(120);
/// An answer of the emulator's monitor; the emulator itself, not the guest, gives it.
pub(crate) const MONITOR: Duration = Duration::from_secs(60);
/// The end of an emulator that closed its connections.
pub(crate) const ENDING: Duration = Duration::from_secs(10);

/// `limit`, stretched by `ZEMIN_TIME_SCALE`.
pub(crate) fn scaled(limit: Duration) -> Duration {
    let scale = std::env::var("ZEMIN_TIME_SCALE").ok().and_then(|text| text.parse::<f64>().ok());
    scale.filter(|scale| (1.0..=100.0).contains(scale)).map_or(limit, |scale| limit.mul_f64(scale))
}
