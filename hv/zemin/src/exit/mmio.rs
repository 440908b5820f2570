//! The local APIC's register page, for a parent in xAPIC mode.

use super::apic;
use crate::lp::Lp;
use crate::mem::PAGE;
use crate::partition::Partition;
use crate::vp::{State, Vp};
use arch_x86::cpu;
use arch_x86::vcpu::{LpContext, NestedFault, SegmentName, SystemReg, Vcpu};
use x86emu::access::{self, Access, CodeSize, NotUnderstood};
use x86emu::place::DataSegment;
use x86emu::walk::{self, Paging};
use zemindef::counters::Counter;

/// Longest instruction.
const INSTRUCTION_MAX: usize = 15;
/// CS attributes: long, default operand size.
const LONG: u16 = 1 << 13;
const DEFAULT_32: u16 = 1 << 14;

/// Handles an access to the page.
pub fn handle(
    lp: &'static Lp,
    vp: &'static Vp,
    state: &mut State,
    context: &LpContext,
    fault: NestedFault,
) {
    lp.count(Counter::ExitApicAccess);
    let decoded = if is_by_instruction(state, fault) {
        decode(vp.partition, &state.vcpu)
    } else {
        Err(NotUnderstood)
    };
    match decoded {
        Ok(access) => {
            state.settle_skipped_eoi();
            perform(lp, vp, state, (fault.gpa % PAGE) as u32, access);
            // The processor knows no next instruction for a fault, so the length is the decoder's.
            state.vcpu.skip_instruction(context, u64::from(access.length));
        }
        Err(NotUnderstood) => {
            super::memory::tell(
                vp.partition,
                "cannot emulate the access to the APIC by",
                state.vcpu.rip(),
            );
            super::inject_protection(lp, vp, state);
        }
    }
}

/// Whether an instruction made the access, rather than the processor to deliver an event or to walk the guest's tables.
pub fn is_by_instruction(state: &State, fault: NestedFault) -> bool {
    !fault.table_walk && !state.vcpu.is_delivery_cut_short()
}

fn perform(lp: &'static Lp, vp: &'static Vp, state: &mut State, offset: u32, access: Access) {
    let now = cpu::rdtsc();
    if matches!(access.operation, access::Operation::Load { .. } | access::Operation::Exchange(_)) {
        let written = access.stored(state.vcpu.regs());
        let register = state.apic.read_mmio(offset & !0xF, now);
        // Only the first four bytes of each sixteen exist; narrower reads see part of them.
        let value = u64::from(register) >> (8 * (offset & 3));
        access.loaded(state.vcpu.regs(), if offset & 0xC == 0 { value } else { 0 });
        state.reevaluate = true;
        if let Some(value) = written {
            write(lp, vp, state, offset, value);
        }
    } else if let Some(value) = access.stored(state.vcpu.regs()) {
        write(lp, vp, state, offset, value);
    }
}

fn write(lp: &'static Lp, vp: &'static Vp, state: &mut State, offset: u32, value: u64) {
    if offset & 0xF == 0 {
        let effect = state.apic.write_mmio(offset, value as u32, cpu::rdtsc());
        apic::apply(lp, vp, state, effect);
    }
}

/// Finds and decodes the instruction at the guest's instruction pointer.
pub fn decode(partition: &Partition, vcpu: &Vcpu) -> Result<Access, NotUnderstood> {
    let (len, bytes) = instruction(partition, vcpu);
    access::decode(bytes.get(..usize::from(len)).unwrap_or_default(), code_size(vcpu))
}

fn code_size(vcpu: &Vcpu) -> CodeSize {
    match vcpu.segment(SegmentName::Cs).attributes {
        attributes if attributes & LONG != 0 => CodeSize::Bits64,
        attributes if attributes & DEFAULT_32 != 0 => CodeSize::Bits32,
        _ => CodeSize::Bits16,
    }
}

/// Linear address of the next instruction.
fn instruction_pointer(vcpu: &Vcpu) -> u64 {
    let cs = vcpu.segment(SegmentName::Cs);
    if cs.attributes & LONG != 0 { vcpu.rip() } else { cs.base.wrapping_add(vcpu.rip()) }
}

/// The bytes at the guest's instruction pointer, as far as they can be read, and how many.
pub fn instruction(partition: &Partition, vcpu: &Vcpu) -> (u8, [u8; 16]) {
    let mut bytes = [0; INSTRUCTION_MAX];
    let len = fetch(partition, vcpu, instruction_pointer(vcpu), &mut bytes);
    let mut padded = [0; 16];
    for (to, from) in padded.iter_mut().zip(bytes) {
        *to = from;
    }
    (len as u8, padded)
}

/// The linear address of the access that `bytes`, the guest's next instruction, could not make. `None` unless that is sure: the
/// instruction is understood, and the guest's tables lead from there to where the access went.
pub fn linear_address(
    partition: &Partition,
    state: &mut State,
    fault: NestedFault,
    bytes: &[u8],
) -> Option<u64> {
    if !is_by_instruction(state, fault) {
        return None;
    }
    let linear = if fault.execute {
        instruction_pointer(&state.vcpu)
    } else {
        operand_address(state, bytes)?
    };
    let read = |gpa: u64, size: usize| partition.read_entry(gpa, size);
    let gpa = walk::translate(paging(&state.vcpu), linear, read).ok()?;
    (gpa == fault.gpa).then_some(linear)
}

/// Linear address of the operand in memory of an instruction.
fn operand_address(state: &mut State, bytes: &[u8]) -> Option<u64> {
    let code = code_size(&state.vcpu);
    let access = access::decode(bytes, code).ok()?;
    let next = state.vcpu.rip().wrapping_add(access.length.into());
    let offset = access.place.offset(state.vcpu.regs(), next);
    let base = |name| state.vcpu.segment(name).base;
    let linear = match access.place.segment {
        DataSegment::Fs => base(SegmentName::Fs).wrapping_add(offset),
        DataSegment::Gs => base(SegmentName::Gs).wrapping_add(offset),
        DataSegment::Data if code == CodeSize::Bits64 => offset,
        DataSegment::Data => base(SegmentName::Ds).wrapping_add(offset),
    };
    Some(if code == CodeSize::Bits64 { linear } else { linear & 0xFFFF_FFFF })
}

/// How the guest translates addresses now.
pub fn paging(vcpu: &Vcpu) -> Paging {
    Paging {
        cr0: vcpu.system(SystemReg::Cr0),
        cr3: vcpu.system(SystemReg::Cr3),
        cr4: vcpu.system(SystemReg::Cr4),
        efer: vcpu.system(SystemReg::Efer),
    }
}

/// Reads instruction bytes at a linear address; how many there are before something is not mapped.
fn fetch(
    partition: &Partition,
    vcpu: &Vcpu,
    linear: u64,
    bytes: &mut [u8; INSTRUCTION_MAX],
) -> usize {
    let paging = paging(vcpu);
    let read = |gpa: u64, size: usize| partition.read_entry(gpa, size);
    let in_first_page = INSTRUCTION_MAX.min((PAGE - linear % PAGE) as usize);
    let (first, second) = bytes.split_at_mut(in_first_page);
    let mut fetched = 0;
    for part in [first, second].into_iter().filter(|part| !part.is_empty()) {
        let gpa = walk::translate(paging, linear.wrapping_add(fetched as u64), read);
        if gpa.ok().and_then(|gpa| partition.read(gpa, part).ok()).is_none() {
            break;
        }
        fetched += part.len();
    }
    fetched
}
