//! Who runs next on an LP, and until when.

use crate::budget;
use crate::class::{Class, classify};
use crate::entity::{Entity, Env, State, VpRef, Vps};
use crate::params::{
    CACHE_HOT, MIN_ALARM, MIN_RUN, PERIOD, RESERVABLE, SOLO_SLICE, WAKE_MARGIN, WATCH_BATCH,
    WATCH_PAUSE,
};
use crate::queue::{Decision, RunQueue};
use crate::vtime;
use hvdef::LpIndex;

impl RunQueue {
    /// Decides what the LP does now.
    pub(crate) fn pick(&mut self, env: &Env<impl Vps>) -> Decision {
        self.charge(env);
        self.rouse(env);
        self.review(env);
        let (ran, in_slice) = (self.current.some(), env.now < self.slice_end);
        let stays = self.reclassify_current(env) && !self.should_switch(env);
        if !stays {
            self.switch(env);
        } else if env.now >= self.slice_end {
            self.renew_slice(env);
        }
        let mut decision = self.decide(env);
        let can_go_on = |vp| env.vp(vp).state() == State::Ready;
        decision.preempted = in_slice && ran != decision.run && ran.is_some_and(can_go_on);
        env.board.set_idle(self.lp, decision.run.is_none());
        self.publish(env);
        decision
    }

    /// Wakes sleepers whose time has come, some of them per call.
    fn rouse(&mut self, env: &Env<impl Vps>) {
        for _ in 0..WATCH_BATCH {
            let Some(vp) = self.next_alarm(env).filter(|&(_, at)| at <= env.now) else { return };
            self.rise(env, vp.0);
        }
    }

    /// The sleeper to be woken first, and when.
    fn next_alarm(&self, env: &Env<impl Vps>) -> Option<(VpRef, u64)> {
        self.sleepers.first().map(|vp| (vp, env.vp(vp).deadline.get()))
    }

    /// Looks again at the VPs that a new period may have changed, some of them per call.
    fn review(&mut self, env: &Env<impl Vps>) {
        let period = env.now / PERIOD;
        if period > self.period {
            self.period = period;
            self.unseen = self.watch.len();
        }
        for _ in 0..self.unseen.min(WATCH_BATCH) {
            let Some(vp) = self.watch.pop(env.vps) else {
                self.unseen = 0;
                return;
            };
            self.unseen -= 1;
            self.dequeue(env, vp);
            if env.vp(vp).state() == State::Parked {
                // It could not have run: being behind on that account is no claim.
                self.place_afresh(env, vp);
            }
            self.enqueue(env, vp);
        }
    }

    /// Brings budgets and class of the running VP up to date; false if there is none or its limit is used up.
    fn reclassify_current(&mut self, env: &Env<impl Vps>) -> bool {
        let Some(vp) = self.current.some() else { return false };
        let entity = env.vp(vp);
        let share = env.share_of(entity);
        budget::refill(entity, share, env.now);
        let class = classify(entity, share);
        if let Some(class) = class {
            entity.set_class(class);
        }
        class.is_some()
    }

    /// Puts the running VP back and starts the best.
    fn switch(&mut self, env: &Env<impl Vps>) {
        if let Some(vp) = self.current.some() {
            self.current = VpRef::NONE;
            self.enqueue(env, vp);
        }
        let Some((vp, _)) = self.best(env, self.is_owed(env)) else { return };
        self.dequeue(env, vp);
        env.vp(vp).set_state(State::Running);
        self.current = vp;
        self.charged = env.now;
        self.renew_slice(env);
    }

    fn renew_slice(&mut self, env: &Env<impl Vps>) {
        let Some(vp) = self.current.some() else { return };
        let slice = self.slice(env.share_of(env.vp(vp)));
        self.slice_end = env.now.saturating_add(slice);
    }

    fn decide(&mut self, env: &Env<impl Vps>) -> Decision {
        let until = match self.current.some() {
            Some(vp) => Some(self.horizon(env, env.vp(vp))),
            None => self.review_at(env),
        };
        // A batch that was not enough goes on a little later.
        let alarm = self.next_alarm(env).map(|(_, at)| at.max(env.now.saturating_add(MIN_ALARM)));
        let until = [until, alarm].into_iter().flatten().min();
        self.until = until.unwrap_or(0);
        Decision {
            run: self.current.some(),
            until,
            nudge: self.nudge(env),
            preempted: false,
            fetched: false,
        }
    }

    /// The waiting VP that goes first, with its rank; `owed` is [`Self::is_owed`].
    fn best(&self, env: &Env<impl Vps>, owed: bool) -> Option<(VpRef, u8)> {
        let candidate = |class| Some((self.heap(class).first()?, rank(class, owed)));
        [Class::High, Class::Reserved, Class::Fair, Class::Bound]
            .into_iter()
            .filter_map(candidate)
            .reduce(|a, b| {
                let earlier = || env.vp(b.0).vtime().is_before(env.vp(a.0).vtime());
                if b.1 < a.1 || (b.1 == a.1 && earlier()) { b } else { a }
            })
    }

    /// Whether somebody who waits should run instead of the running VP.
    pub(crate) fn should_switch(&self, env: &Env<impl Vps>) -> bool {
        let owed = self.is_owed(env);
        let Some((best, best_rank)) = self.best(env, owed) else { return false };
        let Some(current) = self.current.some() else { return true };
        let (best, current) = (env.vp(best), env.vp(current));
        let current_rank = rank(current.class(), owed);
        if best_rank != current_rank {
            return best_rank < current_rank;
        }
        let in_slice = env.now < self.slice_end;
        let margin = if in_slice { vtime::cost(env.share_of(best), WAKE_MARGIN) } else { 0 };
        best.vtime().after(margin).is_before(current.vtime())
    }

    /// Whether the reserves owed here need all that is left of the period.
    fn is_owed(&self, env: &Env<impl Vps>) -> bool {
        self.owed(env).is_some_and(|owed| owed.saturating_add(MIN_RUN) >= left_of_period(env.now))
    }

    /// Reserves owed here, the running VP's included.
    fn owed(&self, env: &Env<impl Vps>) -> Option<u64> {
        let current =
            self.current.some().map(|vp| env.vp(vp)).filter(|vp| vp.class() == Class::Reserved);
        let running = current.map_or(0, |vp| vp.reserve_left.signed().max(0).cast_unsigned());
        let owed = self.due.saturating_add(running).min(RESERVABLE);
        (owed != 0).then_some(owed)
    }

    /// When to decide again while `entity` runs.
    pub(crate) fn horizon(&self, env: &Env<impl Vps>, entity: &Entity) -> u64 {
        let now = env.now;
        let left = |budget: i64| now.saturating_add(budget.max(0).cast_unsigned());
        let mut until = if self.waiting() == 0 { self.solo_end(env) } else { self.slice_end };
        if env.share_of(entity).limit_ns().is_some() {
            until = until.min(left(entity.limit_left.signed()));
        }
        if self.waiting() != 0 {
            until = until.min(match entity.class() {
                Class::High => left(entity.boost_left.signed()).min(self.reserves_from(env)),
                Class::Reserved => left(entity.reserve_left.signed()).min(period_end(now)),
                Class::Fair | Class::Bound => until,
            });
        }
        if self.leaver(env).is_some() && env.board.has_idle() {
            until = until.min(now.saturating_add(CACHE_HOT));
        }
        until = until.min(self.review_at(env).unwrap_or(until));
        until.max(now.saturating_add(MIN_RUN))
    }

    /// How long a VP runs that nobody here waits for: VPs of other LPs may need the time.
    fn solo_end(&self, env: &Env<impl Vps>) -> u64 {
        env.now.saturating_add(if env.board.is_contended() { PERIOD } else { SOLO_SLICE })
    }

    /// From when on the reserves owed here go before everybody.
    fn reserves_from(&self, env: &Env<impl Vps>) -> u64 {
        self.owed(env).map_or(u64::MAX, |owed| period_end(env.now).saturating_sub(owed))
    }

    /// When to look again at parked VPs, reserves, and a VP that another LP did not give.
    fn review_at(&self, env: &Env<impl Vps>) -> Option<u64> {
        let pause = (self.unseen != 0).then(|| env.now.saturating_add(WATCH_PAUSE));
        let period = (self.watch.len() != 0).then(|| period_end(env.now));
        let ask = (self.ask_at > env.now).then_some(self.ask_at);
        [pause, period, ask].into_iter().flatten().min()
    }

    /// The waiting VP that another LP would get.
    pub(crate) fn leaver(&self, env: &Env<impl Vps>) -> Option<VpRef> {
        let reserved = self.heap(Class::Reserved).first().filter(|&vp| !env.vp(vp).bound);
        reserved.or(self.heap(Class::Fair).first())
    }

    /// An idle LP that should come for a waiting VP.
    fn nudge(&self, env: &Env<impl Vps>) -> Option<LpIndex> {
        self.leaver(env).filter(|&vp| !is_hot(env, vp)).and_then(|_| env.board.claim_any(self.lp))
    }
}

/// Order of the classes; lower goes first.
fn rank(class: Class, owed: bool) -> u8 {
    match class {
        Class::Reserved if owed => 0,
        Class::High => 1,
        Class::Reserved => 2,
        Class::Fair | Class::Bound => 3,
    }
}

/// Whether the VP's cache content is worth waiting for.
pub(crate) fn is_hot(env: &Env<impl Vps>, vp: VpRef) -> bool {
    env.now.saturating_sub(env.vp(vp).last_ran.get()) < CACHE_HOT
}

fn left_of_period(now: u64) -> u64 {
    PERIOD - now % PERIOD
}

fn period_end(now: u64) -> u64 {
    now.saturating_add(left_of_period(now))
}
