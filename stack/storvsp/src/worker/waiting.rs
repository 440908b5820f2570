//! Requests that wait for space in their store.

use super::Worker;
use crate::block::{Completed, IoError, Request};
use crate::controller::NoSpace;
use std::sync::atomic::Ordering;

impl Worker {
    /// Keeps a request that found no space, if that is the policy. Otherwise it goes on its way.
    pub(super) fn keep_waiting(&mut self, number: u8, completed: Completed) -> Option<Completed> {
        let is_kept = self.controller.config.no_space == NoSpace::Wait && self.reset.is_none();
        if !is_kept || !matches!(completed.result, Err(IoError::NoSpace)) {
            return Some(completed);
        }
        if let Some(unsaid) = self.controller.quiet.ask() {
            tracing::warn!(lun = number, unsaid, "a store has no space left: a command waits");
        }
        self.waiting.push((number, completed.request));
        self.count_waiting();
        None
    }

    /// Something has changed: perhaps there is space.
    pub(super) fn try_again(&mut self) {
        for (number, request) in std::mem::take(&mut self.waiting) {
            let submitted = match self.attached.get_mut(number) {
                Some(lun) => lun.submit(request),
                None => Err(request),
            };
            if let Err(request) = submitted {
                self.give_up(number, request);
            }
        }
        self.count_waiting();
    }

    /// The guest will not wait any longer.
    pub(super) fn stop_waiting(&mut self) {
        for (number, request) in std::mem::take(&mut self.waiting) {
            self.give_up(number, request);
        }
        self.count_waiting();
    }

    fn give_up(&mut self, number: u8, request: Request) {
        let result = Err(IoError::NoSpace);
        self.complete(number, Completed { request, result, copied: false });
    }

    fn count_waiting(&self) {
        let count = self.waiting.len() as u64;
        self.watched.counters.waiting_for_space.store(count, Ordering::Relaxed);
    }
}
