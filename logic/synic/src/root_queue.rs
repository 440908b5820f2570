//! What waits for message slot 0 of a root VP.
//!
//! Every message the root can be sent is reproducible from one number: the child VP that has an intercept to show (at
//! most one at a time, as it is stopped), or the SINT whose event ring has entries. So the queue is two sets of bits: it
//! cannot overflow, adding twice is adding once, and adding needs no lock, hence any LP may do it.

use crate::message::{MessageSlot, post};
use crate::pending_set::PendingSet;
use core::sync::atomic::{AtomicU16, Ordering::SeqCst};

/// A message to be made when its turn comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RootMessage {
    /// SYNIC_SINT_INTERCEPT for this SINT: its event ring has entries.
    SintRing(u8),
    /// OPAQUE_INTERCEPT of the child VP that has this number in the hypervisor's own numbering.
    Intercept(usize),
}

/// The queue of one root VP, for child VPs numbered below `WORDS` × 64 (at most 4096).
#[derive(Debug)]
pub struct RootQueue<const WORDS: usize> {
    rings: AtomicU16,
    intercepts: PendingSet<WORDS>,
}

impl<const WORDS: usize> RootQueue<WORDS> {
    /// An empty queue.
    pub const fn new() -> Self {
        Self { rings: AtomicU16::new(0), intercepts: PendingSet::new() }
    }

    /// Adds the intercept of a child VP. False if it was waiting already (or the number is too large).
    pub fn push_intercept(&self, child: usize) -> bool {
        self.intercepts.insert(child)
    }

    /// Adds the announcement of an event ring. False if it was waiting already.
    pub fn push_sint(&self, sint: u8) -> bool {
        let bit = 1u16.checked_shl(u32::from(sint)).unwrap_or(0);
        self.rings.fetch_or(bit, SeqCst) & bit != bit
    }

    /// Forgets a child VP, as its partition is finalized: the root could not attribute the message any more, and a
    /// message it cannot attribute blocks its slot for ever. To be serialized with [`RootQueue::pump`].
    pub fn discard_intercept(&self, child: usize) -> bool {
        self.intercepts.remove(child)
    }

    /// Does the announcement of an event ring wait?
    pub fn has_ring(&self) -> bool {
        self.rings.load(SeqCst) != 0
    }

    /// Does nothing wait?
    pub fn is_empty(&self) -> bool {
        self.rings.load(SeqCst) == 0 && self.intercepts.is_empty()
    }

    /// Tries to put the next message into the slot. True if one is there now: signal SINT 0.
    ///
    /// `make` builds the message, or answers `None` if there is no longer anything to tell. To be called after pushing,
    /// at EOM, and when SINT 0 becomes deliverable; calls for one slot are serialized by the caller, so that an EOM never
    /// finds a message neither in the slot nor in the queue.
    pub fn pump<M, S: MessageSlot<M>>(
        &self,
        slot: &S,
        mut make: impl FnMut(RootMessage) -> Option<M>,
    ) -> bool {
        while let Some(next) = self.take() {
            let Some(message) = make(next) else { continue };
            let stored = post(slot, &message, !self.is_empty());
            if !stored {
                self.put_back(next);
            }
            return stored;
        }
        false
    }

    fn take(&self) -> Option<RootMessage> {
        let rings = self.rings.load(SeqCst);
        if rings != 0 {
            let sint = rings.trailing_zeros() as u8;
            if self.rings.fetch_and(!(1 << sint), SeqCst) & 1 << sint != 0 {
                return Some(RootMessage::SintRing(sint));
            }
        }
        self.intercepts.take().map(RootMessage::Intercept)
    }

    fn put_back(&self, item: RootMessage) {
        match item {
            RootMessage::SintRing(sint) => self.push_sint(sint),
            RootMessage::Intercept(child) => self.push_intercept(child),
        };
    }
}

impl<const WORDS: usize> Default for RootQueue<WORDS> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::FakeSlot;
    use proptest::prelude::*;
    extern crate std;
    use std::collections::BTreeSet;

    #[test]
    fn rings_are_announced_before_intercepts() {
        let (queue, slot) = (RootQueue::<1>::new(), FakeSlot::new());
        assert!(queue.push_intercept(7) && !queue.push_intercept(7));
        assert!(!queue.has_ring());
        assert!(queue.push_sint(5) && !queue.push_sint(5) && !queue.push_sint(16));
        assert!(queue.has_ring());
        assert!(queue.pump(&slot, Some));
        assert_eq!(slot.consume(), (Some(RootMessage::SintRing(5)), true));
        assert!(queue.pump(&slot, Some));
        assert_eq!(slot.consume(), (Some(RootMessage::Intercept(7)), false));
        assert!(!queue.pump(&slot, Some));
    }

    #[test]
    fn an_occupied_slot_keeps_the_message_waiting_and_asks_for_eom() {
        let (queue, slot) = (RootQueue::<1>::new(), FakeSlot::new());
        queue.push_intercept(1);
        assert!(queue.pump(&slot, Some));
        queue.push_intercept(2);
        assert!(!queue.pump(&slot, Some) && !queue.is_empty());
        assert_eq!(slot.consume(), (Some(RootMessage::Intercept(1)), true));
        assert!(queue.pump(&slot, Some) && queue.is_empty());
    }

    #[test]
    fn what_has_become_stale_is_skipped() {
        let (queue, slot) = (RootQueue::<1>::new(), FakeSlot::new());
        for child in 0..4 {
            queue.push_intercept(child);
        }
        assert!(queue.discard_intercept(3));
        assert!(
            queue.pump(&slot, |item| Some(item).filter(|&item| item == RootMessage::Intercept(2)))
        );
        assert_eq!(slot.consume(), (Some(RootMessage::Intercept(2)), false));
        assert!(!queue.pump(&slot, Some) && queue.is_empty());
    }

    proptest! {
        #[test]
        fn every_intercept_arrives_and_eom_is_asked_for(steps in proptest::collection::vec(0usize..100, 0..200)) {
            let (queue, slot) = (RootQueue::<2>::new(), FakeSlot::new());
            let mut outstanding = BTreeSet::new();
            for step in steps {
                if step < 60 {
                    queue.push_intercept(step);
                    outstanding.insert(step);
                    queue.pump(&slot, Some);
                } else {
                    let (message, eom) = slot.consume();
                    if let Some(RootMessage::Intercept(child)) = message {
                        outstanding.remove(&child);
                    }
                    prop_assert!(eom || queue.is_empty());
                    queue.pump(&slot, Some);
                }
            }
            while let (Some(message), _) = slot.consume() {
                if let RootMessage::Intercept(child) = message {
                    outstanding.remove(&child);
                }
                queue.pump(&slot, Some);
            }
            prop_assert!(outstanding.is_empty());
        }
    }
}
