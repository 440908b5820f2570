//! Warnings that a guest can cause: one a second, and how many were not made.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_secs(1);

/// One kind of warning.
#[derive(Debug, Default)]
pub struct Quiet(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    unsaid: u64,
}

impl Quiet {
    /// Whether to warn now; then, how often that was not done since the last time.
    pub fn ask(&self) -> Option<u64> {
        self.ask_at(Instant::now())
    }

    fn ask_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_early = state.last.is_some_and(|last| now.duration_since(last) < PAUSE);
        if is_early {
            state.unsaid += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_warning_a_second_and_its_size() {
        let (quiet, start) = (Quiet::default(), Instant::now());
        assert_eq!(quiet.ask_at(start), Some(0));
        for millisecond in 0..900 {
            assert_eq!(quiet.ask_at(start + Duration::from_millis(millisecond)), None);
        }
        assert_eq!(quiet.ask_at(start + PAUSE), Some(900));
        assert_eq!(quiet.ask_at(start + PAUSE * 3), Some(0));
    }
}
