//! Flushing cached translations on several VPs.
//!
//! A flush gives the VP a new address-space id, whatever part of its address space was named: with software and hardware
//! that tag translations this is cheaper than walking a list, and it is always enough.

use super::Call;
use crate::partition::Partition;
use crate::vp::{Request, State, Vp};
use arch_x86::cpu;
use core::sync::atomic::Ordering;
use hvdef::HvStatus;
use hvdef::hypercall::tlb::{FlushVirtualAddress, FlushVirtualAddressEx};
use hypercall::Outcome;
use zemindef::counters::Counter;

/// FLUSH_VIRTUAL_ADDRESS_SPACE and FLUSH_VIRTUAL_ADDRESS_LIST.
pub fn flush(call: &Call, state: &mut State) -> Outcome {
    let result = call.input::<FlushVirtualAddress>().map(|input| {
        let all = input.flags.all_processors();
        let mask = input.processor_mask;
        flush_where(call, state, |index| all || index < 64 && mask & 1 << index != 0);
    });
    done(call, result)
}

/// The same with a VP set.
pub fn flush_ex(call: &Call, state: &mut State) -> Outcome {
    let result = call.input::<FlushVirtualAddressEx>().and_then(|input| {
        let all = input.flags.all_processors();
        let mut wanted = [0u64; 4];
        for index in call.vp_set(input.vp_set, size_of::<FlushVirtualAddressEx>())? {
            if let Some(word) = wanted.get_mut(index as usize / 64) {
                *word |= 1 << (index % 64);
            }
        }
        let is_wanted = |index: u32| {
            wanted.get(index as usize / 64).is_some_and(|word| word & 1 << (index % 64) != 0)
        };
        flush_where(call, state, |index| all || is_wanted(index));
        Ok(())
    });
    done(call, result)
}

fn done(call: &Call, result: Result<(), HvStatus>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done { reps: call.reps().end },
        Err(status) => Outcome::failed(status),
    }
}

/// Flushes every VP of the caller's partition.
pub fn flush_all(call: &Call, state: &mut State) {
    flush_where(call, state, |_| true);
}

/// VPs that are asked to flush at the same time: as many as a word has bits, and few enough for the stack.
const TOGETHER: u32 = u64::BITS;

/// Flushes the VPs selected and returns when none of them uses an old translation any more.
fn flush_where(call: &Call, state: &mut State, selected: impl Fn(u32) -> bool) {
    call.lp.count(Counter::TlbFlushes);
    if selected(call.vp.index) {
        state.flush_translations();
    }
    let partition = call.vp.partition;
    for first in (0..partition.vp_count()).step_by(TOGETHER as usize) {
        let mut before = [0; TOGETHER as usize];
        let mut asked = 0u64;
        for (seen, index) in before.iter_mut().zip(first..partition.vp_count()) {
            let is_other = index != call.vp.index && selected(index);
            let Some(vp) = partition.vp(index).filter(|_| is_other) else { continue };
            *seen = vp.flushes.load(Ordering::Acquire);
            vp.request(Request::FlushTranslations);
            asked |= 1 << (index - first);
        }
        for (seen, index) in before.iter().zip(first..) {
            if asked >> (index - first) & 1 != 0
                && let Some(vp) = partition.vp(index)
            {
                wait(call.vp, state, vp, *seen);
            }
        }
    }
}

/// Flushes every VP of a child whose second-level tables changed. When it returns, none uses an old translation.
pub fn flush_child(call: &Call, state: &mut State, child: &Partition) {
    call.lp.count(Counter::TlbFlushes);
    for vp in child.vps() {
        let seen = vp.flushes.load(Ordering::Acquire);
        vp.request(Request::FlushTranslations);
        wait(call.vp, state, vp, seen);
    }
}

/// Flushes every VP of the running one's partition, after an overlay page came or went.
pub fn flush_own(vp: &Vp, state: &mut State) {
    state.flush_translations();
    for other in vp.partition.vps().filter(|other| other.index != vp.index) {
        let seen = other.flushes.load(Ordering::Acquire);
        other.request(Request::FlushTranslations);
        wait(vp, state, other, seen);
    }
}

/// Waits for another VP's flush. The caller's own requests are served meanwhile: two VPs may flush each other.
fn wait(own: &Vp, state: &mut State, other: &Vp, seen: u64) {
    // A child's VP that is on no LP serves the request before it runs again.
    while other.flushes.load(Ordering::Acquire) == seen && (other.number == 0 || other.is_owned()) {
        own.absorb(state);
        cpu::pause();
    }
}
