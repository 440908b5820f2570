//! How a VM's run ends: whoever knows says so, the main thread hears it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Why the VM does not run any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The guest powered off.
    PowerOff,
    /// The guest asked for a reset.
    Reset,
    /// The guest did what no processor survives. The text says what and where.
    Crash(String),
    /// The user asked for the end.
    Quit,
    /// A signal asked for the end.
    Signal(i32),
    /// The worker cannot go on. The text says why.
    Failure(String),
}

impl Outcome {
    /// Whether it is about the process, not about this run of the guest.
    const fn is_from_outside(&self) -> bool {
        matches!(self, Self::Quit | Self::Signal(_))
    }
}

/// Where an outcome is left and waited for. Shared by all threads of the worker.
#[derive(Default)]
pub struct Control {
    outcome: Mutex<Option<Outcome>>,
    changed: Condvar,
}

impl Control {
    /// Ends the run. The first outcome counts, except that one from outside replaces one of the guest's.
    pub fn end(&self, outcome: Outcome) {
        let mut present = self.lock();
        let counts = match &*present {
            None => true,
            Some(earlier) => outcome.is_from_outside() && !earlier.is_from_outside(),
        };
        if counts {
            *present = Some(outcome);
            self.changed.notify_all();
        }
    }

    /// Whether the run has ended.
    pub fn has_ended(&self) -> bool {
        self.lock().is_some()
    }

    /// Waits for the end. The outcome stays until [`Self::restart`].
    pub fn wait(&self) -> Outcome {
        let mut present = self.lock();
        loop {
            if let Some(outcome) = &*present {
                return outcome.clone();
            }
            present = self.changed.wait(present).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Prepares for another run of the guest. `false` if somebody outside wants none.
    pub fn restart(&self) -> bool {
        let mut present = self.lock();
        if present.as_ref().is_some_and(Outcome::is_from_outside) {
            return false;
        }
        *present = None;
        true
    }

    fn lock(&self) -> MutexGuard<'_, Option<Outcome>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_outcome_counts() {
        let control = Control::default();
        assert!(!control.has_ended());
        control.end(Outcome::Reset);
        control.end(Outcome::PowerOff);
        assert_eq!(control.wait(), Outcome::Reset);
        assert!(control.restart() && !control.has_ended());
    }

    #[test]
    fn who_wants_the_end_during_a_reset_gets_it() {
        let control = Control::default();
        control.end(Outcome::Reset);
        control.end(Outcome::Signal(15));
        control.end(Outcome::Quit);
        assert_eq!(control.wait(), Outcome::Signal(15));
        assert!(!control.restart());
    }
}
