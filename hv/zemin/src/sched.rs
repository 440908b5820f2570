//! The scheduler's seat in the hypervisor: `vp_sched` decides, this module names VPs and queues to it, tells the time, and
//! carries its wishes to other LPs.
//!
//! The parent's VP *n* is bound to LP *n*, whose run loop alone makes it runnable, from what is posted to it. A child's VP
//! is made runnable by whoever has something for it, on any LP, and may move to another LP each time it waits.

use crate::intercepts;
use crate::lp::{self, Lp};
use crate::time::CLOCKS;
use crate::vp::Vp;
use arch_x86::cpu;
use core::sync::atomic::Ordering;
use hvdef::LpIndex;
use vp_sched::{
    Board, Decision, Entity, Env, LpNotice, Queues, Removed, RunQueue, Share, ShareRef, Shared,
    VpRef, Vps, Woken, ops,
};
use zemindef::counters::Counter;

static NOTICES: [LpNotice; lp::MAX_LPS] = [const { LpNotice::new() }; lp::MAX_LPS];
static SHARED: Shared = Shared::new();
static BOARD: Board<'static> = Board::new(&NOTICES, &SHARED);

/// The first [`VpRef`] of the parent's VPs; those of children are below. All are places among all VPs.
const PARENTS: u32 = lp::MAX_CHILD_VPS as u32;

/// Finds VPs, shares and run queues.
struct Machine;

impl Vps for Machine {
    #[inline]
    fn vp(&self, vp: VpRef) -> &Entity {
        &find(vp).entity
    }
    #[inline]
    fn share(&self, share: ShareRef) -> &Share {
        // A share is named by any VP of its partition.
        &find(VpRef(share.0)).partition.share
    }
    #[inline]
    fn both(&self, vp: VpRef) -> (&Entity, &Share) {
        let vp = find(vp);
        (&vp.entity, &vp.partition.share)
    }
}

impl Queues for Machine {
    fn with<R>(&self, lp: LpIndex, f: impl FnOnce(&mut RunQueue) -> R) -> R {
        f(&mut lp::get(lp.0).expect("VPs are at home on LPs that exist").queue.lock())
    }
}

/// The VP of that name. A VP leaves the scheduler before its number is given up.
#[inline]
fn find(vp: VpRef) -> &'static Vp {
    intercepts::by_place(vp.0).expect("only VPs that exist are in queues")
}

/// The scheduler's name of a VP.
#[inline]
fn name(vp: &Vp) -> VpRef {
    VpRef(intercepts::place(vp))
}

/// There are `count` LPs now.
pub fn on_new_lp(count: u32) {
    BOARD.limit(count);
}

/// What the scheduler knows of a new VP at home on `lp`: `number` is a child's VP's, `None` for the parent's on `lp`.
pub fn entity(lp: &Lp, number: Option<u32>) -> Entity {
    let name = number.unwrap_or(PARENTS + lp.index);
    Entity::new(ShareRef(name), LpIndex(lp.index), number.is_none())
}

/// The present in the scheduler's nanoseconds.
#[inline]
fn env() -> Env<'static, Machine> {
    env_at(cpu::rdtsc())
}

/// The same at a time-stamp counter value.
#[inline]
fn env_at(tsc: u64) -> Env<'static, Machine> {
    Env { vps: &Machine, board: &BOARD, now: CLOCKS.get().ns.at(tsc) }
}

/// Whom an LP runs now.
#[derive(Clone, Copy)]
pub enum Next {
    /// The parent's VP of the LP.
    Parent,
    /// A child's.
    Child(&'static Vp),
    /// Nobody.
    Idle,
}

/// Decides what the calling LP does now, and until when: [`Lp::turn_end`].
pub fn decide(lp: &Lp) -> Next {
    lp.reschedule.store(false, Ordering::Relaxed);
    let tsc = cpu::rdtsc();
    let env = env_at(tsc);
    let decision = ops::reschedule(&Machine, &env, LpIndex(lp.index));
    let end = |until: u64| CLOCKS.get().ns.tsc_in(tsc, until.saturating_sub(env.now));
    lp.turn_end.set(decision.until.map_or(u64::MAX, end));
    account(lp, &decision);
    if let Some(other) = decision.nudge.and_then(|other| lp::get(other.0)) {
        other.ask_to_reschedule();
    }
    match decision.run {
        None => Next::Idle,
        Some(vp) if vp.0 >= PARENTS => Next::Parent,
        Some(vp) => Next::Child(find(vp)),
    }
}

fn account(lp: &Lp, decision: &Decision) {
    if decision.preempted {
        lp.count(Counter::Preemptions);
    }
    if decision.fetched {
        lp.count(Counter::Steals);
    }
}

/// A VP has something to do, or to take in.
pub fn wake(vp: &Vp) {
    match ops::wake(&Machine, &env(), name(vp)) {
        Woken::Waits => {}
        Woken::Preempt(lp) => {
            if let Some(lp) = lp::get(lp.0) {
                lp.ask_to_reschedule();
            }
        }
        Woken::Running(lp) => {
            if let Some(lp) = lp::get(lp.0) {
                lp.kick();
            }
        }
    }
}

/// The parent's VP of the calling LP, which does not run, has something to do or to take in. For the LP's run loop, which
/// sees the wish to decide anew before it runs anything.
pub fn wake_own(lp: &Lp, vp: &Vp) {
    if let Woken::Preempt(_) = ops::wake(&Machine, &env(), name(vp)) {
        lp.reschedule.store(true, Ordering::Relaxed);
    }
}

/// The VP that the calling LP ran has nothing to do before `deadline`, a time-stamp counter value (`u64::MAX`: for ever).
/// `false` if something came in the meantime.
pub fn block(lp: &Lp, deadline: u64) -> bool {
    let at = (deadline != u64::MAX).then(|| CLOCKS.get().ns.at(deadline).saturating_add(1));
    ops::block(&Machine, &env(), LpIndex(lp.index), at)
}

/// Takes a VP out of the scheduler. The caller sees to it that nobody wakes it any more, and that an LP which runs it
/// stops.
pub fn remove(vp: &Vp) {
    while let Removed::Running(lp) = ops::remove(&Machine, &env(), name(vp)) {
        if let Some(lp) = lp::get(lp.0) {
            lp.kick();
        }
        cpu::pause();
    }
}

/// For how long a VP has run, in 100 ns.
pub fn run_time(vp: &Vp) -> u64 {
    ops::run_time(&Machine, &env(), name(vp)) / 100
}
