//! What the scheduler knows of one VP.

use crate::board::Board;
use crate::class::Class;
use crate::field::{Half, Word};
use crate::share::Share;
use crate::vtime::{self, VTime};
use core::sync::atomic::{AtomicU32, Ordering};
use hvdef::LpIndex;

/// Names an [`Entity`]; what the number means is the hypervisor's affair.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VpRef(pub u32);

impl VpRef {
    /// No VP. Ends links.
    pub const NONE: Self = Self(u32::MAX);

    pub(crate) fn some(self) -> Option<Self> {
        (self != Self::NONE).then_some(self)
    }
}

/// Names a [`Share`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShareRef(pub u32);

/// Where entities and shares are kept.
///
/// They are asked only for what the hypervisor itself has handed in, and must answer with the same object
/// each time for as long as it is not removed.
pub trait Vps {
    /// The VP's entity.
    fn vp(&self, vp: VpRef) -> &Entity;
    /// The partition's share.
    fn share(&self, share: ShareRef) -> &Share;
    /// The VP's entity, and the share that it names: for whoever finds both at once.
    #[inline]
    fn both(&self, vp: VpRef) -> (&Entity, &Share) {
        let entity = self.vp(vp);
        (entity, self.share(entity.share))
    }
}

/// What every operation needs: the VPs, the board, and the time in nanoseconds since any fixed moment.
///
/// LPs may disagree a little about the time: going back is taken as standing still.
#[derive(Debug)]
pub struct Env<'a, S> {
    /// Entities and shares.
    pub vps: &'a S,
    /// What LPs tell each other.
    pub board: &'a Board<'a>,
    /// Now.
    pub now: u64,
}

impl<S: Vps> Env<'_, S> {
    pub(crate) fn vp(&self, vp: VpRef) -> &Entity {
        self.vps.vp(vp)
    }

    /// A VP with all that belongs to it: looked up once by whoever needs more than one of its fields.
    #[inline]
    pub(crate) fn know(&self, vp: VpRef) -> Known<'_> {
        let (entity, share) = self.vps.both(vp);
        Known { vp, entity, share }
    }
}

/// A VP that was looked up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    pub vp: VpRef,
    pub entity: &'a Entity,
    pub share: &'a Share,
}

impl Known<'_> {
    /// What `ns` of running cost it in virtual time.
    #[inline]
    pub fn cost(&self, ns: u64) -> u64 {
        vtime::cost(self.share, ns)
    }
}

/// Where a VP is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum State {
    /// Not runnable, in no queue.
    Blocked,
    /// Waiting its turn.
    Ready,
    /// Waiting for the next period: its limit is used up.
    Parked,
    /// Running on its home LP.
    Running,
    /// On its way to its home LP's queue, in no queue.
    Transit,
}

/// Links of a heap.
#[derive(Debug)]
pub(crate) struct HeapLinks {
    pub left: Half,
    pub right: Half,
    pub parent: Half,
    pub rank: Half,
}

impl HeapLinks {
    const fn new() -> Self {
        Self { left: none(), right: none(), parent: none(), rank: Half::new(0) }
    }
}

/// Links of the list of VPs to look at in the next period.
#[derive(Debug)]
pub(crate) struct ListLinks {
    pub next: Half,
    pub previous: Half,
    pub listed: Half,
}

/// The scheduler's part of a VP.
#[derive(Debug)]
pub struct Entity {
    pub(crate) share: ShareRef,
    pub(crate) bound: bool,
    home: AtomicU32,
    state: Half,
    class: Half,
    /// A wake-up came while it ran: it may not block before it has looked again.
    pub(crate) woken: Half,
    vtime: Word,
    /// Number of the period the budgets are of.
    pub(crate) period: Word,
    /// Time left of the limit, signed; below zero is debt.
    pub(crate) limit_left: Word,
    /// Time left of the reserve, signed.
    pub(crate) reserve_left: Word,
    /// Time left of the boost, signed.
    pub(crate) boost_left: Word,
    /// Time left for short boosts.
    pub(crate) grace_left: Word,
    /// What this VP adds to its queue's sum of reserves.
    pub(crate) due: Word,
    /// What this VP adds to its queue's sum of weights.
    pub(crate) load: Word,
    pub(crate) last_ran: Word,
    ran: Word,
    /// When a blocked VP wants to be woken, if it is among the sleepers.
    pub(crate) deadline: Word,
    /// It is blocked and among the sleepers of its home LP.
    pub(crate) asleep: Half,
    pub(crate) heap: HeapLinks,
    pub(crate) alarm: HeapLinks,
    pub(crate) list: ListLinks,
}

impl Entity {
    /// A blocked VP of the partition `share` at home on `home`; `bound`, it stays there. The parent's VPs always do.
    pub const fn new(share: ShareRef, home: LpIndex, bound: bool) -> Self {
        Self {
            share,
            bound,
            home: AtomicU32::new(home.0),
            state: Half::new(State::Blocked as u32),
            class: Half::new(Class::Fair as u32),
            woken: Half::new(0),
            vtime: Word::new(0),
            period: Word::new(u64::MAX),
            limit_left: Word::new(0),
            reserve_left: Word::new(0),
            boost_left: Word::new(0),
            grace_left: Word::new(0),
            due: Word::new(0),
            load: Word::new(0),
            last_ran: Word::new(0),
            ran: Word::new(0),
            deadline: Word::new(0),
            asleep: Half::new(0),
            heap: HeapLinks::new(),
            alarm: HeapLinks::new(),
            list: ListLinks { next: none(), previous: none(), listed: Half::new(0) },
        }
    }

    /// The LP in whose queue the VP is when it is runnable, and whose lock guards this entity.
    pub fn home(&self) -> LpIndex {
        LpIndex(self.home.load(Ordering::Acquire))
    }

    /// Only under the lock of the present home.
    pub(crate) fn set_home(&self, lp: LpIndex) {
        self.home.store(lp.0, Ordering::Release);
    }

    /// Where the VP is. Without the home LP's lock, a hint.
    pub fn state(&self) -> State {
        match self.state.get() {
            x if x == State::Ready as u32 => State::Ready,
            x if x == State::Parked as u32 => State::Parked,
            x if x == State::Running as u32 => State::Running,
            x if x == State::Transit as u32 => State::Transit,
            _ => State::Blocked,
        }
    }

    pub(crate) fn set_state(&self, state: State) {
        self.state.set(state as u32);
    }

    pub(crate) fn class(&self) -> Class {
        Class::from_number(self.class.get())
    }

    pub(crate) fn set_class(&self, class: Class) {
        self.class.set(class as u32);
    }

    /// Its virtual time.
    pub fn vtime(&self) -> VTime {
        VTime(self.vtime.get())
    }

    pub(crate) fn set_vtime(&self, vtime: VTime) {
        self.vtime.set(vtime.0);
    }

    /// Nanoseconds the VP has run, without the present slice.
    pub fn run_time(&self) -> u64 {
        self.ran.get()
    }

    pub(crate) fn add_run_time(&self, ns: u64) {
        self.ran.set(self.ran.get().saturating_add(ns));
    }
}

/// A link that ends.
const fn none() -> Half {
    Half::new(VpRef::NONE.0)
}
