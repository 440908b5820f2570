//! Who runs next on an LP, and until when.

use crate::budget;
use crate::class::{Class, classify};
use crate::entity::{Env, Known, State, VpRef, Vps};
use crate::params::{
    CACHE_HOT, MIN_ALARM, MIN_RUN, PERIOD, RESERVABLE, SOLO_SLICE, WAKE_MARGIN, WATCH_BATCH,
    WATCH_PAUSE,
};
use crate::queue::{Decision, RunQueue};
use hvdef::LpIndex;

impl RunQueue {
    /// Decides what the LP does now.
    pub(crate) fn pick(&mut self, env: &Env<impl Vps>) -> Decision {
        self.charge(env);
        self.rouse(env);
        self.review(env);
        let (ran, in_slice) = (self.current.some(), env.now < self.slice_end);
        let running = self.reclassify_current(env);
        let owed = self.is_owed(env, running);
        let best = self.best(env, owed);
        match best.filter(|&best| self.goes_before(env, best, running, owed)) {
            Some((best, _)) => self.switch(env, best),
            None if env.now >= self.slice_end => self.renew_slice(env),
            None => {}
        }
        let mut decision = self.decide(env);
        let can_go_on = |vp| env.vp(vp).state() == State::Ready;
        decision.preempted = in_slice && ran != decision.run && ran.is_some_and(can_go_on);
        env.board.set_idle(self.lp, decision.run.is_none());
        self.publish(env);
        decision
    }

    /// Wakes sleepers whose time has come, some of them per call.
    #[inline]
    fn rouse(&mut self, env: &Env<impl Vps>) {
        for _ in 0..WATCH_BATCH {
            let Some(vp) = self.next_alarm(env).filter(|&(_, at)| at <= env.now) else { return };
            self.rise(env, env.know(vp.0));
        }
    }

    /// The sleeper to be woken first, and when.
    fn next_alarm(&self, env: &Env<impl Vps>) -> Option<(VpRef, u64)> {
        self.sleepers.first().map(|vp| (vp, env.vp(vp).deadline.get()))
    }

    /// Looks again at the VPs that a new period may have changed, some of them per call.
    #[inline]
    fn review(&mut self, env: &Env<impl Vps>) {
        let period = env.now / PERIOD;
        if period > self.period {
            self.period = period;
            self.unseen = self.watch.len();
        }
        if self.unseen != 0 {
            self.look_again(env);
        }
    }

    #[cold]
    fn look_again(&mut self, env: &Env<impl Vps>) {
        for _ in 0..self.unseen.min(WATCH_BATCH) {
            let Some(vp) = self.watch.pop(env.vps) else {
                self.unseen = 0;
                return;
            };
            self.unseen -= 1;
            let who = env.know(vp);
            self.dequeue(env, who);
            if who.entity.state() == State::Parked {
                // It could not have run: being behind on that account is no claim.
                self.place_afresh(env, who);
            }
            self.enqueue(env, who);
        }
    }

    /// Brings budgets and class of the running VP up to date, and puts it aside if its limit is used up. Who runs then.
    #[inline]
    fn reclassify_current<'a>(&mut self, env: &'a Env<impl Vps>) -> Option<Known<'a>> {
        let who = env.know(self.current.some()?);
        budget::refill(who.entity, who.share, env.now);
        let Some(class) = classify(who.entity, who.share) else {
            self.current = VpRef::NONE;
            self.enqueue(env, who);
            return None;
        };
        who.entity.set_class(class);
        Some(who)
    }

    /// Puts the running VP back and starts `vp`, which waits.
    fn switch(&mut self, env: &Env<impl Vps>, vp: VpRef) {
        if let Some(before) = self.current.some() {
            self.enqueue(env, env.know(before));
        }
        let who = env.know(vp);
        self.dequeue(env, who);
        who.entity.set_state(State::Running);
        self.current = vp;
        self.charged = env.now;
        self.slice_end = env.now.saturating_add(self.slice(who));
    }

    fn renew_slice(&mut self, env: &Env<impl Vps>) {
        let Some(vp) = self.current.some() else { return };
        self.slice_end = env.now.saturating_add(self.slice(env.know(vp)));
    }

    fn decide(&mut self, env: &Env<impl Vps>) -> Decision {
        let run = self.current.some();
        let mut until = match run {
            Some(vp) => self.horizon(env, env.know(vp)),
            None => self.review_at(env),
        };
        if let Some((_, at)) = self.next_alarm(env) {
            // A batch that was not enough goes on a little later.
            until = until.min(at.max(env.now.saturating_add(MIN_ALARM)));
        }
        let until = (until != NEVER).then_some(until);
        self.until = until.unwrap_or(0);
        Decision { run, until, nudge: self.nudge(env), preempted: false, fetched: false }
    }

    /// The waiting VP that goes first, with its rank; `owed` is [`Self::is_owed`].
    #[inline]
    fn best(&self, env: &Env<impl Vps>, owed: bool) -> Option<(VpRef, u8)> {
        let of = |class| Some((self.heap(class).first()?, rank(class, owed)));
        let (first, second) =
            if owed { (Class::Reserved, Class::High) } else { (Class::High, Class::Reserved) };
        of(first)
            .or_else(|| of(second))
            .or_else(|| Some((self.first_waiting(env)?.0, rank(Class::Fair, owed))))
    }

    /// Whether `best`, the first of those that wait and its rank, should run instead of the running VP.
    #[inline]
    fn goes_before(
        &self,
        env: &Env<impl Vps>,
        (best, best_rank): (VpRef, u8),
        running: Option<Known>,
        owed: bool,
    ) -> bool {
        let Some(Known { entity: current, .. }) = running else { return true };
        let current_rank = rank(current.class(), owed);
        if best_rank != current_rank {
            return best_rank < current_rank;
        }
        let best = env.know(best);
        let margin = if env.now < self.slice_end { best.cost(WAKE_MARGIN) } else { 0 };
        best.entity.vtime().after(margin).is_before(current.vtime())
    }

    /// Whether somebody who waits should run instead of the running VP.
    pub(crate) fn should_switch(&self, env: &Env<impl Vps>, running: Known) -> bool {
        let owed = self.is_owed(env, Some(running));
        self.best(env, owed).is_some_and(|best| self.goes_before(env, best, Some(running), owed))
    }

    /// Whether the reserves owed here need all that is left of the period.
    #[inline]
    fn is_owed(&self, env: &Env<impl Vps>, running: Option<Known>) -> bool {
        let owed = self.owed(running);
        owed.is_some_and(|owed| owed.saturating_add(MIN_RUN) >= left_of_period(env.now))
    }

    /// Reserves owed here, the running VP's included.
    #[inline]
    fn owed(&self, running: Option<Known>) -> Option<u64> {
        let running = match running {
            Some(Known { entity, .. }) if entity.class() == Class::Reserved => {
                entity.reserve_left.signed().max(0).cast_unsigned()
            }
            _ => 0,
        };
        let owed = self.due.saturating_add(running).min(RESERVABLE);
        (owed != 0).then_some(owed)
    }

    /// When to decide again while `who` runs.
    pub(crate) fn horizon(&self, env: &Env<impl Vps>, who: Known) -> u64 {
        let (now, entity) = (env.now, who.entity);
        let left = |budget: i64| now.saturating_add(budget.max(0).cast_unsigned());
        let mut until = if self.waiting() == 0 {
            self.solo_end(env)
        } else {
            self.slice_end.min(match entity.class() {
                Class::High => left(entity.boost_left.signed()).min(self.reserves_from(env, who)),
                Class::Reserved => left(entity.reserve_left.signed()).min(period_end(now)),
                Class::Fair | Class::Bound => NEVER,
            })
        };
        if who.share.limit_ns().is_some() {
            until = until.min(left(entity.limit_left.signed()));
        }
        if env.board.has_idle() && self.leaver(env).is_some() {
            until = until.min(now.saturating_add(CACHE_HOT));
        }
        until.min(self.review_at(env)).max(now.saturating_add(MIN_RUN))
    }

    /// How long a VP runs that nobody here waits for: VPs of other LPs may need the time.
    fn solo_end(&self, env: &Env<impl Vps>) -> u64 {
        env.now.saturating_add(if env.board.is_contended() { PERIOD } else { SOLO_SLICE })
    }

    /// From when on the reserves owed here go before everybody.
    fn reserves_from(&self, env: &Env<impl Vps>, running: Known) -> u64 {
        self.owed(Some(running)).map_or(NEVER, |owed| period_end(env.now).saturating_sub(owed))
    }

    /// When to look again at parked VPs, reserves, and a VP that another LP did not give.
    #[inline]
    fn review_at(&self, env: &Env<impl Vps>) -> u64 {
        let mut at = NEVER;
        if self.unseen != 0 {
            at = env.now.saturating_add(WATCH_PAUSE);
        }
        if self.watch.len() != 0 {
            at = at.min(period_end(env.now));
        }
        if self.ask_at > env.now {
            at = at.min(self.ask_at);
        }
        at
    }

    /// The waiting VP that another LP would get.
    pub(crate) fn leaver(&self, env: &Env<impl Vps>) -> Option<VpRef> {
        let reserved = self.heap(Class::Reserved).first().filter(|&vp| !env.vp(vp).bound);
        reserved.or(self.heap(Class::Fair).first())
    }

    /// An idle LP that should come for a waiting VP.
    fn nudge(&self, env: &Env<impl Vps>) -> Option<LpIndex> {
        if !env.board.has_idle() {
            return None;
        }
        self.leaver(env).filter(|&vp| !is_hot(env, vp)).and_then(|_| env.board.claim_any(self.lp))
    }
}

/// A moment that does not come.
const NEVER: u64 = u64::MAX;

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
