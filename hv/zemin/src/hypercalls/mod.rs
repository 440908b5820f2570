//! Hypercalls: from the instruction to the effect.
//!
//! `logic/hypercall` decides whether a call is well-formed and who may make it; the modules here carry it out. A handler
//! sees a [`Call`], whose inputs it reads once into locals, and answers with an [`Outcome`]; only [`handle`] turns that
//! into registers.

mod call;
mod gpa;
mod intercept;
mod interrupt;
mod ipi;
mod memory;
mod partitions;
mod ports;
mod property;
mod registers;
pub mod scheduling;
mod signals;
mod states;
mod stats;
mod system;
mod tally;
mod tlb;
mod translate;
mod vps;

use crate::log::{level_for, log};
use crate::lp::Lp;
use crate::partition::Partition;
use crate::vp::{State, Vp};
use arch_x86::vcpu::{Event, LpContext, Reg, SystemReg};
pub use call::Call;
use hvdef::{HvStatus, HypercallCode};
use hypercall::{CallerMode, Completion, Exception, Outcome, Registers};
pub use ports::sever as sever_port;
pub use stats::refresh as refresh_stats;
pub use tlb::flush_own;
pub use vps::take_back_pages;
use x86emu::prefix::Opcode;
use zemindef::counters::Counter;

/// Serves the hypercall in the VP's registers.
pub fn handle(lp: &'static Lp, vp: &'static Vp, state: &mut State, context: &LpContext) {
    let protected = state.vcpu.system(SystemReg::Cr0) & 1 != 0;
    let Some(mode) = CallerMode::of(state.vcpu.cpl(), protected, state.vcpu.is_long_mode_code())
    else {
        return crate::exit::inject(lp, state, Event::UNDEFINED);
    };
    lp.count(Counter::Hypercalls);
    let registers = caller_registers(mode, state);
    let (completion, status) = match hypercall::decode(&registers, vp.partition.privileges()) {
        Ok(form) => {
            let outcome = dispatch(&Call { form, lp, vp }, state);
            let status = if let Outcome::Failed { status, .. } = outcome {
                status
            } else {
                HvStatus::SUCCESS
            };
            (outcome.complete(&form), status)
        }
        Err(status) => (Completion::refused(status), status),
    };
    account(lp, vp.partition, HypercallCode(registers.control as u16), status);
    if signals::goes_to_parent(vp.partition, status) {
        return crate::intercepts::raise_hypercall(lp, vp, state);
    }
    match completion {
        Completion::Return(result) => {
            set_result(mode, state, result.into_bits());
            crate::exit::step::over(vp, state, context, Opcode::VMMCALL);
        }
        Completion::Again { control } => set_control(mode, state, control),
        Completion::Inject(Exception::InvalidOpcode) => {
            crate::exit::inject(lp, state, Event::UNDEFINED)
        }
        Completion::Inject(Exception::GeneralProtection) => {
            crate::exit::inject(lp, state, Event::PROTECTION)
        }
    }
}

fn caller_registers(mode: CallerMode, state: &State) -> Registers {
    let reg = |reg| state.vcpu.reg(reg);
    match mode {
        CallerMode::Long => Registers::long(reg(Reg::Rcx), reg(Reg::Rdx), reg(Reg::R8)),
        CallerMode::Protected => Registers::protected(
            reg(Reg::Rax),
            reg(Reg::Rbx),
            reg(Reg::Rcx),
            reg(Reg::Rdx),
            reg(Reg::Rsi),
            reg(Reg::Rdi),
        ),
    }
}

fn set_result(mode: CallerMode, state: &mut State, result: u64) {
    match mode {
        CallerMode::Long => state.vcpu.set_reg(Reg::Rax, result),
        CallerMode::Protected => set_pair(state, result),
    }
}

fn set_control(mode: CallerMode, state: &mut State, control: u64) {
    match mode {
        CallerMode::Long => state.vcpu.set_reg(Reg::Rcx, control),
        CallerMode::Protected => set_pair(state, control),
    }
}

/// EDX:EAX, where 32-bit code has both control word and result.
fn set_pair(state: &mut State, value: u64) {
    state.vcpu.set_reg(Reg::Rax, value & 0xFFFF_FFFF);
    state.vcpu.set_reg(Reg::Rdx, value >> 32);
}

/// Counts a call; the first one of a kind that is not there is logged.
fn account(lp: &Lp, partition: &Partition, code: HypercallCode, status: HvStatus) {
    let first_failure = tally::record(code, status);
    if status != HvStatus::SUCCESS {
        lp.count(Counter::HypercallErrors);
    }
    if first_failure && status == HvStatus::INVALID_HYPERCALL_CODE {
        log!(
            level_for(partition),
            "hypercall {:#06x} {:?} is not implemented; further ones are only counted",
            code.0,
            code
        );
    }
}

fn dispatch(call: &Call, state: &mut State) -> Outcome {
    use HypercallCode as C;
    match call.form.code() {
        C::NOTIFY_LONG_SPIN_WAIT => scheduling::long_spin_wait(call),
        C::SEND_IPI => ipi::send(call, state),
        C::SEND_IPI_EX => ipi::send_ex(call, state),
        C::FLUSH_VIRTUAL_ADDRESS_SPACE | C::FLUSH_VIRTUAL_ADDRESS_LIST => tlb::flush(call, state),
        C::FLUSH_VIRTUAL_ADDRESS_SPACE_EX | C::FLUSH_VIRTUAL_ADDRESS_LIST_EX => {
            tlb::flush_ex(call, state)
        }
        C::MAP_DEVICE_INTERRUPT => interrupt::map(call),
        C::UNMAP_DEVICE_INTERRUPT => interrupt::unmap(call),
        C::GET_LOGICAL_PROCESSOR_RUN_TIME => system::lp_run_time(call),
        C::GET_PARTITION_ID => system::partition_id(call),
        C::GET_SYSTEM_PROPERTY => system::get_property(call),
        C::SET_SYSTEM_PROPERTY => system::set_property(call),
        C::ENTER_SLEEP_STATE => system::enter_sleep(call),
        C::NOTIFY_PARTITION_EVENT => system::notify_event(call),
        C::NOTIFY_PORT_RING_EMPTY => ports::ring_empty(call),
        C::CREATE_PORT => ports::create(call),
        C::CONNECT_PORT => ports::connect(call),
        C::DISCONNECT_PORT => ports::disconnect(call),
        C::DELETE_PORT => ports::delete(call),
        C::SIGNAL_EVENT => signals::signal_event(call, state),
        C::POST_MESSAGE => signals::post_message(call, state),
        C::SIGNAL_EVENT_DIRECT => signals::signal_event_direct(call),
        C::POST_MESSAGE_DIRECT => signals::post_message_direct(call),
        C::INSTALL_INTERCEPT => intercept::install(call),
        C::QUERY_CAPABILITIES => system::capabilities(call),
        C::DEPOSIT_MEMORY => memory::deposit(call, state),
        C::WITHDRAW_MEMORY => memory::withdraw(call, state),
        C::CREATE_PARTITION => partitions::create(call, state),
        C::INITIALIZE_PARTITION => partitions::initialize(call),
        C::FINALIZE_PARTITION => partitions::finalize(call, state),
        C::DELETE_PARTITION => partitions::delete(call, state),
        C::CREATE_VP => vps::create(call),
        C::DELETE_VP => vps::delete(call, state),
        C::MAP_VP_STATE_PAGE => vps::map_state_page(call, state),
        C::UNMAP_VP_STATE_PAGE => vps::unmap_state_page(call, state),
        C::GET_VP_REGISTERS => vps::get_registers(call),
        C::SET_VP_REGISTERS => vps::set_registers(call),
        C::GET_VP_STATE => states::get(call),
        C::SET_VP_STATE => states::set(call),
        C::CLEAR_VIRTUAL_INTERRUPT => vps::clear_interrupt(call),
        C::REGISTER_INTERCEPT_RESULT => intercept::register_result(call),
        C::GET_VP_CPUID_VALUES => intercept::cpuid_values(call),
        C::TRANSLATE_VIRTUAL_ADDRESS => translate::translate(call),
        C::ASSERT_VIRTUAL_INTERRUPT => vps::assert_interrupt(call),
        C::MAP_GPA_PAGES => gpa::map(call, state),
        C::UNMAP_GPA_PAGES => gpa::unmap(call, state),
        C::GET_GPA_PAGES_ACCESS_STATES => gpa::access_states(call, state),
        C::MAP_STATS_PAGE => stats::map(call, state),
        C::UNMAP_STATS_PAGE => stats::unmap(call, state),
        C::GET_PARTITION_PROPERTY => property::get(call),
        C::SET_PARTITION_PROPERTY => property::set(call),
        C::GET_PARTITION_PROPERTY_EX => property::get_ex(call),
        _ => Outcome::failed(HvStatus::INVALID_HYPERCALL_CODE),
    }
}
