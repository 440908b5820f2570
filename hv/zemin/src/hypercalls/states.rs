//! Parts of a VP's state that are moved as a whole: GET_VP_STATE and SET_VP_STATE.

use super::Call;
use super::vps::find;
use crate::deposits::PagePool;
use crate::intercepts;
use crate::mem::{PAGE, phys};
use crate::partition::Partition;
use crate::sync::SpinLock;
use crate::vp::{State, supported_xcr0};
use arch_x86::cpu;
use hvdef::HvStatus;
use hvdef::hypercall::vp as abi;
use hvdef::msr;
use hvdef::vp::VpStateType;
use hypercall::Outcome;
use xsave_area::{Component, Layout};
use zerocopy::IntoBytes;

/// Bytes moved at a time, which the stack has room for.
const CHUNK: usize = 512;

/// GET_VP_STATE.
pub fn get(call: &Call) -> Outcome {
    Outcome::from(call.input::<abi::VpState>().and_then(|input| {
        let (_partition, vp) = find(input.partition_id, input.vp_index)?;
        let mut state = intercepts::stop(vp);
        match input.state_type {
            VpStateType::SYNTHETIC_TIMERS => call.output(&state.synic.save_timers()),
            VpStateType::LAPIC => {
                state.follow_clock(&vp.partition.clock);
                write(call, state.apic.save(vp.partition.clock.moment()).as_bytes())
            }
            VpStateType::XSAVE => get_xsave(call, &mut state, input.xsave_states),
            VpStateType::SIM_PAGE => from_page(call, state.synic.pages()[0]),
            VpStateType::SIEF_PAGE => from_page(call, state.synic.pages()[1]),
            _ => Err(HvStatus::INVALID_PARAMETER),
        }
    }))
}

/// SET_VP_STATE.
pub fn set(call: &Call) -> Outcome {
    Outcome::from(call.input::<abi::VpState>().and_then(|input| {
        let (_partition, vp) = find(input.partition_id, input.vp_index)?;
        let mut state = intercepts::stop(vp);
        match input.state_type {
            VpStateType::SYNTHETIC_TIMERS => set_timers(call, &mut state),
            VpStateType::LAPIC => {
                state.follow_clock(&vp.partition.clock);
                set_apic(call, &mut state, vp.partition.clock.moment())
            }
            VpStateType::XSAVE => set_xsave(call, &mut state),
            VpStateType::SIM_PAGE => set_page(call, &vp.partition.pool, &mut state, msr::SIMP),
            VpStateType::SIEF_PAGE => set_page(call, &vp.partition.pool, &mut state, msr::SIEFP),
            _ => Err(HvStatus::INVALID_PARAMETER),
        }?;
        intercepts::refresh_register_page(vp, &mut state);
        Ok(())
    }))
}

fn set_timers(call: &Call, state: &mut State) -> Result<(), HvStatus> {
    let mut words = [0u64; synic::STIMER_STATE_WORDS];
    for (index, word) in words.iter_mut().enumerate() {
        *word = call.variable(index)?;
    }
    state.synic.restore_timers(&words);
    Ok(())
}

fn set_apic(call: &Call, state: &mut State, now: u64) -> Result<(), HvStatus> {
    let mut words = state.apic.save(now);
    read(call, words.as_mut_bytes())?;
    state.apic.restore(&words, now);
    state.reevaluate = true;
    Ok(())
}

/// Where components are in a VP's own area and in the compacted form.
fn layout() -> Layout {
    Layout::new(supported_xcr0(), |number| {
        let leaf = cpu::cpuid(0xD, number);
        Component { size: leaf.eax, offset: leaf.ebx, aligned: leaf.ecx & 2 != 0 }
    })
}

fn get_xsave(call: &Call, state: &mut State, mask: u64) -> Result<(), HvStatus> {
    with_page(|compacted| {
        let done = layout().compact(state.extended_area(), compacted, mask);
        done.map_err(|_| HvStatus::INVALID_PARAMETER)?;
        let size = layout().compacted_size(mask & layout().supported());
        write(call, compacted.get(..size).unwrap_or_default())
    })
}

fn set_xsave(call: &Call, state: &mut State) -> Result<(), HvStatus> {
    with_page(|compacted| {
        read(call, compacted)?;
        let done = layout().expand(compacted, state.extended_area());
        done.map_err(|_| HvStatus::INVALID_REGISTER_VALUE)
    })
}

/// A page of the SynIC to the caller; zeros while the guest has none.
fn from_page(call: &Call, page: u64) -> Result<(), HvStatus> {
    let mut bytes = [0; CHUNK];
    for start in (0..PAGE as usize).step_by(CHUNK) {
        if page != 0 && !phys::read(page + start as u64, &mut bytes) {
            return Err(HvStatus::OPERATION_FAILED);
        }
        parent(call)
            .write(address(call, start)?, &bytes)
            .map_err(|_| HvStatus::INVALID_PARAMETER)?;
    }
    Ok(())
}

/// A page of the SynIC from the caller. One that the guest has not placed yet keeps the contents for when it does.
fn set_page(
    call: &Call,
    pool: &SpinLock<PagePool>,
    state: &mut State,
    index: u32,
) -> Result<(), HvStatus> {
    let page = match state.synic.overlay(index).1 {
        0 => pool.lock().get().ok_or(HvStatus::INSUFFICIENT_MEMORY)?,
        page => return to_page(call, page),
    };
    if let Err(status) = to_page(call, page) {
        pool.lock().put(page);
        return Err(status);
    }
    state.synic.prepare(index, page);
    Ok(())
}

fn to_page(call: &Call, page: u64) -> Result<(), HvStatus> {
    let mut bytes = [0; CHUNK];
    for start in (0..PAGE as usize).step_by(CHUNK) {
        let from = address(call, start)?;
        parent(call).read(from, &mut bytes).map_err(|_| HvStatus::INVALID_PARAMETER)?;
        phys::write(page + start as u64, &bytes);
    }
    Ok(())
}

fn parent(call: &Call) -> &'static Partition {
    call.vp.partition
}

/// Address of byte `offset` of the caller's buffer, whose pages the call lists.
fn address(call: &Call, offset: usize) -> Result<u64, HvStatus> {
    let number: u64 = call.variable(offset / PAGE as usize)?;
    let page = number.checked_mul(PAGE).ok_or(HvStatus::INVALID_PARAMETER)?;
    Ok(page + offset as u64 % PAGE)
}

fn write(call: &Call, bytes: &[u8]) -> Result<(), HvStatus> {
    parent(call).write(address(call, 0)?, bytes).map_err(|_| HvStatus::INVALID_PARAMETER)
}

fn read(call: &Call, bytes: &mut [u8]) -> Result<(), HvStatus> {
    parent(call).read(address(call, 0)?, bytes).map_err(|_| HvStatus::INVALID_PARAMETER)
}

/// A zeroed page to work on, which is too much for the stack.
fn with_page<R>(work: impl FnOnce(&mut [u8]) -> Result<R, HvStatus>) -> Result<R, HvStatus> {
    static SCRATCH: crate::sync::SpinLock<[u8; PAGE as usize]> =
        crate::sync::SpinLock::new([0; PAGE as usize]);
    let mut scratch = SCRATCH.lock();
    scratch.fill(0);
    work(&mut scratch[..])
}
