//! A controller's channels: a thread for each.

use super::{Controller, Counts, Link, lock};
use crate::worker::{Stop, Watched, Worker};
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::thread::JoinHandle;
use vmbus::bus::{Device, OpenedChannel};

/// The controller as the bus sees it.
pub(super) struct ControllerDevice {
    controller: Arc<Controller>,
    threads: BTreeMap<u16, Thread>,
}

impl ControllerDevice {
    pub(super) fn new(controller: Arc<Controller>) -> Self {
        Self { controller, threads: BTreeMap::new() }
    }
}

struct Thread {
    stop: Stop,
    handle: JoinHandle<()>,
}

impl Device for ControllerDevice {
    fn open(&mut self, opened: OpenedChannel) -> Result<(), Box<dyn Error + Send + Sync>> {
        let subchannel = opened.subchannel;
        if subchannel == 0 {
            self.controller.begin_anew();
        }
        let (waker, seen, counters) = (opened.channel.waker()?, Arc::default(), Arc::default());
        let stop = Stop::new(opened.channel.waker()?);
        let watched =
            Watched { stop: stop.flag(), seen: Arc::clone(&seen), counters: Arc::clone(&counters) };
        let worker = Worker::new(Arc::clone(&self.controller), opened, watched);
        let link = Link { waker, seen, counters, notices: Vec::new() };
        lock(&self.controller.wakers).insert(subchannel, link);
        let handle = std::thread::Builder::new()
            .name(format!("storvsp-{subchannel}"))
            .spawn(move || worker.run())
            .inspect_err(|_| self.controller.forget(subchannel))?;
        self.threads.insert(subchannel, Thread { stop, handle });
        Ok(())
    }

    fn close(&mut self, subchannel: u16) {
        if let Some(thread) = self.threads.remove(&subchannel) {
            thread.stop.now();
            if thread.handle.join().is_err() {
                tracing::error!(subchannel, "a storage thread has panicked");
            }
            self.controller.forget(subchannel);
            let Counts { commands, failures, signals, copies, wake_ups, .. } =
                self.controller.counts();
            tracing::info!(
                subchannel,
                commands,
                failures,
                signals,
                copies,
                wake_ups,
                "a channel is closed"
            );
        }
    }
}

impl Drop for ControllerDevice {
    fn drop(&mut self) {
        let open: Vec<_> = self.threads.keys().copied().collect();
        open.into_iter().for_each(|subchannel| self.close(subchannel));
    }
}
