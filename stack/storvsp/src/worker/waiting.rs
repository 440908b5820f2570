//! Requests that wait for space in their store.

use super::Worker;
use crate::block::{Completed, IoError, Request, Submitted};
use crate::controller::NoSpace;
use std::sync::atomic::Ordering;

impl Worker {
    /// Whether a request found no space, and it is the policy to wait for some.
    pub(super) fn is_to_wait(&self, completed: &Completed) -> bool {
        matches!(completed.result, Err(IoError::NoSpace))
            && self.controller.config.no_space == NoSpace::Wait
            && self.reset.is_none()
    }

    /// Keeps such a request.
    pub(super) fn keep_waiting(&mut self, number: u8, request: Box<Request>) {
        if let Some(unsaid) = self.controller.quiet.ask() {
            tracing::warn!(lun = number, unsaid, "a store has no space left: a command waits");
        }
        self.waiting.push((number, request));
        self.count_waiting();
    }

    /// Something has changed: perhaps there is space.
    pub(super) fn try_again(&mut self) {
        for (number, request) in std::mem::take(&mut self.waiting) {
            let submitted = match self.attached.get_mut(number) {
                Some(lun) => lun.submit(request),
                None => Submitted::Refused(request),
            };
            match submitted {
                Submitted::UnderWay => {}
                Submitted::Done(completed) => self.ended(number, completed),
                Submitted::Refused(request) => self.give_up(number, request),
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

    fn give_up(&mut self, number: u8, request: Box<Request>) {
        let result = Err(IoError::NoSpace);
        self.complete(number, Completed { request, result, copied: false });
    }

    fn count_waiting(&self) {
        let count = self.waiting.len() as u64;
        self.watched.counters.waiting_for_space.store(count, Ordering::Relaxed);
    }
}
