//! How often each hypercall was made, and failed.

use core::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use hvdef::{HvStatus, HypercallCode};
use zemindef::property::HypercallEntry;

/// Codes below this are told apart; all others share the last slot, which counts as code 0xFFFF.
const CODES: usize = 0x140;

struct Tally {
    calls: AtomicU64,
    errors: AtomicU64,
    last_error: AtomicU16,
}

static TALLIES: [Tally; CODES + 1] = [const {
    Tally { calls: AtomicU64::new(0), errors: AtomicU64::new(0), last_error: AtomicU16::new(0) }
}; CODES + 1];

/// Counts a call. Whether it is the first failure of its code.
pub fn record(code: HypercallCode, status: HvStatus) -> bool {
    let Some(tally) = TALLIES.get(usize::from(code.0).min(CODES)) else { return false };
    tally.calls.fetch_add(1, Ordering::Relaxed);
    if status == HvStatus::SUCCESS {
        return false;
    }
    tally.last_error.store(status.0, Ordering::Relaxed);
    tally.errors.fetch_add(1, Ordering::Relaxed) == 0
}

/// What was counted for codes from `first` on, ascending, without codes never called.
pub fn entries(first: u32) -> impl Iterator<Item = HypercallEntry> {
    TALLIES.iter().enumerate().filter_map(move |(index, tally)| {
        let code = if index == CODES { u16::MAX } else { index as u16 };
        let calls = tally.calls.load(Ordering::Relaxed);
        (calls != 0 && u32::from(code) >= first).then(|| HypercallEntry {
            code,
            last_error_status: tally.last_error.load(Ordering::Relaxed),
            reserved: 0,
            calls,
            errors: tally.errors.load(Ordering::Relaxed),
        })
    })
}
