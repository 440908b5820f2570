//! What a guest did to exit, and what follows.

pub mod apic;
mod child;
mod child_cpuid;
pub mod child_msr;
pub mod code;
mod crash;
pub use child::deliver as deliver_to_child;
pub use child_cpuid::{ASSIGNABLE as ASSIGNABLE_FEATURES, privileges as child_privileges};
pub use crash::CAPABILITIES as CRASH_CAPABILITIES;
pub use mmio::paging;
pub mod cpuid;
pub mod memory;
mod mmio;
pub mod msr;
mod overlay;
pub mod step;
pub mod synic;

use crate::lp::Lp;
use crate::run;
use crate::vp::{Activity, State, Vp};
use crate::{hypercalls, log::Level, log::log};
use arch_x86::cpu::CR4_OSXSAVE;
use arch_x86::vcpu::{Event, Exit, LpContext, Reg, SystemReg};
use x86emu::prefix::Opcode;
use zemindef::counters::Counter;

/// Handles one exit.
#[inline(always)]
pub fn handle(
    lp: &'static Lp,
    vp: &'static Vp,
    state: &mut State,
    context: &LpContext,
    exit: Exit,
) {
    lp.count(Counter::Exits);
    if !vp.partition.is_root {
        return child::handle(lp, vp, state, context, exit);
    }
    match exit {
        Exit::Cpuid => {
            lp.count(Counter::ExitCpuid);
            cpuid::handle(vp, state);
            step::over(vp, state, context, Opcode::CPUID);
        }
        Exit::Interrupt => {
            lp.count(Counter::ExitInterrupt);
            run::take_interrupts(context);
        }
        Exit::MsrWrite => {
            lp.count(Counter::ExitMsrWrite);
            let (index, value) = msr_operands(state);
            let done = msr::write(lp, vp, state, index, value);
            finish_msr(lp, vp, state, context, done);
        }
        Exit::MsrRead => {
            lp.count(Counter::ExitMsrRead);
            let done = msr::read(vp, state, state.vcpu.reg(Reg::Rcx) as u32);
            finish_read(lp, vp, state, context, done);
        }
        Exit::Hypercall => {
            lp.count(Counter::ExitHypercall);
            hypercalls::handle(lp, vp, state, context);
        }
        Exit::InterruptWindow => {
            lp.count(Counter::ExitInterruptWindow);
            state.reevaluate = true;
        }
        Exit::Hlt => {
            lp.count(Counter::ExitHlt);
            halt(vp, state, context);
        }
        Exit::NestedFault(fault) => {
            lp.count(Counter::ExitNestedFault);
            memory::handle(lp, vp, state, context, fault);
        }
        other => handle_rare(lp, vp, state, context, other),
    }
}

fn handle_rare(
    lp: &'static Lp,
    vp: &'static Vp,
    state: &mut State,
    context: &LpContext,
    exit: Exit,
) {
    match exit {
        Exit::Nmi => {
            lp.count(Counter::ExitNmi);
            run::take_interrupts(context);
        }
        Exit::Pause => {
            lp.count(Counter::ExitPause);
            step::over(vp, state, context, Opcode::PAUSE);
            // It spins, perhaps for a VP that waits for this LP.
            lp.ask_to_reschedule();
        }
        Exit::NmiWindow => state.reevaluate = true,
        Exit::ModeChange => lp.count(Counter::ExitControlRegister),
        Exit::PriorityWrite => step::write_priority(lp, vp, state, context),
        Exit::Xsetbv => {
            lp.count(Counter::ExitXsetbv);
            set_xcr(vp, state, context);
        }
        Exit::CacheFlush => {
            lp.count(Counter::ExitWbinvd);
            // INVD would lose the hypervisor's own dirty lines; writing back first is what the guest may rely on at most.
            arch_x86::cpu::wbinvd();
            step::over(vp, state, context, Opcode::CACHE_FLUSH);
        }
        Exit::VirtualizationInstruction => {
            lp.count(Counter::ExitVirtualization);
            inject(lp, state, Event::UNDEFINED);
        }
        Exit::Exception { vector, error_code, .. } => {
            lp.count(Counter::ExitException);
            let with_code = matches!(vector, 8 | 10..=14 | 17 | 21 | 29 | 30);
            inject(
                lp,
                state,
                Event::Exception { vector, error_code: with_code.then_some(error_code) },
            );
        }
        Exit::Shutdown => on_triple_fault(lp, vp, state),
        other => {
            lp.count(Counter::ExitOther);
            log!(
                Level::Error,
                "partition {} VP {}: cannot continue after {other:x?} at {:#x}",
                vp.partition.id.0,
                vp.index,
                state.vcpu.rip()
            );
            state.activity = Activity::Dead;
        }
    }
}

/// Delivers an exception to the guest.
pub fn inject(lp: &Lp, state: &mut State, event: Event) {
    lp.count(Counter::InjectedExceptions);
    state.vcpu.inject(event);
}

/// Delivers #GP(0) for an access that nothing is behind. During the delivery of another exception it becomes what the
/// processor makes of two (APM vol. 2, 8.2.9): a double fault, and after that the end.
pub fn inject_protection(lp: &Lp, vp: &Vp, state: &mut State) {
    match state.vcpu.interrupted_exception() {
        Some(8) => on_triple_fault(lp, vp, state),
        Some(0 | 10..=14) => inject(lp, state, Event::DOUBLE_FAULT),
        _ => inject(lp, state, Event::PROTECTION),
    }
}

/// The register and the value of a WRMSR.
fn msr_operands(state: &State) -> (u32, u64) {
    let reg = |reg| state.vcpu.reg(reg);
    (reg(Reg::Rcx) as u32, reg(Reg::Rdx) << 32 | reg(Reg::Rax) & 0xFFFF_FFFF)
}

fn finish_read(
    lp: &Lp,
    vp: &Vp,
    state: &mut State,
    context: &LpContext,
    done: Result<u64, msr::Fault>,
) {
    let done = done.map(|value| {
        state.vcpu.set_reg(Reg::Rax, value & 0xFFFF_FFFF);
        state.vcpu.set_reg(Reg::Rdx, value >> 32);
    });
    finish_msr(lp, vp, state, context, done);
}

fn finish_msr(
    lp: &Lp,
    vp: &Vp,
    state: &mut State,
    context: &LpContext,
    done: Result<(), msr::Fault>,
) {
    match done {
        Ok(()) => step::over(vp, state, context, Opcode::MSR),
        Err(msr::Fault) => inject(lp, state, Event::PROTECTION),
    }
}

/// HLT. The trap of a guest that steps ends the wait at once.
fn halt(vp: &Vp, state: &mut State, context: &LpContext) {
    step::over(vp, state, context, Opcode::HLT);
    if !state.vcpu.has_event() {
        state.activity = Activity::Halted;
    }
}

fn set_xcr(vp: &Vp, state: &mut State, context: &LpContext) {
    if state.vcpu.system(SystemReg::Cr4) & CR4_OSXSAVE == 0 {
        return state.vcpu.inject(Event::UNDEFINED);
    }
    let value = state.vcpu.reg(Reg::Rdx) << 32 | state.vcpu.reg(Reg::Rax) & 0xFFFF_FFFF;
    let first = state.vcpu.reg(Reg::Rcx) as u32 == 0;
    if first && state.vcpu.cpl() == 0 && state.set_xcr0(value) {
        step::over(vp, state, context, Opcode::XSETBV);
    } else {
        state.vcpu.inject(Event::PROTECTION);
    }
}

/// A triple fault of the parent is how an operating system resets a machine without other means: do as it says. Of a
/// child's its parent hears.
fn on_triple_fault(lp: &Lp, vp: &Vp, state: &mut State) {
    if !vp.partition.is_root {
        return child::shut_down(lp, vp, state);
    }
    lp.count(Counter::ExitShutdown);
    log!(
        Level::Warn,
        "partition {} VP {}: triple fault at {:#x}, cr2 {:#x}, cr3 {:#x}",
        vp.partition.id.0,
        vp.index,
        state.vcpu.rip(),
        state.vcpu.system(SystemReg::Cr2),
        state.vcpu.system(SystemReg::Cr3)
    );
    state.activity = Activity::Dead;
    log!(Level::Warn, "the parent shut down: resetting the machine");
    crate::boot::reset_machine();
}
