//! A channel's turns without its thread: the same at every run.

use crate::controller::Controller;
use crate::worker::{Watched, Worker};
use std::sync::Arc;
use vmbus::bus::OpenedChannel;
use vmbus::ring::RingError;

/// A channel that works only when told to.
pub struct Turns(Worker);

impl Turns {
    /// Of `controller`. Its LUNs are those of the first turn, for nobody wakes this channel.
    pub fn new(controller: &Arc<Controller>, opened: OpenedChannel) -> Self {
        Self(Worker::new(Arc::clone(controller), opened, Watched::default()))
    }

    /// One turn; whether there was anything to do.
    pub fn turn(&mut self) -> Result<bool, RingError> {
        self.0.turn()
    }
}
