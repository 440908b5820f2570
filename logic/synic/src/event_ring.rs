//! Producer of an event ring (SIRB page): doorbells ring here.
//!
//! A ring is 256 bytes: u8 signal_masked, u8 ring_full, two reserved bytes, 63 u32 entries, 0 = empty. The consumer takes
//! entries in order and clears them. When it finds none: if ring_full is set it clears it and calls
//! NOTIFY_PORT_RING_EMPTY ([`EventRing::notify_empty`]); then it clears signal_masked, looks once more, and sleeps.
//!
//! Why nothing is lost: an entry, or ring_full, is stored before signal_masked is exchanged; the consumer clears
//! signal_masked before its last look. So either it sees what we stored, or we find the mask clear and signal. A port
//! that did not fit is remembered before ring_full is set.

use crate::pending_set::PendingSet;
use hvdef::synic::RING_ENTRIES;

/// The ring in memory shared with the root. The hypervisor implements it with sequentially consistent atomics.
pub trait RingPage {
    /// Stores `port` in entry `index` (0…62) if that is 0.
    fn try_store(&self, index: u8, port: u32) -> bool;
    /// ring_full := 1.
    fn set_full(&self);
    /// signal_masked := 1, and its previous value.
    fn swap_masked(&self) -> bool;
}

/// Ports that did not fit into the ring. A port is remembered once however often it rang: its receiver cannot count.
pub trait Overflow {
    /// Remembers a port.
    fn remember(&self, port: u32);
    /// Takes out some port.
    fn take(&self) -> Option<u32>;
}

/// The port id is the number. Ids beyond the capacity would be lost: limit them when ports are created.
impl<const WORDS: usize> Overflow for PendingSet<WORDS> {
    fn remember(&self, port: u32) {
        self.insert(port as usize);
    }

    fn take(&self) -> Option<u32> {
        PendingSet::take(self).and_then(|port| u32::try_from(port).ok())
    }
}

/// Producer's side of one ring: its head, kept for the life of the machine, as the root keeps its tail over disabling
/// and enabling.
#[derive(Clone, Default, Debug)]
pub struct EventRing {
    head: u8,
}

impl EventRing {
    /// At entry 0, where the root starts too.
    pub const fn new() -> Self {
        Self { head: 0 }
    }

    /// Puts a port (not 0) into the ring. True if the SINT must be signalled.
    #[inline]
    pub fn post<R: RingPage, O: Overflow>(&mut self, ring: &R, overflow: &O, port: u32) -> bool {
        if !self.store(ring, port) {
            overflow.remember(port);
            ring.set_full();
        }
        !ring.swap_masked()
    }

    /// NOTIFY_PORT_RING_EMPTY: moves remembered ports into the ring. True if the SINT must be signalled.
    pub fn notify_empty<R: RingPage, O: Overflow>(&mut self, ring: &R, overflow: &O) -> bool {
        let mut moved = false;
        // More than a ring's worth cannot fit, unless the consumer is emptying it at the same time: bounded work.
        for _ in 0..RING_ENTRIES {
            let Some(port) = overflow.take() else { break };
            if !self.store(ring, port) {
                overflow.remember(port);
                break;
            }
            moved = true;
        }
        // What is left must be asked for again.
        if let Some(port) = overflow.take() {
            overflow.remember(port);
            ring.set_full();
            moved = true;
        }
        moved && !ring.swap_masked()
    }

    fn store<R: RingPage>(&mut self, ring: &R, port: u32) -> bool {
        let stored = ring.try_store(self.head, port);
        if stored {
            self.head = if usize::from(self.head) + 1 >= RING_ENTRIES { 0 } else { self.head + 1 };
        }
        stored
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::{Cell, RefCell};
    use proptest::prelude::*;
    extern crate std;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    /// A ring with the root's driver on the other side.
    struct Root {
        masked: Cell<bool>,
        full: Cell<bool>,
        data: RefCell<[u32; 63]>,
        tail: Cell<usize>,
    }

    impl Root {
        fn new() -> Self {
            Self {
                masked: Cell::new(false),
                full: Cell::new(false),
                data: RefCell::new([0; 63]),
                tail: Cell::new(0),
            }
        }

        fn next(&self) -> Option<u32> {
            let entry = core::mem::take(&mut self.data.borrow_mut()[self.tail.get()]);
            if entry != 0 {
                self.tail.set((self.tail.get() + 1) % 63);
            }
            Some(entry).filter(|&port| port != 0)
        }

        /// The interrupt handler: drains the ring and says which ports it saw.
        fn handle(&self, ring: &mut EventRing, overflow: &PendingSet<4>) -> Vec<u32> {
            let mut seen = Vec::new();
            loop {
                seen.extend(core::iter::from_fn(|| self.next()));
                if self.full.take() {
                    ring.notify_empty(self, overflow);
                    continue;
                }
                self.masked.set(false);
                if self.data.borrow()[self.tail.get()] == 0 {
                    return seen;
                }
                self.masked.set(true);
            }
        }
    }

    impl RingPage for Root {
        fn try_store(&self, index: u8, port: u32) -> bool {
            let entry = &mut self.data.borrow_mut()[usize::from(index)];
            let free = *entry == 0;
            if free {
                *entry = port;
            }
            free
        }

        fn set_full(&self) {
            self.full.set(true);
        }

        fn swap_masked(&self) -> bool {
            self.masked.replace(true)
        }
    }

    #[test]
    fn only_the_first_entry_signals_until_the_ring_was_drained() {
        let (root, mut ring, overflow) = (Root::new(), EventRing::new(), PendingSet::<4>::new());
        assert!(ring.post(&root, &overflow, 7));
        assert!(!ring.post(&root, &overflow, 8));
        assert_eq!(root.handle(&mut ring, &overflow), [7, 8]);
        assert!(ring.post(&root, &overflow, 7));
    }

    #[test]
    fn what_does_not_fit_is_replayed_once_per_port() {
        let (root, mut ring, overflow) = (Root::new(), EventRing::new(), PendingSet::<4>::new());
        for port in 1..=200 {
            ring.post(&root, &overflow, port);
            ring.post(&root, &overflow, 64);
        }
        assert!(root.full.get());
        let seen = root.handle(&mut ring, &overflow);
        let ports: BTreeSet<u32> = seen.iter().copied().collect();
        assert_eq!(ports, (1..=200).collect());
        assert!(overflow.is_empty() && !root.full.get() && !root.masked.get());
    }

    #[test]
    fn an_early_notification_does_nothing() {
        let (root, mut ring, overflow) = (Root::new(), EventRing::new(), PendingSet::<4>::new());
        assert!(!ring.notify_empty(&root, &overflow));
        assert!(!root.masked.get());
    }

    #[test]
    fn replay_wakes_a_root_that_sleeps() {
        let (root, mut ring, overflow) = (Root::new(), EventRing::new(), PendingSet::<4>::new());
        overflow.remember(9);
        assert!(ring.notify_empty(&root, &overflow));
        assert_eq!(root.handle(&mut ring, &overflow), [9]);
    }

    proptest! {
        #[test]
        fn no_ring_of_a_doorbell_is_lost(steps in proptest::collection::vec(0u32..256, 0..600)) {
            let (root, mut ring, overflow) = (Root::new(), EventRing::new(), PendingSet::<4>::new());
            let mut signalled = false;
            let mut waiting = BTreeSet::new();
            for step in steps {
                if step == 0 {
                    if core::mem::take(&mut signalled) {
                        for port in root.handle(&mut ring, &overflow) {
                            waiting.remove(&port);
                        }
                        prop_assert!(waiting.is_empty());
                    }
                } else {
                    signalled |= ring.post(&root, &overflow, step);
                    waiting.insert(step);
                    prop_assert!(signalled, "something waits, so a signal must be on its way");
                }
            }
        }
    }
}
