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
use crate::vp::{Activity, State, Vp};
use arch_x86::cpu;
use arch_x86::vcpu::LpContext;
use core::sync::atomic::Ordering;
use zemindef::counters::Counter;

/// Runs the calling LP's VP.
pub fn run() -> ! {
    let lp = lp::current();
    let vp = lp.root_vp.get().expect("boot gives every LP its VP");
    // SAFETY: this is the LP's run loop, and it never returns.
    let state = unsafe { vp.state() };
    let mut context = lp.context();
    lp.attention.store(true, Ordering::Relaxed);
    loop {
        if lp.attention.load(Ordering::Relaxed) {
            lp.attention.swap(false, Ordering::AcqRel);
            vp.absorb(state);
            expire_timers(lp, state);
        }
        if state.activity != Activity::Running && !wake(lp, state) {
            idle(lp, &mut context);
            continue;
        }
        if state.reevaluate {
            state.deliver_pending(lp);
        }
        enter(lp, vp, state, &mut context);
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
