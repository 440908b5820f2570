//! The virtual APIC's effects on the rest of the machine.

use crate::interrupts;
use crate::lp::Lp;
use crate::run;
use crate::vp::{State, Vp};
use lapic::{DeliveryMode, Destination, Effect, Ipi, Shorthand};
use zemindef::counters::Counter;

/// Carries out what a register write asked for. The caller has settled a skipped EOI before the write.
pub fn apply(lp: &'static Lp, vp: &Vp, state: &mut State, effect: Effect) {
    match effect {
        Effect::None => {}
        Effect::Eoi(done) => {
            lp.count(Counter::VirtualEoi);
            match (done.level, vp.partition.is_root) {
                (true, true) => interrupts::complete(lp, done.vector),
                (true, false) => state.ended_level = done.vector,
                _ => {}
            }
        }
        Effect::Ipi(ipi) => send(lp, vp, state, ipi),
        Effect::SelfIpi(_) => {}
        Effect::TimerChanged | Effect::ModeChanged => run::update_timer(lp, state),
    }
    vp.publish_address(state.apic.address());
    state.vcpu.set_cr8(state.apic.cr8());
    state.reevaluate = true;
}

/// Delivers an inter-processor interrupt to every VP it selects.
fn send(lp: &Lp, vp: &Vp, state: &mut State, ipi: Ipi) {
    lp.count(Counter::IpiVirtual);
    match (ipi.shorthand, ipi.dest) {
        (Shorthand::None, Destination::Physical(id)) => {
            if id == vp.apic_id {
                deliver_to_self(state, ipi);
            } else if let Some(target) = vp.partition.vp_by_apic_id(id) {
                target.deliver(ipi.mode, ipi.vector);
            }
        }
        (Shorthand::ToSelf, _) => deliver_to_self(state, ipi),
        (shorthand, dest) => {
            let others = shorthand != Shorthand::None || dest == Destination::Broadcast;
            for target in vp.partition.vps() {
                let is_self = target.index == vp.index;
                let selected = others || target.address().matches(dest);
                if selected && is_self && shorthand != Shorthand::AllButSelf {
                    deliver_to_self(state, ipi);
                } else if selected && !is_self {
                    target.deliver(ipi.mode, ipi.vector);
                }
                if selected && ipi.mode == DeliveryMode::LowestPriority {
                    break;
                }
            }
        }
    }
}

fn deliver_to_self(state: &mut State, ipi: Ipi) {
    // INIT and startup to oneself are not defined; processors ignore them.
    if !matches!(ipi.mode, DeliveryMode::Init | DeliveryMode::Sipi) {
        let delivery = state.apic.deliver(ipi.mode, ipi.vector, false);
        state.apply(delivery);
    }
}
