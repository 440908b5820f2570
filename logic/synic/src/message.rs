//! Messages into slots: the hand-over protocol, and a queue for messages that must be kept whole.

/// One 256-byte slot of a SIM page, and the message type `M` it takes. The hypervisor implements it with atomics.
pub trait MessageSlot<M> {
    /// Stores the message if the slot's type is 0: payload, size, flags and sender first, the type last with release
    /// order. `more` sets the message-pending flag. False if the slot is occupied.
    fn try_store(&self, message: &M, more: bool) -> bool;

    /// Sets the message-pending flag (flags bit 0) by an atomic OR, then a full barrier. Harmless on a free slot.
    fn set_pending(&self);
}

/// Stores a message, or leaves the slot's pending flag set so that the guest writes EOM once it has freed the slot.
///
/// The guest frees the slot and then looks at the flag; we set the flag and then look at the slot once more. So either
/// the guest sees the flag or we see the slot free. `more` says that other messages wait behind this one.
pub fn post<M, S: MessageSlot<M>>(slot: &S, message: &M, more: bool) -> bool {
    if slot.try_store(message, more) {
        return true;
    }
    slot.set_pending();
    slot.try_store(message, more)
}

/// The queue is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueFull;

/// Up to `N` whole messages waiting for the slots of one VP, in order of arrival per SINT.
///
/// For messages that nobody can make again later, such as those posted through a message port. Timers, intercepts and
/// doorbells keep a bit instead: see [`crate::Stimers`] and [`crate::RootQueue`].
#[derive(Debug)]
pub struct MessageQueue<M, const N: usize> {
    /// Occupied from the front, oldest first.
    entries: [Option<(u8, M)>; N],
}

impl<M, const N: usize> MessageQueue<M, N> {
    /// An empty queue.
    pub const fn new() -> Self {
        Self { entries: [const { None }; N] }
    }

    /// Appends a message for a SINT.
    pub fn push(&mut self, sint: u8, message: M) -> Result<(), QueueFull> {
        let free = self.entries.iter_mut().find(|entry| entry.is_none()).ok_or(QueueFull)?;
        *free = Some((sint, message));
        Ok(())
    }

    /// Number of messages waiting for a SINT.
    pub fn waiting(&self, sint: u8) -> usize {
        self.entries.iter().flatten().filter(|(s, _)| *s == sint).count()
    }

    /// Tries to store the oldest message of a SINT. True if it is in the slot now: signal the SINT.
    pub fn pump<S: MessageSlot<M>>(&mut self, sint: u8, slot: &S) -> bool {
        let more = self.waiting(sint) > 1;
        let oldest =
            self.entries.iter().position(|entry| matches!(entry, Some((s, _)) if *s == sint));
        let Some(tail) = oldest.and_then(|at| self.entries.get_mut(at..)) else { return false };
        let Some(Some((_, message))) = tail.first() else { return false };
        if !post(slot, message, more) {
            return false;
        }
        tail.rotate_left(1);
        if let Some(last) = tail.last_mut() {
            *last = None;
        }
        true
    }

    /// Drops every message that `stale` names, e.g. those of a partition being destroyed.
    pub fn discard(&mut self, mut stale: impl FnMut(u8, &M) -> bool) {
        for entry in &mut self.entries {
            if entry.as_ref().is_some_and(|(sint, message)| stale(*sint, message)) {
                *entry = None;
            }
        }
        // Close the gaps, keeping the order.
        for at in 0..N {
            if let Some(tail) = self.entries.get_mut(at..)
                && let Some(next) = tail.iter().position(Option::is_some)
            {
                tail.swap(0, next);
            }
        }
    }
}

impl<M, const N: usize> Default for MessageQueue<M, N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use core::cell::{Cell, RefCell};
    use proptest::prelude::*;
    extern crate std;
    use std::vec::Vec;

    /// A slot with a guest on the other side.
    pub(crate) struct FakeSlot<M> {
        pub(crate) message: RefCell<Option<M>>,
        pub(crate) pending: Cell<bool>,
        /// The guest frees the slot just after the first look at it.
        pub(crate) free_in_between: Cell<bool>,
    }

    impl<M> FakeSlot<M> {
        pub(crate) fn new() -> Self {
            Self {
                message: RefCell::new(None),
                pending: Cell::new(false),
                free_in_between: Cell::new(false),
            }
        }

        /// The guest takes the message; true if it must write EOM.
        pub(crate) fn consume(&self) -> (Option<M>, bool) {
            (self.message.take(), self.pending.take())
        }
    }

    impl<M: Clone> MessageSlot<M> for FakeSlot<M> {
        fn try_store(&self, message: &M, more: bool) -> bool {
            let mut slot = self.message.borrow_mut();
            if slot.is_some() {
                if self.free_in_between.take() {
                    *slot = None;
                }
                return false;
            }
            *slot = Some(message.clone());
            self.pending.set(more);
            true
        }

        fn set_pending(&self) {
            self.pending.set(true);
        }
    }

    #[test]
    fn an_occupied_slot_gets_its_pending_flag() {
        let slot = FakeSlot::new();
        assert!(post(&slot, &1, false));
        assert!(!slot.pending.get());
        assert!(!post(&slot, &2, false));
        assert_eq!(slot.consume(), (Some(1), true));
    }

    #[test]
    fn a_slot_freed_in_the_race_takes_the_message() {
        let slot = FakeSlot::new();
        assert!(post(&slot, &1, false));
        slot.free_in_between.set(true);
        assert!(post(&slot, &2, false));
        assert_eq!(slot.consume(), (Some(2), false));
    }

    #[test]
    fn a_full_queue_refuses() {
        let mut queue = MessageQueue::<u32, 2>::new();
        assert_eq!(
            (queue.push(0, 1), queue.push(1, 2), queue.push(0, 3)),
            (Ok(()), Ok(()), Err(QueueFull))
        );
    }

    #[test]
    fn discarding_keeps_the_order_of_the_rest() {
        let mut queue = MessageQueue::<u32, 5>::new();
        for n in 1..=5 {
            queue.push(0, n).unwrap();
        }
        queue.discard(|_, n| n % 2 == 0);
        let slot = FakeSlot::new();
        let mut seen = Vec::new();
        while queue.pump(0, &slot) {
            seen.push(slot.consume().0);
        }
        assert_eq!(seen, [Some(1), Some(3), Some(5)]);
    }

    proptest! {
        #[test]
        fn every_message_arrives_in_order_and_eom_is_asked_for(steps in proptest::collection::vec(
            prop_oneof![(0u8..3).prop_map(Some), Just(None)], 0..100)) {
            let mut queue = MessageQueue::<u32, 8>::new();
            let slots = [FakeSlot::new(), FakeSlot::new(), FakeSlot::new()];
            let mut sent = [Vec::new(), Vec::new(), Vec::new()];
            let mut got = [Vec::new(), Vec::new(), Vec::new()];
            for (n, step) in steps.into_iter().enumerate() {
                if let Some(sint) = step {
                    let n = n as u32;
                    if queue.push(sint, n).is_ok() {
                        sent[usize::from(sint)].push(n);
                        queue.pump(sint, &slots[usize::from(sint)]);
                    }
                    continue;
                }
                for sint in 0..3u8 {
                    let (message, eom) = slots[usize::from(sint)].consume();
                    got[usize::from(sint)].extend(message);
                    prop_assert!(eom || queue.waiting(sint) == 0, "a message waits and no EOM will come");
                    if eom {
                        queue.pump(sint, &slots[usize::from(sint)]);
                    }
                }
            }
            for sint in 0..3u8 {
                let slot = &slots[usize::from(sint)];
                loop {
                    got[usize::from(sint)].extend(slot.consume().0);
                    if !queue.pump(sint, slot) {
                        break;
                    }
                }
            }
            prop_assert_eq!(got, sent);
        }
    }
}
