//! The run loop: what every LP does, for ever.
//!
//! ```text
//!   ┌─> absorb what was posted ─> fire due timers ─> VP runnable? ──no──> wait for an interrupt ─┐
//!   │                                                   │ yes                                   │
//!   │                                   deliver a pending interrupt                             │
//!   │                                                   │                                       │
//!   └── handle the exit <────────────────────────── run the guest                              │
//!   └───────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! An exit that needs no attention (CPUID, most MSRs) goes straight from its handler back into the guest.
#![expect(unsafe_code, reason = "owns the VP of this LP; opens interrupt windows")]

use crate::exit;
use crate::hypercalls;
use crate::interrupts;
use crate::lp::{self, Lp};
use crate::time;
use crate::vp::{Activity, Owned, State, Vp};
use arch_x86::cpu;
use arch_x86::vcpu::LpContext;
use core::sync::atomic::Ordering;
use zemindef::counters::Counter;

/// Longest turn of a child's VP while others wait, in 100 ns.
const SLICE: u64 = 50_000;

/// Runs the calling LP's VPs: the parent's when it has something to do, else the children's in turn.
pub fn run() -> ! {
    let lp = lp::current();
    let root = lp.root_vp.get().expect("boot gives every LP its VP");
    // SAFETY: this is the LP's run loop, and it never returns.
    let state = unsafe { root.state() };
    let mut context = lp.context();
    lp.attention.store(true, Ordering::Relaxed);
    loop {
        attend(lp, root, state);
        if state.activity != Activity::Running && !wake(lp, state) {
            match next_child(lp) {
                Some((vp, child)) => run_child(lp, root, state, vp, child, &mut context),
                None => idle(lp, &mut context),
            }
            continue;
        }
        if state.reevaluate {
            state.deliver_pending(lp);
        }
        enter(lp, root, state, &mut context);
    }
}

/// Takes in what happened meanwhile: posted interrupts, requests, timers.
#[inline]
fn attend(lp: &Lp, root: &Vp, state: &mut State) {
    if lp.attention.load(Ordering::Relaxed) {
        lp.attention.swap(false, Ordering::AcqRel);
        root.absorb(state);
        expire_timers(lp, state);
        state.pump_root_queue(lp);
        attend_children(lp);
    }
}

/// The same for children's VPs that are not running.
fn attend_children(lp: &Lp) {
    let children = lp.children.lock();
    for vp in children.iter() {
        if let Some(mut state) = vp.try_own() {
            vp.absorb(&mut state);
            expire_timers(lp, &mut state);
        }
    }
}

/// The next child's VP that can run, taken.
fn next_child(lp: &Lp) -> Option<(&'static Vp, Owned<'static>)> {
    let mut children = lp.children.lock();
    let mut turn = children.in_turn();
    turn.find_map(|vp| {
        let mut state = vp.try_own().filter(|_| !vp.is_wanted_stopped())?;
        let runs = state.activity == Activity::Running || wake(lp, &mut state);
        runs.then_some((vp, state))
    })
}

/// A child's turn on the LP: until the parent has something to do, it stops, or its time is over.
fn run_child(
    lp: &'static Lp,
    root: &'static Vp,
    root_state: &mut State,
    vp: &'static Vp,
    mut state: Owned<'static>,
    context: &mut LpContext,
) {
    lp.count(Counter::WorldSwitches);
    root_state.save_extended();
    state.load_extended();
    let end = time::tsc_at(time::now() + SLICE);
    interrupts::set_timer(lp, end);
    loop {
        if lp.attention.load(Ordering::Relaxed) {
            attend(lp, root, root_state);
            vp.absorb(&mut state);
            expire_timers(lp, &mut state);
            root_state.settle_skipped_eoi();
            if root_state.is_runnable() || cpu::rdtsc() >= end {
                break;
            }
        }
        let stops =
            vp.is_wanted_stopped() || state.activity != Activity::Running && !wake(lp, &mut state);
        if stops || root_state.is_runnable() {
            break;
        }
        if state.reevaluate {
            state.deliver_pending(lp);
        }
        enter(lp, vp, &mut state, context);
    }
    state.save_extended();
    root_state.load_extended();
    // Another look at everything that waits: this VP's own turn may have made some of it ready.
    lp.attention.store(true, Ordering::Relaxed);
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

/// Fires what is due and sets the physical timer for what is next.
fn expire_timers(lp: &Lp, state: &mut State) {
    let now = cpu::rdtsc();
    state.expire_apic_timer(now);
    state.expire_synthetic_timers(now);
    update_timer(lp, state);
    hypercalls::refresh_stats(lp, time::reference_at(now));
}

/// Sets the physical timer to the VP's next deadline.
pub fn update_timer(lp: &Lp, state: &State) {
    let apic = state.apic.timer_deadline().unwrap_or(u64::MAX);
    interrupts::set_timer(lp, apic.min(state.next_synthetic_deadline()));
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
fn idle(lp: &Lp, context: &mut LpContext) {
    if !lp.attention.load(Ordering::Acquire) {
        lp.count(Counter::IdleEntries);
        // SAFETY: the interrupt table is loaded and no lock is held.
        unsafe { context.idle() };
        lp.attention.store(true, Ordering::Relaxed);
    }
}

/// Opens the window in which the interrupt that ended the guest's turn is taken.
pub fn take_interrupts(context: &LpContext) {
    // SAFETY: the interrupt table is loaded and no lock is held.
    unsafe { context.take_interrupts() };
}
