//! Stepping over instructions that the hypervisor carried out.

use super::mmio;
use crate::lp::Lp;
use crate::mem::frames::PoolFrames;
use crate::mem::phys;
use crate::partition::Partition;
use crate::vp::{State, Vp};
use arch_x86::vcpu::{Event, LpContext, SegmentName, Vcpu};
use x86emu::prefix::{self, Prefixes};
use x86emu::walk;

/// CS attributes: 64-bit code.
const LONG: u16 = 1 << 13;

/// Steps over an instruction of `length` bytes and its prefixes.
#[inline]
pub fn over(vp: &Vp, state: &mut State, context: &LpContext, length: u64) {
    let prefixes = if context.knows_next_instruction() { 0 } else { prefixes(vp, state).length };
    state.vcpu.skip_instruction(context, length + u64::from(prefixes));
}

/// The prefixes of the instruction that exited.
fn prefixes(vp: &Vp, state: &State) -> Prefixes {
    let long = state.vcpu.segment(SegmentName::Cs).attributes & LONG != 0;
    if let Some((bytes, count)) = first_bytes(vp.partition, &state.vcpu, long) {
        let found = prefix::scan(bytes.get(..count).unwrap_or_default(), long);
        if usize::from(found.length) < count {
            return found;
        }
    }
    let (len, bytes) = mmio::instruction(vp.partition, &state.vcpu);
    prefix::scan(bytes.get(..usize::from(len)).unwrap_or_default(), long)
}

/// The first bytes of the instruction, and how many: those up to the next multiple of 8. Most exits are at an opcode without
/// prefixes, and one look at memory tells.
fn first_bytes(partition: &Partition, vcpu: &Vcpu, long: bool) -> Option<([u8; 8], usize)> {
    let base = if long { 0 } else { vcpu.segment(SegmentName::Cs).base };
    let read = |gpa: u64, size: usize| {
        let word = word(partition, gpa & !7)?;
        Some(if size == 8 { word } else { word >> (8 * (gpa & 4)) & 0xFFFF_FFFF })
    };
    let gpa = walk::translate(mmio::paging(vcpu), base.wrapping_add(vcpu.rip()), read).ok()?;
    let word = word(partition, gpa & !7)?;
    let skipped = gpa % 8;
    Some(((word >> (8 * skipped)).to_le_bytes(), 8 - skipped as usize))
}

/// Eight bytes of guest memory. For the parent, whose addresses are the machine's, its tables are not asked: the processor
/// has just gone the same way.
fn word(partition: &Partition, gpa: u64) -> Option<u64> {
    if partition.is_root {
        return phys::read_word(gpa);
    }
    phys::read_word(partition.slat()?.translate(&PoolFrames, gpa)?.address)
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
