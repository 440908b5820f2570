//! The parent's event ring: how it hears of doorbells.
//!
//! Each of the parent's VPs has a ring per SINT on a page that the hypervisor provides. Doorbells use one of them, that of
//! [`SINT`], which the parent's driver programs as an intercept: "look at your ring" is a message in its slot 0.

use crate::interrupts;
use crate::lp::{self, Lp};
use crate::mem::phys;
use crate::sync::SpinLock;
use crate::time;
use arch_x86::cpu;
use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering};
use hvdef::synic::ROW_SIZE;
use synic::{EventRing, PendingSet, RingPage};
use zemindef::counters::Counter;

/// The SINT of doorbells.
pub const SINT: u8 = 5;
/// One more than the largest port id that a full ring can remember.
pub const CAPACITY: u32 = 4096;

/// Bytes 0 and 1 of a ring: signals are masked; it is full.
const MASKED: u64 = 1;
const FULL: u64 = 1 << 8;

/// The hypervisor's side of the ring of one of the parent's VPs.
pub struct Ring {
    /// System address of the ring page; 0 before the VP exists.
    page: AtomicU64,
    producer: SpinLock<EventRing>,
    overflow: PendingSet<{ CAPACITY as usize / 64 }>,
}

/// The ring in memory.
struct Shared(u64);

impl Shared {
    fn words(&self) -> &'static [AtomicU64] {
        let start = usize::from(SINT) * ROW_SIZE / 8;
        let words = if self.0 == 0 { &[] } else { &phys::shared_words(self.0)[..] };
        words.get(start..start + ROW_SIZE / 8).unwrap_or_default()
    }
}

impl RingPage for Shared {
    fn try_store(&self, index: u8, port: u32) -> bool {
        // Entries of 4 bytes follow a header of 4 bytes.
        let place = usize::from(index) + 1;
        let Some(word) = self.words().get(place / 2) else { return false };
        let shift = 32 * (place % 2);
        let stored = word.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |old| {
            (old >> shift & 0xFFFF_FFFF == 0).then_some(old | u64::from(port) << shift)
        });
        stored.is_ok()
    }

    fn set_full(&self) {
        lp::current().count(Counter::EventRingDrops);
        if let Some(word) = self.words().first() {
            word.fetch_or(FULL, Ordering::SeqCst);
        }
    }

    fn swap_masked(&self) -> bool {
        self.words().first().is_none_or(|word| word.fetch_or(MASKED, Ordering::SeqCst) & 0xFF != 0)
    }
}

impl Ring {
    /// A ring without a page yet.
    pub const fn new() -> Self {
        Self {
            page: AtomicU64::new(0),
            producer: SpinLock::new(EventRing::new()),
            overflow: PendingSet::new(),
        }
    }

    /// Says where the page is.
    pub fn place(&self, page: u64) {
        self.page.store(page, Ordering::Release);
    }

    fn shared(&self) -> Shared {
        Shared(self.page.load(Ordering::Acquire))
    }
}

/// Rings for a port: an entry in the ring of the LP's own parent VP, or another one's if that one does not listen.
pub fn post(lp: &Lp, port: u32) {
    let target = lp::listening(lp);
    lp.count(Counter::EventRingPosts);
    if target.ring.producer.lock().post(&target.ring.shared(), &target.ring.overflow, port) {
        if core::ptr::eq(target, lp) && lp.patience.begins(lp) {
            lp.root_queue.push_sint(SINT);
        } else {
            announce(target);
        }
    }
}

/// A turn on this LP has ended. Whether the parent's VP has yet to hear of a doorbell that the child rang before it stopped.
pub fn is_unheard(lp: &Lp) -> bool {
    let is_unheard = lp.root_queue.has_ring();
    if is_unheard {
        lp.patience.ends();
    }
    is_unheard
}

/// How long a child goes on after it has rung a doorbell, before the parent's VP takes its LP.
///
/// A guest that has more to do for the same device does it then, and one change of VPs serves all of it. One that only
/// waits for the answer stops at once and has gained nothing but the way into its idle loop: then the next doorbells are announced
/// without delay, before this is tried again. Touched by its LP only.
pub struct Patience {
    /// Time-stamp counter value at which the parent's VP hears of it in any case.
    until: Cell<u64>,
    /// Doorbells that are announced without delay first.
    at_once: Cell<u64>,
}

/// The longest delay of an announcement, in 100 ns.
const DELAY: u64 = 2000;
/// A child that stops earlier than so many of them waits for the answer.
const STOPS_EARLY: u64 = 80;
/// Doorbells without delay after that.
const AT_ONCE: u64 = 64;

impl Patience {
    /// With a delay for the first doorbell.
    pub const fn new() -> Self {
        Self { until: Cell::new(0), at_once: Cell::new(0) }
    }

    /// A doorbell was rung on its own LP; whether the child goes on.
    fn begins(&self, lp: &Lp) -> bool {
        let at_once = self.at_once.get();
        if at_once > 0 {
            self.at_once.set(at_once - 1);
            return false;
        }
        if !lp.root_vp.get().is_some_and(|vp| vp.is_blocked()) {
            return false;
        }
        let until = cpu::rdtsc() + time::ticks_of_100ns(DELAY);
        self.until.set(until);
        if until < lp.turn_end.get() {
            lp.turn_end.set(until);
            interrupts::set_timer(lp, until.min(lp.timer_deadline.get()));
        }
        true
    }

    fn ends(&self) {
        let left = self.until.get().saturating_sub(cpu::rdtsc());
        if left > time::ticks_of_100ns(DELAY - STOPS_EARLY) {
            self.at_once.set(AT_ONCE);
        }
    }
}

/// The parent's VP of this LP has emptied its ring: what did not fit follows.
pub fn emptied(lp: &Lp) {
    if lp.ring.producer.lock().notify_empty(&lp.ring.shared(), &lp.ring.overflow) {
        announce(lp);
    }
}

fn announce(lp: &Lp) {
    lp.root_queue.push_sint(SINT);
    lp.kick();
}
