//! What the hypervisor calls. Each function takes at most one queue's lock at a time, through [`Queues`].

use crate::entity::{Env, VpRef, Vps};
use crate::queue::{Decision, RunQueue};
use crate::transfer::{Give, Remove, Wake, Want};
use hvdef::LpIndex;

/// The run queues of all LPs, each under a lock of its own.
pub trait Queues {
    /// Runs `f` on the queue of `lp` with its lock held. `f` takes no other lock.
    fn with<R>(&self, lp: LpIndex, f: impl FnOnce(&mut RunQueue) -> R) -> R;
}

/// What a wake-up leaves to the caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Woken {
    /// Nothing: the VP will run in its turn.
    Waits,
    /// This LP has to call [`reschedule`]: interrupt it, unless it is the caller's own.
    Preempt(LpIndex),
    /// The VP runs on this LP: if what woke it must be seen at once, interrupt it.
    Running(LpIndex),
}

/// What became of a VP that is to run no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Removed {
    /// It is in no queue.
    Out,
    /// It runs on this LP, which has to be interrupted and to call [`stop`]; then try again.
    Running(LpIndex),
}

/// Decides what `lp` does now; for `lp` itself to call, whenever the present decision is over or an interrupt asks for
/// it. The VP that ran is charged and goes back into the queue by itself.
pub fn reschedule(queues: &impl Queues, env: &Env<impl Vps>, lp: LpIndex) -> Decision {
    let at_once = |queue: &mut RunQueue| match queue.want(env) {
        None => Ok(queue.pick(env)),
        Some(want) => Err(want),
    };
    match queues.with(lp, at_once) {
        Ok(decision) => decision,
        Err((from, want)) => fetch(queues, env, lp, from, want),
    }
}

/// Decides after it has asked another LP for a VP.
#[cold]
fn fetch(
    queues: &impl Queues,
    env: &Env<impl Vps>,
    lp: LpIndex,
    from: LpIndex,
    want: Want,
) -> Decision {
    let mut fetched = false;
    match queues.with(from, |queue| queue.give(env, lp, want)) {
        Give::Nothing => {}
        Give::Hot => queues.with(lp, |queue| queue.ask_again(env)),
        Give::Sent(vp) => {
            queues.with(lp, |queue| queue.accept(env, vp, false));
            fetched = true;
        }
    }
    let decision = queues.with(lp, |queue| queue.pick(env));
    Decision { fetched, ..decision }
}

/// Makes a VP runnable, or tells that a runnable one has an interrupt to take. May be called from any LP.
pub fn wake(queues: &impl Queues, env: &Env<impl Vps>, vp: VpRef) -> Woken {
    loop {
        let home = env.vps.vp(vp).home();
        return match queues.with(home, |queue| queue.wake(env, vp)) {
            Wake::Moved => continue,
            Wake::Already | Wake::Queued { preempt: false } => Woken::Waits,
            Wake::Queued { preempt: true } => Woken::Preempt(home),
            Wake::Running => Woken::Running(home),
            Wake::Sent(lp) => {
                // The LP was idle and is claimed: it has to be interrupted in any case.
                queues.with(lp, |queue| queue.accept(env, vp, true));
                Woken::Preempt(lp)
            }
        };
    }
}

/// The VP that runs on `lp` has nothing to do, until `deadline` if there is one: then it is woken. False if it was
/// woken since it began to look: it must look again.
///
/// For `lp` itself to call; true, and [`reschedule`] follows.
#[must_use]
pub fn block(
    queues: &impl Queues,
    env: &Env<impl Vps>,
    lp: LpIndex,
    deadline: Option<u64>,
) -> bool {
    queues.with(lp, |queue| queue.block(env, false, deadline))
}

/// The VP that runs on `lp` has to stop, whatever it has to do. For `lp` itself to call; [`reschedule`] follows.
pub fn stop(queues: &impl Queues, env: &Env<impl Vps>, lp: LpIndex) {
    queues.with(lp, |queue| queue.block(env, true, None));
}

/// Nanoseconds that a VP has run up to now.
pub fn run_time(queues: &impl Queues, env: &Env<impl Vps>, vp: VpRef) -> u64 {
    let entity = env.vps.vp(vp);
    queues.with(entity.home(), |queue| queue.settle(env, vp));
    entity.run_time()
}

/// Makes a VP not runnable.
pub fn remove(queues: &impl Queues, env: &Env<impl Vps>, vp: VpRef) -> Removed {
    loop {
        let home = env.vps.vp(vp).home();
        return match queues.with(home, |queue| queue.remove(env, vp)) {
            Remove::Moved => {
                core::hint::spin_loop();
                continue;
            }
            Remove::Out => Removed::Out,
            Remove::Running => Removed::Running(home),
        };
    }
}
