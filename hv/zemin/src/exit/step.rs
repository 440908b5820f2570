//! Stepping over instructions that the hypervisor carried out.

use super::mmio;
use crate::lp::Lp;
use crate::mem::frames::PoolFrames;
use crate::mem::phys;
use crate::partition::Partition;
use crate::vp::{State, Vp};
use arch_x86::vcpu::{Event, LpContext, SegmentName, SystemReg};
use x86emu::prefix::{self, Opcode, Prefixes};
use x86emu::walk;

/// CS attributes: 64-bit code.
const LONG: u16 = 1 << 13;

/// Steps over `opcode` and its prefixes.
#[inline(always)]
pub fn over(vp: &Vp, state: &mut State, context: &LpContext, opcode: Opcode) {
    let skipped = if context.knows_next_instruction() || stands_alone(state, opcode) {
        0
    } else {
        prefixes(vp, state).length
    };
    state.vcpu.skip_instruction(context, opcode.length() as u64 + u64::from(skipped));
}

/// Whether the instruction that exited is known to have no prefix. Of 64-bit code only, whose linear addresses are its
/// instruction pointers, and which always has tables.
#[inline]
fn stands_alone(state: &State, opcode: Opcode) -> bool {
    state.vcpu.is_long_mode_code()
        && state.code.hold(state.vcpu.system(SystemReg::Cr3), state.vcpu.rip(), opcode)
}

/// The prefixes of the instruction that exited.
#[cold]
fn prefixes(vp: &Vp, state: &mut State) -> Prefixes {
    let long = state.vcpu.segment(SegmentName::Cs).attributes & LONG != 0;
    if let Some((bytes, count)) = first_bytes(vp.partition, state, long) {
        let found = prefix::scan(bytes.get(..count).unwrap_or_default(), long);
        if usize::from(found.length) < count {
            return found;
        }
    }
    let (len, bytes) = mmio::instruction(vp.partition, &state.vcpu);
    prefix::scan(bytes.get(..usize::from(len)).unwrap_or_default(), long)
}

/// The first bytes of the instruction, and how many: those up to the next multiple of 8. Most exits are at an opcode
/// without prefixes, and one look at memory tells. Where the code is is noted for the next time.
fn first_bytes(partition: &Partition, state: &mut State, long: bool) -> Option<([u8; 8], usize)> {
    let base = if long { 0 } else { state.vcpu.segment(SegmentName::Cs).base };
    let read = |gpa: u64, size: usize| {
        let word = phys::read_word(address(partition, gpa & !7)?)?;
        Some(if size == 8 { word } else { word >> (8 * (gpa & 4)) & 0xFFFF_FFFF })
    };
    let paging = mmio::paging(&state.vcpu);
    let linear = base.wrapping_add(state.vcpu.rip());
    let gpa = walk::translate(paging, linear, read).ok()?;
    let address = address(partition, gpa & !7)?;
    if long {
        state.code.note(paging.cr3, linear, address);
    }
    let word = phys::read_word(address)?;
    let skipped = gpa % 8;
    Some(((word >> (8 * skipped)).to_le_bytes(), 8 - skipped as usize))
}

/// The system address of guest memory. For the parent, whose addresses are the machine's, its tables are not asked: the
/// processor has just gone the same way.
fn address(partition: &Partition, gpa: u64) -> Option<u64> {
    if partition.is_root {
        return Some(gpa);
    }
    Some(partition.slat()?.translate(&PoolFrames, gpa)?.address)
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
    over(vp, state, context, Opcode::MOV_TO_CONTROL);
}
