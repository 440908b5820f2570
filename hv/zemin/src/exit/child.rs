//! What a child did to exit. What the hypervisor does not do for it, its parent hears of.

use super::{child_msr, mmio};
use crate::child_frames::ChildFrames;
use crate::cpuid_table;
use crate::hypercalls;
use crate::intercepts;
use crate::lp::Lp;
use crate::mem::PAGE;
use crate::run;
use crate::vp::{State, Vp};
use arch_x86::vcpu::{Event, Exit, IoAccess, LpContext, NestedFault, Reg, SegmentName};
use guest_map::Access;
use hvdef::Gpa;
use hvdef::hypercall::intercept::InterceptType;
use hvdef::message::{
    AccessType, IoPortAccessInfo, IoPortIntercept, MemoryAccessInfo, MemoryIntercept, MessageType,
};
use lapic::{APIC_BASE_ADDRESS, Mode};
use portdb::Write;
use x86emu::access::Operation;
use x86emu::prefix::Opcode;
use zemindef::counters::Counter;

/// Handles one exit of a child.
pub fn handle(
    lp: &'static Lp,
    vp: &'static Vp,
    state: &mut State,
    context: &LpContext,
    exit: Exit,
) {
    match exit {
        Exit::Cpuid => {
            lp.count(Counter::ExitCpuid);
            if vp.partition.intercepts(InterceptType::X64_CPUID) {
                return intercepts::raise_cpuid(lp, vp, state);
            }
            cpuid_table::handle(vp, state);
            super::step::over(vp, state, context, Opcode::CPUID);
        }
        Exit::Interrupt => {
            lp.count(Counter::ExitInterrupt);
            run::take_interrupts(context);
        }
        Exit::InterruptWindow => {
            lp.count(Counter::ExitInterruptWindow);
            state.reevaluate = true;
        }
        Exit::MsrRead => {
            lp.count(Counter::ExitMsrRead);
            let done = child_msr::read(vp, state, state.vcpu.reg(Reg::Rcx) as u32);
            super::finish_read(lp, vp, state, context, done);
        }
        Exit::MsrWrite => {
            lp.count(Counter::ExitMsrWrite);
            let (index, value) = super::msr_operands(state);
            let done = child_msr::write(lp, vp, state, index, value);
            super::finish_msr(lp, vp, state, context, done);
        }
        Exit::Hypercall => {
            lp.count(Counter::ExitHypercall);
            hypercalls::handle(lp, vp, state, context);
        }
        Exit::Hlt => {
            lp.count(Counter::ExitHlt);
            super::halt(vp, state, context);
        }
        Exit::Io(access) => {
            lp.count(Counter::ExitIo);
            on_io(lp, vp, state, access);
        }
        Exit::NestedFault(fault) => {
            lp.count(Counter::ExitNestedFault);
            on_fault(lp, vp, state, context, fault);
        }
        // A child owns no device, so its caches are coherent with whoever reads its memory.
        Exit::CacheFlush => {
            lp.count(Counter::ExitWbinvd);
            super::step::over(vp, state, context, Opcode::CACHE_FLUSH);
        }
        Exit::PerformanceCounter => super::inject(lp, state, Event::PROTECTION),
        Exit::Shutdown | Exit::InvalidState | Exit::TaskSwitch | Exit::Other(_) => {
            shut_down(lp, vp, state);
        }
        other => super::handle_rare(lp, vp, state, context, other),
    }
    if state.ended_level != 0 {
        let vector = core::mem::take(&mut state.ended_level);
        intercepts::raise_eoi(lp, vp, state, vector);
    }
}

/// The VP cannot go on: a triple fault, or what comes to the same.
pub fn shut_down(lp: &Lp, vp: &Vp, state: &mut State) {
    lp.count(Counter::ExitShutdown);
    let header = intercepts::header(vp, state, 0, AccessType::READ);
    intercepts::raise(lp, vp, state, MessageType::UNRECOVERABLE_EXCEPTION, &header);
}

/// Rings the doorbell that a write rings, if there is one and the instruction is understood. The VP runs on.
fn rings_doorbell(lp: &Lp, vp: &Vp, state: &mut State, fault: NestedFault) -> bool {
    if vp.partition.port_book.connections.lock().doorbells().is_empty()
        || !mmio::is_by_instruction(state, fault)
    {
        return false;
    }
    let Ok(access) = mmio::decode(vp.partition, &state.vcpu) else { return false };
    let (Operation::Store(_), Some(value)) = (access.operation, access.stored(state.vcpu.regs()))
    else {
        return false;
    };
    let write = Write { gpa: Gpa(fault.gpa), bytes: access.size, value };
    let target =
        vp.partition.port_book.connections.lock().doorbells().find(write).map(|bell| bell.target);
    let Some(target) = target else { return false };
    let next = state.vcpu.rip().wrapping_add(u64::from(access.length));
    state.vcpu.set_rip(next);
    crate::ring::post(lp, target.port.into_bits());
    true
}

/// Port I/O always is the parent's.
fn on_io(lp: &Lp, vp: &Vp, state: &mut State, access: IoAccess) {
    let length = access.next_rip.wrapping_sub(state.vcpu.rip()).min(15) as u8;
    let kind = if access.input { AccessType::READ } else { AccessType::WRITE };
    let (instruction_byte_count, instruction_bytes) = mmio::instruction(vp.partition, &state.vcpu);
    let reg = |reg| state.vcpu.reg(reg);
    let payload = IoPortIntercept {
        header: intercepts::header(vp, state, length, kind),
        port: access.port,
        access_info: IoPortAccessInfo::new()
            .with_size(access.size)
            .with_is_string(access.string)
            .with_is_rep(access.repeat),
        instruction_byte_count,
        reserved: 0,
        rax: reg(Reg::Rax),
        instruction_bytes,
        ds: intercepts::segment(state.vcpu.segment(SegmentName::Ds)),
        es: intercepts::segment(state.vcpu.segment(SegmentName::Es)),
        rcx: reg(Reg::Rcx),
        rsi: reg(Reg::Rsi),
        rdi: reg(Reg::Rdi),
    };
    intercepts::raise(lp, vp, state, MessageType::X64_IO_PORT_INTERCEPT, &payload);
}

/// An access that the child's tables do not allow.
fn on_fault(
    lp: &'static Lp,
    vp: &'static Vp,
    state: &mut State,
    context: &LpContext,
    fault: NestedFault,
) {
    let is_apic = fault.gpa & !(PAGE - 1) == APIC_BASE_ADDRESS && state.apic.mode() == Mode::XApic;
    if is_apic && !fault.execute {
        return mmio::handle(lp, vp, state, context, fault);
    }
    let access = match fault {
        NestedFault { execute: true, .. } => Access::Execute,
        NestedFault { write: true, .. } => Access::Write,
        _ => Access::Read,
    };
    let Some(map) = vp.partition.map() else { return };
    let kind = match map.translate(&ChildFrames(vp.partition), Gpa(fault.gpa), access) {
        // Mapped meanwhile, or allowed more: what this LP remembers is older.
        Ok(_) => return state.flush_translations(),
        Err(_) if access == Access::Write && rings_doorbell(lp, vp, state, fault) => return,
        Err(fault) => fault.message(),
    };
    let (instruction_byte_count, instruction_bytes) = mmio::instruction(vp.partition, &state.vcpu);
    let bytes = instruction_bytes.get(..usize::from(instruction_byte_count)).unwrap_or_default();
    let gva = mmio::linear_address(vp.partition, state, fault, bytes);
    let payload = MemoryIntercept {
        header: intercepts::header(vp, state, 0, access.access_type()),
        cache_type: 6,
        instruction_byte_count,
        access_info: MemoryAccessInfo::new()
            .with_gva_valid(gva.is_some())
            .with_gva_gpa_valid(gva.is_some()),
        tpr_priority: state.apic.tpr(),
        reserved: 0,
        gva: gva.unwrap_or(0),
        gpa: Gpa(fault.gpa),
        instruction_bytes,
    };
    intercepts::raise(lp, vp, state, kind, &payload);
}

/// Sends an interrupt message that the parent asserts.
pub fn deliver(vp: &Vp, mode: lapic::DeliveryMode, vector: u8, level: bool) {
    match mode {
        lapic::DeliveryMode::Fixed | lapic::DeliveryMode::LowestPriority => {
            vp.post_interrupt(vector, level)
        }
        other => vp.deliver(other, vector),
    }
}
