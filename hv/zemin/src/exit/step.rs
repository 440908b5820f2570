//! Stepping over instructions that the hypervisor carried out.

use super::mmio;
use crate::lp::Lp;
use crate::vp::{State, Vp};
use arch_x86::vcpu::{Event, LpContext, SegmentName};
use x86emu::prefix::{self, Prefixes};

/// CS attributes: 64-bit code.
const LONG: u16 = 1 << 13;

/// Steps over an instruction of `length` bytes and its prefixes.
pub fn over(vp: &Vp, state: &mut State, context: &LpContext, length: u64) {
    let prefixes = if context.knows_next_instruction() { 0 } else { prefixes(vp, state).length };
    state.vcpu.skip_instruction(context, length + u64::from(prefixes));
}

/// The prefixes of the instruction that exited.
fn prefixes(vp: &Vp, state: &State) -> Prefixes {
    let (len, bytes) = mmio::instruction(vp.partition, &state.vcpu);
    let long = state.vcpu.segment(SegmentName::Cs).attributes & LONG != 0;
    prefix::scan(bytes.get(..usize::from(len)).unwrap_or_default(), long)
}

/// A write of CR8 while an interrupt waits for the task priority to sink, or for anything else.
pub fn write_priority(lp: &Lp, vp: &Vp, state: &mut State, context: &LpContext) {
    let (len, bytes) = mmio::instruction(vp.partition, &state.vcpu);
    let long = state.vcpu.segment(SegmentName::Cs).attributes & LONG != 0;
    let bytes = bytes.get(..usize::from(len)).unwrap_or_default();
    // The guest changed the code behind its own back: it executes it again.
    let Some(register) = prefix::control_register_source(bytes, long) else { return };
    let value = state.vcpu.regs().get(usize::from(register)).copied().unwrap_or(0);
    if value > 0xF {
        return super::inject(lp, state, Event::PROTECTION);
    }
    state.vcpu.set_cr8(value as u8);
    state.reevaluate = true;
    over(vp, state, context, 3);
}
