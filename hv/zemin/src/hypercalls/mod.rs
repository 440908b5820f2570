//! Hypercalls: from the instruction to the effect.
//!
//! `logic/hypercall` decides whether a call is well-formed and who may make it; the modules here carry it out. A handler
//! sees a [`Call`], whose inputs it reads once into locals, and answers with an [`Outcome`]; only [`handle`] turns that
//! into registers.

mod call;
mod interrupt;
mod ipi;
mod memory;
mod property;
mod stats;
mod system;
mod tally;
mod tlb;

use crate::log::{Level, log};
use crate::lp::Lp;
use crate::vp::{State, Vp};
use arch_x86::vcpu::{Event, LpContext, Reg};
pub use call::Call;
use hvdef::{HvStatus, HypercallCode};
use crate::tmp::Outcome;
pub use memory::root_deposited;
pub use tally::entries as tally_entries;
use zemindef::counters::Counter;

/// Length of VMMCALL and VMCALL.
const INSTRUCTION: u64 = 3;

/// Serves the hypercall in RCX, RDX and R8.
pub fn handle(lp: &'static Lp, vp: &'static Vp, state: &mut State, context: &LpContext) {
    // The TLFS allows them from the kernel only; anybody else sees no such instruction.
    if state.vcpu.cpl() != 0 || !state.vcpu.is_long_mode_code() {
        return crate::exit::inject(lp, state, Event::UNDEFINED);
    }
    lp.count(Counter::Hypercalls);
    let control = state.vcpu.reg(Reg::Rcx);
    let code = HypercallCode(control as u16);
    let outcome = match Call::decode(lp, vp, state, control) {
        Ok(call) => dispatch(&call, state),
        Err(status) => Outcome::Failed { status, reps: 0 },
    };
    finish(lp, state, context, code, outcome);
}

fn dispatch(call: &Call, state: &mut State) -> Outcome {
    use HypercallCode as C;
    match call.code {
        C::SEND_IPI => ipi::send(call, state),
        C::SEND_IPI_EX => ipi::send_ex(call, state),
        C::FLUSH_VIRTUAL_ADDRESS_SPACE | C::FLUSH_VIRTUAL_ADDRESS_LIST => tlb::flush(call, state),
        C::FLUSH_VIRTUAL_ADDRESS_SPACE_EX | C::FLUSH_VIRTUAL_ADDRESS_LIST_EX => tlb::flush_ex(call, state),
        C::MAP_DEVICE_INTERRUPT => interrupt::map(call),
        C::UNMAP_DEVICE_INTERRUPT => interrupt::unmap(call),
        C::GET_LOGICAL_PROCESSOR_RUN_TIME => system::lp_run_time(call),
        C::GET_PARTITION_ID => system::partition_id(call),
        C::GET_SYSTEM_PROPERTY => system::get_property(call),
        C::SET_SYSTEM_PROPERTY => system::set_property(call),
        C::ENTER_SLEEP_STATE => system::enter_sleep(call),
        C::NOTIFY_PARTITION_EVENT => system::notify_event(call),
        C::NOTIFY_PORT_RING_EMPTY => system::ring_empty(call),
        C::QUERY_CAPABILITIES => system::capabilities(call),
        C::DEPOSIT_MEMORY => memory::deposit(call),
        C::WITHDRAW_MEMORY => memory::withdraw(call),
        C::MAP_STATS_PAGE => stats::map(call),
        C::UNMAP_STATS_PAGE => stats::unmap(call),
        C::GET_PARTITION_PROPERTY => property::get(call),
        C::SET_PARTITION_PROPERTY => property::set(call),
        C::GET_PARTITION_PROPERTY_EX => property::get_ex(call),
        _ => Outcome::Failed { status: HvStatus::INVALID_HYPERCALL_CODE, reps: 0 },
    }
}

/// Turns an outcome into what the guest sees.
fn finish(lp: &'static Lp, state: &mut State, context: &LpContext, code: HypercallCode, outcome: Outcome) {
    let (status, reps) = match outcome {
        Outcome::Done { reps } | Outcome::Continue { reps } => (HvStatus::SUCCESS, reps),
        Outcome::Failed { status, reps } => (status, reps),
        Outcome::Inject(_) => return crate::exit::inject(lp, state, Event::UNDEFINED),
    };
    if tally::record(code, status) && status == HvStatus::INVALID_HYPERCALL_CODE {
        log!(Level::Warn, "hypercall {code:?} is not implemented (further ones are only counted)");
    }
    if status != HvStatus::SUCCESS {
        lp.count(Counter::HypercallErrors);
    }
    state.vcpu.set_reg(Reg::Rax, hvdef::HypercallOutput::of(status, reps).into_bits());
    state.vcpu.skip_instruction(context, INSTRUCTION);
}

/// A simple call's result as an outcome.
fn simple(result: Result<(), HvStatus>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done { reps: 0 },
        Err(status) => Outcome::Failed { status, reps: 0 },
    }
}
