//! Interprocessor interrupts by hypercall: one exit however many targets there are.

use super::Call;
use crate::vp::State;
use hvdef::HvStatus;
use hvdef::hypercall::interrupt::{SendIpi, SendIpiEx};
use hypercall::Outcome;
use zemindef::counters::Counter;

/// Vectors that may be sent (TLFS, HvCallSendSyntheticClusterIpi).
const VECTORS: core::ops::RangeInclusive<u32> = 0x10..=0xFF;

/// SEND_IPI: to the VPs of a 64-bit mask.
pub fn send(call: &Call, state: &mut State) -> Outcome {
    Outcome::from(call.input::<SendIpi>().and_then(|input| {
        let mask = input.processor_mask;
        let targets = (0..64).filter(|bit| mask & 1 << bit != 0);
        deliver(call, state, input.vector, targets)
    }))
}

/// SEND_IPI_EX: to the VPs of a set.
pub fn send_ex(call: &Call, state: &mut State) -> Outcome {
    Outcome::from(call.input::<SendIpiEx>().and_then(|input| {
        let targets = call.vp_set(input.vp_set, size_of::<SendIpiEx>())?;
        deliver(call, state, input.vector, targets)
    }))
}

fn deliver(
    call: &Call,
    state: &mut State,
    vector: u32,
    targets: impl Iterator<Item = u32>,
) -> Result<(), HvStatus> {
    if !VECTORS.contains(&vector) {
        return Err(HvStatus::INVALID_PARAMETER);
    }
    for target in targets.filter_map(|index| call.vp.partition.vp(index)) {
        call.lp.count(Counter::IpiVirtual);
        if target.index == call.vp.index {
            state.raise(vector as u8);
        } else {
            target.post_interrupt(vector as u8, false);
        }
    }
    Ok(())
}
