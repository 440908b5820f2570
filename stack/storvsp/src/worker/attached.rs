//! The LUNs as one channel uses them: with a queue of its own into each.

use crate::block::{Completed, DiskInfo, Queue, Request, Submitted};
use crate::controller::Luns;
use crate::lun::Lun;
use std::sync::Arc;
use vmbus::memory::GuestMemory;
use vmm_sys_util::eventfd::EventFd;

/// A LUN in use.
pub(super) struct AttachedLun {
    pub(super) lun: Lun,
    pub(super) info: Option<DiskInfo>,
    queue: Option<Box<dyn Queue>>,
    /// Requests in `queue`.
    under_way: u32,
}

impl AttachedLun {
    fn open(lun: Lun, depth: u32, memory: &GuestMemory, wake: &EventFd) -> Self {
        let queue = lun.medium.as_ref().and_then(|disk| {
            disk.open_queue(depth, memory, wake)
                .inspect_err(|error| tracing::error!(%error, "cannot open a disk"))
                .ok()
        });
        Self { info: lun.info(), lun, queue, under_way: 0 }
    }

    /// Starts a request, with the next kick at the latest.
    pub(super) fn submit(&mut self, request: Box<Request>) -> Submitted {
        let Some(queue) = &mut self.queue else { return Submitted::Refused(request) };
        let submitted = queue.submit(request);
        if matches!(submitted, Submitted::UnderWay) {
            self.under_way += 1;
        }
        submitted
    }

    fn is_same_medium(&self, lun: &Lun) -> bool {
        match (&self.lun.medium, &lun.medium) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (None, None) => true,
            _ => false,
        }
    }

    /// Waits for what is under way.
    fn drain(&mut self, mut done: impl FnMut(Completed)) {
        let Some(queue) = &mut self.queue else { return };
        while self.under_way > 0 {
            queue.kick();
            while let Some(completed) = queue.completed() {
                self.under_way -= 1;
                done(completed);
            }
            if self.under_way > 0 {
                std::thread::sleep(std::time::Duration::from_micros(100));
            }
        }
    }
}

/// All of them, by number.
pub(super) struct Attached {
    /// Requests that a queue has room for, and where their buffers are.
    depth: u32,
    memory: GuestMemory,
    /// Of the controller's LUNs.
    pub(super) generation: u64,
    luns: Vec<(u8, AttachedLun)>,
    left_over: Vec<(u8, Completed)>,
    /// Position of the queue that is asked next.
    next: usize,
}

impl Attached {
    /// None yet.
    pub(super) fn new(memory: &GuestMemory, depth: u32) -> Self {
        let memory = memory.clone();
        Self { depth, memory, generation: 0, luns: Vec::new(), left_over: Vec::new(), next: 0 }
    }

    pub(super) fn get_mut(&mut self, number: u8) -> Option<&mut AttachedLun> {
        self.luns.iter_mut().find(|(other, _)| *other == number).map(|(_, lun)| lun)
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = u8> {
        self.luns.iter().map(|(number, _)| *number)
    }

    /// Takes over `luns`, keeping the queues of disks that stay.
    pub(super) fn update(&mut self, generation: u64, luns: Luns, wake: &EventFd) {
        self.generation = generation;
        let mut old = std::mem::take(&mut self.luns);
        for (number, lun) in luns {
            let kept = old
                .iter()
                .position(|(other, attached)| *other == number && attached.is_same_medium(&lun));
            let attached = match kept {
                Some(at) => {
                    let (_, mut attached) = old.swap_remove(at);
                    attached.info = lun.info();
                    attached.lun = lun;
                    attached
                }
                None => AttachedLun::open(lun, self.depth, &self.memory, wake),
            };
            self.luns.push((number, attached));
        }
        for (number, mut attached) in old {
            attached.drain(|completed| self.left_over.push((number, completed)));
        }
    }

    /// A request that ended because its LUN is gone.
    pub(super) fn left_over(&mut self) -> Option<(u8, Completed)> {
        self.left_over.pop()
    }

    /// Starts everything submitted.
    pub(super) fn kick(&mut self) {
        for (_, attached) in &mut self.luns {
            if let Some(queue) = attached.queue.as_mut().filter(|_| attached.under_way > 0) {
                queue.kick();
            }
        }
    }

    /// Something that is done, of any LUN.
    pub(super) fn completed(&mut self) -> Option<(u8, Completed)> {
        let count = self.luns.len();
        for _ in 0..count {
            if self.next >= count {
                self.next = 0;
            }
            let (number, attached) = self.luns.get_mut(self.next)?;
            if let Some(queue) = attached.queue.as_mut().filter(|_| attached.under_way > 0)
                && let Some(completed) = queue.completed()
            {
                attached.under_way -= 1;
                return Some((*number, completed));
            }
            self.next += 1;
        }
        None
    }
}
