//! The run queue of one LP: who waits, who runs, and what that costs.

use crate::budget;
use crate::class::{Class, classify, may_improve};
use crate::entity::{Env, Known, State, VpRef, Vps};
use crate::heap::{ByDeadline, Heap};
use crate::list::List;
use crate::params::{MIN_SLICE, SLICE, SOLO_LAG, STEAL_LAG, WAKE_CREDIT};
use crate::vtime::{self, VTime};
use hvdef::LpIndex;

/// What an LP is to do now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    /// The VP to run; `None`: halt until interrupted.
    pub run: Option<VpRef>,
    /// When to ask again at the latest, in the time of [`Env::now`].
    pub until: Option<u64>,
    /// An idle LP to interrupt, so that it comes for a VP that waits here.
    pub nudge: Option<LpIndex>,
    /// The VP that ran could have gone on, and its slice was not over.
    pub preempted: bool,
    /// A VP was fetched from another LP.
    pub fetched: bool,
}

/// The run queue of one LP. Kept under that LP's lock.
#[derive(Debug)]
pub struct RunQueue {
    pub(crate) lp: LpIndex,
    heaps: [Heap; Class::COUNT],
    /// Blocked VPs at home here that want to be woken at some time.
    pub(crate) sleepers: Heap<ByDeadline>,
    /// VPs that a new period may change.
    pub(crate) watch: List,
    /// How many of them were not looked at in this period.
    pub(crate) unseen: u32,
    /// The period up to which `watch` was looked at.
    pub(crate) period: u64,
    /// When other LPs' needs were last looked at.
    pub(crate) balanced: u64,
    /// When to ask another LP again for a VP that was not to leave.
    pub(crate) ask_at: u64,
    pub(crate) current: VpRef,
    /// Up to when `current` has been charged.
    pub(crate) charged: u64,
    pub(crate) slice_end: u64,
    /// The last decision's `until`; 0 if it has none.
    pub(crate) until: u64,
    /// Reserves still owed to the VPs that wait here, in nanoseconds.
    pub(crate) due: u64,
    /// Weights of the VPs that wait here by virtual time, as [`vtime::load`].
    load: u64,
    /// [`Self::neediest`] at the end of the last change.
    pub(crate) floor: VTime,
}

impl RunQueue {
    /// The empty queue of `lp`.
    pub const fn new(lp: LpIndex) -> Self {
        Self {
            lp,
            heaps: [Heap::EMPTY; Class::COUNT],
            sleepers: Heap::EMPTY,
            watch: List::EMPTY,
            unseen: 0,
            period: 0,
            balanced: 0,
            ask_at: 0,
            current: VpRef::NONE,
            charged: 0,
            slice_end: 0,
            until: 0,
            due: 0,
            load: 0,
            floor: VTime(0),
        }
    }

    /// The VP that runs here.
    pub fn current(&self) -> Option<VpRef> {
        self.current.some()
    }

    /// How many VPs wait here, without parked ones.
    pub fn waiting(&self) -> u32 {
        let [high, reserved, fair, bound] = &self.heaps;
        high.len() + reserved.len() + fair.len() + bound.len()
    }

    pub(crate) fn heap(&self, class: Class) -> &Heap {
        let [high, reserved, fair, bound] = &self.heaps;
        match class {
            Class::High => high,
            Class::Reserved => reserved,
            Class::Fair => fair,
            Class::Bound => bound,
        }
    }

    fn heap_mut(&mut self, class: Class) -> &mut Heap {
        let [high, reserved, fair, bound] = &mut self.heaps;
        match class {
            Class::High => high,
            Class::Reserved => reserved,
            Class::Fair => fair,
            Class::Bound => bound,
        }
    }

    /// Charges the running VP for the time since it was last charged.
    pub(crate) fn charge(&mut self, env: &Env<impl Vps>) {
        let Some(vp) = self.current.some() else { return };
        let ran = env.now.saturating_sub(self.charged);
        if ran == 0 {
            return;
        }
        self.charged = env.now;
        let running = env.know(vp);
        let class = running.entity.class();
        budget::charge(running.entity, running.share, class, ran);
        running.entity.last_ran.set(env.now);
        if !class.is_fair() || self.waiting() == 0 {
            self.forgive(env, running);
        }
    }

    /// Charges `vp` if it is the running VP.
    pub(crate) fn settle(&mut self, env: &Env<impl Vps>, vp: VpRef) {
        if self.current == vp {
            self.charge(env);
        }
    }

    /// Keeps the virtual time of a VP that did not compete near the machine's, or near that of the VPs that wait here:
    /// the machine's clock stands still while nobody waits who may leave.
    fn forgive(&self, env: &Env<impl Vps>, running: Known) {
        let (clock, lag) = (env.board.clock(), running.cost(SOLO_LAG));
        let now = self.first_waiting(env).map_or(clock, |(_, first)| first.max(clock));
        let entity = running.entity;
        entity.set_vtime(entity.vtime().clamp(now.back(lag), now.after(lag)));
    }

    /// The neediest VP that waits and goes by virtual time.
    #[inline]
    pub(crate) fn first_waiting(&self, env: &Env<impl Vps>) -> Option<(VpRef, VTime)> {
        let [_, _, fair, bound] = &self.heaps;
        let timed = |vp: VpRef| (vp, env.vp(vp).vtime());
        let Some(bound) = bound.first().map(timed) else { return fair.first().map(timed) };
        match fair.first().map(timed) {
            Some(fair) if !bound.1.is_before(fair.1) => Some(fair),
            _ => Some(bound),
        }
    }

    /// Puts a VP that is in no queue where its budgets say: into a heap, or aside until a later period.
    pub(crate) fn enqueue(&mut self, env: &Env<impl Vps>, who: Known) {
        let Known { vp, entity, share } = who;
        budget::refill(entity, share, env.now);
        let Some(class) = classify(entity, share) else {
            entity.set_state(State::Parked);
            self.watch.push(env.vps, vp);
            return;
        };
        entity.set_state(State::Ready);
        entity.set_class(class);
        if class == Class::Reserved {
            let due = entity.reserve_left.signed().max(0).cast_unsigned();
            entity.due.set(due);
            self.due = self.due.saturating_add(due);
        }
        if class.is_fair() {
            let load = vtime::load(share);
            entity.load.set(load);
            self.load = self.load.saturating_add(load);
        }
        self.heap_mut(class).insert(env.vps, vp, entity);
        if class == Class::Reserved || may_improve(class, share) {
            self.watch.push(env.vps, vp);
        }
    }

    /// Takes a VP that waits or is parked out of the queue.
    pub(crate) fn dequeue(&mut self, env: &Env<impl Vps>, who: Known) {
        let Known { vp, entity, .. } = who;
        self.watch.remove(env.vps, entity);
        if entity.state() != State::Ready {
            return;
        }
        self.heap_mut(entity.class()).remove(env.vps, vp, entity);
        self.due = self.due.saturating_sub(entity.due.get());
        entity.due.set(0);
        self.load = self.load.saturating_sub(entity.load.get());
        entity.load.set(0);
    }

    /// How long a VP may run while others wait: less for one that has less weight than they have on average.
    pub(crate) fn slice(&self, who: Known) -> u64 {
        let others = u64::from(self.heap(Class::Fair).len() + self.heap(Class::Bound).len());
        let part = (SLICE * vtime::load(who.share)).saturating_mul(others.max(1));
        (part / self.load.max(1)).clamp(MIN_SLICE, SLICE)
    }

    /// Sets the virtual time of a VP that slept: it may be a little behind the others here, not more. But it gives up no
    /// claim that it had before, only what it could have run meanwhile: who waits for moments keeps its share.
    pub(crate) fn place(&self, env: &Env<impl Vps>, who: Known) {
        let slept = env.now.saturating_sub(who.entity.last_ran.get());
        self.place_within(env, who, who.cost(slept));
    }

    /// The same for one that was not allowed to run: what it had before is lost, too.
    pub(crate) fn place_afresh(&self, env: &Env<impl Vps>, who: Known) {
        self.place_within(env, who, u64::MAX >> 2);
    }

    /// Moves a VP towards the others here, forward by `most` at most.
    #[inline]
    fn place_within(&self, env: &Env<impl Vps>, who: Known, most: u64) {
        let entity = who.entity;
        let competes = self.current.some().is_some() || self.waiting() != 0;
        let now = if competes { self.neediest(env) } else { env.board.clock() };
        let from = now.back(who.cost(WAKE_CREDIT)).min(entity.vtime().after(most));
        let to = now.after(who.cost(SOLO_LAG));
        entity.set_vtime(entity.vtime().clamp(from, to));
    }

    /// Virtual time of the neediest of the VPs that go by it, the running one included; without any, as it last was.
    fn neediest(&self, env: &Env<impl Vps>) -> VTime {
        let first = self.first_waiting(env).map(|(_, vtime)| vtime);
        let Some(running) = self.current.some() else { return first.unwrap_or(self.floor) };
        let running = env.vp(running).vtime();
        first.map_or(running, |first| first.min(running))
    }

    /// Tells the other LPs. Ends every change of the queue.
    pub(crate) fn publish(&mut self, env: &Env<impl Vps>) {
        self.floor = self.neediest(env);
        let [_, reserved, fair, _] = &self.heaps;
        let overdue = fair.first().map_or(self.floor, |first| overdue(env.know(first)));
        let waiting = fair.len() + reserved.len();
        env.board.publish(self.lp, self.floor, overdue, waiting, reserved.len());
    }
}

/// When, in virtual time, a waiting VP should be fetched by another LP.
pub(crate) fn overdue(who: Known) -> VTime {
    who.entity.vtime().after(who.cost(STEAL_LAG))
}
