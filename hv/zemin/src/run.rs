//! The run loop: what every LP does, for ever.
//!
//! ```text
//!   ┌─> what was posted to the parent's VP ─> who runs now, until when? ──nobody──> wait for an interrupt ─┐
//!   │                                                   │                                                  │
//!   │                  ┌───────────────────────> attention? ── turn over, or nothing to do ──┐             │
//!   │                  │                                │                                     │             │
//!   │                  │                    deliver a pending interrupt                       │             │
//!   │                  │                                │                                     │             │
//!   │                  └─── handle the exit <──── run the guest                               │             │
//!   └─────────────────────────────────────────────────────────────────────────────────────────┴─────────────┘
//! ```
//!
//! An exit that needs no attention (CPUID, most MSRs) goes straight from its handler back into the guest.
#![expect(unsafe_code, reason = "owns the parent's VP of this LP; opens interrupt windows")]

use crate::exit;
use crate::hypercalls;
use crate::interrupts;
use crate::lp::{self, Lp};
use crate::ring;
use crate::sched::{self, Next};
use crate::vp::{Activity, Owned, State, Vp};
use arch_x86::cpu;
use arch_x86::vcpu::LpContext;
use core::sync::atomic::Ordering;
use zemindef::counters::Counter;

/// The parent's VP of an LP, which only that LP's run loop touches.
struct Root {
    vp: &'static Vp,
    state: &'static mut State,
}

/// How a turn of a VP ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The scheduler is to decide anew; the VP could go on.
    Over,
    /// The VP has nothing to do, or is wanted stopped.
    Stops,
}

/// Runs the VPs that the scheduler gives the calling LP.
pub fn run() -> ! {
    let lp = lp::current();
    let vp = lp.root_vp.get().expect("boot gives every LP its VP");
    // SAFETY: this is the LP's run loop, and it never returns.
    let mut root = Root { vp, state: unsafe { vp.state() } };
    let mut context = lp.context();
    // What boot left in the registers is the state that the first VP starts with.
    root.state.on_lp = true;
    lp.attention.store(true, Ordering::Relaxed);
    loop {
        if lp.take_attention() | ring::is_unheard(lp) {
            root.attend(lp);
        }
        match sched::decide(lp) {
            Next::Parent => run_root(lp, &mut root, &mut context),
            Next::Child(vp) => run_child(lp, &mut root, vp, &mut context),
            Next::Idle => idle(lp, &root, &mut context),
        }
    }
}

impl Root {
    /// Takes in what happened while the VP was not running, and tells the scheduler if it has something to do now.
    fn attend(&mut self, lp: &Lp) {
        let now = self.take_in(lp);
        hypercalls::refresh_stats(lp, now);
        self.state.settle_skipped_eoi();
        if self.vp.is_blocked() {
            if wake(lp, self.state) {
                sched::wake_own(lp, self.vp);
            }
        } else if self.state.reevaluate && self.state.has_interrupt() {
            // It waits among the others: an interrupt brings it to the front for a moment.
            sched::wake_own(lp, self.vp);
        }
    }

    /// Posted interrupts, requests, timers, messages. The time-stamp counter's value.
    #[inline]
    fn take_in(&mut self, lp: &Lp) -> u64 {
        let now = take_in(self.vp, self.state);
        self.state.pump_root_queue(lp);
        now
    }
}

/// A turn of the parent's VP.
fn run_root(lp: &'static Lp, root: &mut Root, context: &mut LpContext) {
    if !root.state.on_lp {
        lp.count(Counter::WorldSwitches);
        root.state.load_extended();
    }
    update_timer(lp, root.state);
    loop {
        if lp.take_attention() {
            let now = root.take_in(lp);
            update_timer(lp, root.state);
            hypercalls::refresh_stats(lp, now);
            if lp.is_turn_over(now) {
                return;
            }
        }
        if root.state.activity != Activity::Running && !wake(lp, root.state) {
            // Its timers are this loop's business, also while it is blocked; so is all that is posted to it.
            if sched::block(lp, u64::MAX) {
                return;
            }
            continue;
        }
        if root.state.reevaluate {
            root.state.deliver_pending(lp);
        }
        enter(lp, root.vp, root.state, context);
    }
}

/// A turn of a child's VP.
fn run_child(lp: &'static Lp, root: &mut Root, vp: &'static Vp, context: &mut LpContext) {
    lp.turn_end.set(lp.turn_end.get().min(root.state.next_deadline()));
    loop {
        let mut deadline = u64::MAX;
        // Before the look at who wants it stopped: who comes later sees that the VP is taken.
        let taken = vp.try_own();
        if let (Some(mut state), false) = (taken, vp.is_wanted_stopped()) {
            if root.state.on_lp {
                root.state.save_extended();
            }
            lp.count(Counter::WorldSwitches);
            state.load_extended();
            let end = child_turn(lp, root, vp, &mut state, context);
            state.save_extended();
            if end == End::Over {
                return;
            }
            deadline = if vp.suspended() == 0 { state.next_deadline() } else { u64::MAX };
        } else if !vp.is_wanted_stopped() {
            // The LP it comes from has not quite let go of it.
            cpu::pause();
            continue;
        }
        // The VP's state is free here: whoever wakes it from now on can have it.
        if sched::block(lp, deadline) {
            return;
        }
    }
}

fn child_turn(
    lp: &'static Lp,
    root: &mut Root,
    vp: &'static Vp,
    state: &mut Owned<'static>,
    context: &mut LpContext,
) -> End {
    state.follow_clock(&vp.partition.clock);
    take_in(vp, state);
    update_timer(lp, state);
    loop {
        if lp.take_attention() {
            root.attend(lp);
            if lp.is_turn_over(cpu::rdtsc()) {
                // What was posted to the VP waits with it.
                return End::Over;
            }
            state.follow_clock(&vp.partition.clock);
            take_in(vp, state);
            update_timer(lp, state);
        }
        if vp.is_wanted_stopped() || state.activity != Activity::Running && !wake(lp, state) {
            return End::Stops;
        }
        if state.reevaluate {
            state.deliver_pending(lp);
        }
        enter(lp, vp, state, context);
    }
}

/// One turn in the guest and what it exited for.
#[inline]
fn enter(lp: &'static Lp, vp: &'static Vp, state: &mut State, context: &mut LpContext) {
    let start = cpu::rdtsc();
    // SAFETY: the context is this LP's; the partition's tables never hold the hypervisor's memory.
    let exit = unsafe { state.vcpu.run(context) };
    // Only this LP writes it.
    let ran = lp.guest_ticks.load(Ordering::Relaxed).wrapping_add(cpu::rdtsc().wrapping_sub(start));
    lp.guest_ticks.store(ran, Ordering::Relaxed);
    exit::handle(lp, vp, state, context, exit);
}

/// Takes in what was posted to a VP and fires its timers that are due. The time-stamp counter's value.
fn take_in(vp: &Vp, state: &mut State) -> u64 {
    vp.absorb(state);
    let now = cpu::rdtsc();
    state.expire_apic_timer(now);
    state.expire_synthetic_timers(now);
    now
}

/// Sets the physical timer to what comes first: a timer of the VP that runs, or the end of its turn.
///
/// For a VP that does not run this has time until it does.
pub fn update_timer(lp: &Lp, state: &State) {
    if state.on_lp {
        interrupts::set_guest_timer(lp, lp.turn_end.get().min(state.next_deadline()));
    }
}

/// Resumes a halted VP that has a reason to. Whether it runs now.
fn wake(lp: &Lp, state: &mut State) -> bool {
    state.settle_skipped_eoi();
    let wakes = state.is_runnable();
    if wakes {
        state.activity = Activity::Running;
        state.reevaluate = true;
        lp.count(Counter::WakeUps);
    }
    wakes
}

/// Waits for an interrupt, unless something arrived meanwhile.
fn idle(lp: &Lp, root: &Root, context: &mut LpContext) {
    interrupts::set_timer(lp, lp.turn_end.get().min(root.state.next_deadline()));
    if !lp.attention.load(Ordering::Acquire) {
        lp.count(Counter::IdleEntries);
        lp.begin_idle();
        // SAFETY: the interrupt table is loaded and no lock is held.
        unsafe { context.idle() };
        lp.end_idle();
        lp.attention.store(true, Ordering::Relaxed);
    }
}

/// Waits until every other LP has been in its run loop: a VP that cannot be found any more is in nobody's hands then.
///
/// For a hypercall of the parent's VP `own` that holds no lock and no other VP that can be found. What others ask of
/// `own` meanwhile is served: they may be waiting for it.
pub fn quiesce(lp: &Lp, own: &Vp, state: &mut State) {
    for other in lp::all().filter(|other| other.index != lp.index) {
        let seen = other.passes();
        other.kick();
        while other.passes() == seen {
            own.absorb(state);
            lp.pass();
            cpu::pause();
        }
    }
}

/// Opens the window in which the interrupt that ended the guest's turn is taken.
pub fn take_interrupts(context: &LpContext) {
    // SAFETY: the interrupt table is loaded and no lock is held.
    unsafe { context.take_interrupts() };
}
