//! How VPs come into a queue and leave it.

use crate::budget;
use crate::class::Class;
use crate::entity::{Entity, Env, Known, State, VpRef, Vps};
use crate::params::{CACHE_HOT, MIN_RUN, PERIOD, RESERVE_CHECK};
use crate::pick::is_hot;
use crate::queue::{RunQueue, overdue};
use crate::share::Role;
use crate::vtime::VTime;
use hvdef::LpIndex;

/// What became of a wake-up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wake {
    /// This is not the VP's home any more.
    Moved,
    /// It is runnable already.
    Already,
    /// It is running here.
    Running,
    /// It waits here; whether the LP should decide anew.
    Queued { preempt: bool },
    /// It is in transit to an idle LP.
    Sent(LpIndex),
}

/// What became of a removal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Remove {
    /// In transit, or at home elsewhere: try again.
    Moved,
    /// It is in no queue.
    Out,
    /// It is running here.
    Running,
}

/// Why an LP asks another for a VP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Want {
    /// It has nothing to run.
    Anything,
    /// Somebody there is owed a reserve and nobody here is.
    Reserved,
    /// Its own neediest VP is here in virtual time.
    Overdue(VTime),
}

/// The answer to such a wish.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Give {
    /// There is no such VP (any more).
    Nothing,
    /// There is one, but it ran a moment ago.
    Hot,
    /// This VP is in transit to the LP that asked.
    Sent(VpRef),
}

impl RunQueue {
    /// Makes a VP at home here runnable.
    pub(crate) fn wake(&mut self, env: &Env<impl Vps>, vp: VpRef) -> Wake {
        let entity = env.vp(vp);
        if entity.home() != self.lp {
            return Wake::Moved;
        }
        let wake = match entity.state() {
            State::Blocked => self.wake_blocked(env, env.know(vp)),
            State::Ready => self.promote(env, env.know(vp)),
            State::Running => {
                entity.woken.set(1);
                return Wake::Running;
            }
            State::Parked | State::Transit => return Wake::Already,
        };
        if wake != Wake::Already {
            self.publish(env);
        }
        wake
    }

    fn wake_blocked(&mut self, env: &Env<impl Vps>, who: Known) -> Wake {
        let Known { vp, entity, share } = who;
        let may_leave = !entity.bound && share.role() == Role::Child && !env.board.claim(self.lp);
        if may_leave && let Some(lp) = env.board.claim_any(self.lp) {
            self.end_sleep(env, vp, entity);
            budget::refill(entity, share, env.now);
            share.add_active();
            self.send(entity, lp);
            return Wake::Sent(lp);
        }
        self.charge(env);
        self.rise(env, who);
        Wake::Queued { preempt: self.is_stale(env) }
    }

    /// A blocked VP at home here becomes runnable here.
    pub(crate) fn rise(&mut self, env: &Env<impl Vps>, who: Known) {
        let Known { vp, entity, share } = who;
        self.end_sleep(env, vp, entity);
        budget::refill(entity, share, env.now);
        budget::boost(entity, share);
        share.add_active();
        self.place(env, who);
        self.enqueue(env, who);
    }

    /// Takes a blocked VP from among the sleepers, if it is there.
    #[inline]
    fn end_sleep(&mut self, env: &Env<impl Vps>, vp: VpRef, entity: &Entity) {
        if entity.asleep.get() != 0 {
            entity.asleep.set(0);
            self.sleepers.remove(env.vps, vp, entity);
        }
    }

    fn fall_asleep(&mut self, env: &Env<impl Vps>, vp: VpRef, entity: &Entity, deadline: u64) {
        entity.deadline.set(deadline);
        entity.asleep.set(1);
        self.sleepers.insert(env.vps, vp, entity);
    }

    /// An interrupt for a parent's VP that waits among the others brings it to the front.
    fn promote(&mut self, env: &Env<impl Vps>, who: Known) -> Wake {
        if who.share.role() != Role::Parent || who.entity.class() == Class::High {
            return Wake::Already;
        }
        self.dequeue(env, who);
        budget::refill(who.entity, who.share, env.now);
        budget::boost(who.entity, who.share);
        self.charge(env);
        self.enqueue(env, who);
        Wake::Queued { preempt: self.is_stale(env) }
    }

    /// Whether the LP should decide anew, because somebody waits who goes first, or cannot wait as long as planned.
    fn is_stale(&self, env: &Env<impl Vps>) -> bool {
        match self.current.some() {
            None => true,
            Some(vp) => {
                let running = env.know(vp);
                let horizon = || self.horizon(env, running);
                self.should_switch(env, running) || horizon().saturating_add(MIN_RUN) < self.until
            }
        }
    }

    fn send(&self, entity: &Entity, lp: LpIndex) {
        entity.set_state(State::Transit);
        entity.set_home(lp);
    }

    /// Takes in a VP that is in transit to this LP; whether the LP should decide anew.
    pub(crate) fn accept(&mut self, env: &Env<impl Vps>, vp: VpRef, woken: bool) -> bool {
        let who = env.know(vp);
        if who.entity.home() != self.lp || who.entity.state() != State::Transit {
            return false;
        }
        self.charge(env);
        if woken {
            self.place(env, who);
        }
        self.enqueue(env, who);
        self.publish(env);
        self.is_stale(env)
    }

    /// Whom this LP should ask for a VP before it decides, and why.
    pub(crate) fn want(&mut self, env: &Env<impl Vps>) -> Option<(LpIndex, Want)> {
        self.charge(env);
        if self.current.some().is_none() && self.waiting() == 0 {
            return env.board.neediest(self.lp, None).map(|lp| (lp, Want::Anything));
        }
        let reserved = self.has_reserved(env);
        let due = self.balanced.saturating_add(if reserved { PERIOD } else { RESERVE_CHECK });
        if env.now < due {
            return None;
        }
        let owing = if reserved { None } else { env.board.owing(self.lp) };
        owing.map(|lp| (lp, Want::Reserved)).or_else(|| self.want_overdue(env))
    }

    fn want_overdue(&mut self, env: &Env<impl Vps>) -> Option<(LpIndex, Want)> {
        if env.now < self.balanced.saturating_add(PERIOD) {
            return None;
        }
        self.balanced = env.now;
        self.publish(env);
        env.board.advance_clock();
        let lp = env.board.neediest(self.lp, Some(self.floor))?;
        Some((lp, Want::Overdue(self.floor)))
    }

    fn has_reserved(&self, env: &Env<impl Vps>) -> bool {
        let owed =
            |vp| env.vp(vp).class() == Class::Reserved && env.vp(vp).reserve_left.signed() > 0;
        let running = self.current.some().is_some_and(owed);
        running || self.heap(Class::Reserved).len() != 0
    }

    /// Sends a waiting VP to `lp`, if there is one that fits the wish and should leave.
    pub(crate) fn give(&mut self, env: &Env<impl Vps>, lp: LpIndex, want: Want) -> Give {
        let vp = match want {
            Want::Anything => self.leaver(env),
            Want::Reserved => self.leaver(env).filter(|&vp| env.vp(vp).class() == Class::Reserved),
            Want::Overdue(floor) => {
                let is_overdue = |&vp: &VpRef| overdue(env.know(vp)).is_before(floor);
                self.heap(Class::Fair).first().filter(is_overdue)
            }
        };
        let Some(vp) = vp else { return Give::Nothing };
        if is_hot(env, vp) {
            return Give::Hot;
        }
        let who = env.know(vp);
        self.dequeue(env, who);
        self.send(who.entity, lp);
        self.publish(env);
        Give::Sent(vp)
    }

    /// The VP that this LP asked for is not to leave just now: ask again when its cache has cooled.
    pub(crate) fn ask_again(&mut self, env: &Env<impl Vps>) {
        self.ask_at = env.now.saturating_add(CACHE_HOT);
        self.balanced = self.ask_at.saturating_sub(PERIOD);
    }

    /// Takes the running VP off the LP unless it was woken meanwhile and `force` is not set; whether it is off.
    pub(crate) fn block(
        &mut self,
        env: &Env<impl Vps>,
        force: bool,
        deadline: Option<u64>,
    ) -> bool {
        let Some(vp) = self.current.some() else { return true };
        self.charge(env);
        let Known { entity, share, .. } = env.know(vp);
        if entity.woken.get() != 0 {
            entity.woken.set(0);
            if !force {
                return false;
            }
        }
        self.current = VpRef::NONE;
        entity.set_state(State::Blocked);
        share.remove_active();
        if let Some(deadline) = deadline {
            self.fall_asleep(env, vp, entity, deadline);
        }
        // The decision that follows tells the other LPs.
        true
    }

    /// Makes a VP at home here that does not run not runnable.
    pub(crate) fn remove(&mut self, env: &Env<impl Vps>, vp: VpRef) -> Remove {
        let who = env.know(vp);
        let entity = who.entity;
        if entity.home() != self.lp {
            return Remove::Moved;
        }
        match entity.state() {
            State::Transit => return Remove::Moved,
            State::Running => return Remove::Running,
            State::Blocked => {
                self.end_sleep(env, vp, entity);
                return Remove::Out;
            }
            State::Ready | State::Parked => {}
        }
        self.dequeue(env, who);
        entity.set_state(State::Blocked);
        who.share.remove_active();
        self.publish(env);
        Remove::Out
    }
}
