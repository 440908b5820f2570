//! The processors: a thread for each VP, and what it does when its VP stops.
//!
//! ```text
//!  run ─▶ Exit::IoPort ────── port ────────────────────────────╮
//!         Exit::Memory ────── emulator ── RAM, devices ────────┤
//!         Exit::ApicEoi ───── IOAPIC ──────────────────────────┼─▶ run
//!         Exit::Hypercall ─── VMBus ───────────────────────────┤
//!         Exit::Interrupted ─ has the run ended? ──────────────╯
//!         triple fault, errors ─▶ Control
//! ```
//!
//! HLT and waiting for a start-up IPI are the hypervisor's business: an idle VP's thread sleeps in the driver.

mod handle;
mod hypercall;
mod threads;

pub use threads::VpThreads;

use crate::control::Outcome;
use crate::machine::Machine;
use vid::Vp;

/// Runs a VP until the run of its VM ends.
pub fn run(mut vp: Box<dyn Vp>, machine: &Machine) {
    while !machine.control().has_ended() {
        let step = vp.run().map_err(handle::Stop::from);
        let step = step.and_then(|exit| handle::exit(vp.as_ref(), machine, exit));
        if let Err(stop) = step {
            let outcome = stop.into_outcome(vp.as_ref());
            if let Outcome::Crash(what) | Outcome::Failure(what) = &outcome {
                tracing::error!(vp = vp.index().0, "{what}");
            }
            machine.control().end(outcome);
        }
    }
}

#[cfg(test)]
mod tests;
