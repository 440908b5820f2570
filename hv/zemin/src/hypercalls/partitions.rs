//! The life of child partitions.

use super::Call;
use crate::children;
use crate::vp::State;
use hvdef::HvStatus;
use hvdef::hypercall::partition::{CreatePartition, CreatePartitionOutput, PartitionInput};
use hypercall::Outcome;

/// CREATE_PARTITION.
pub fn create(call: &Call, state: &mut State) -> Outcome {
    Outcome::from(try_create(call, state))
}

fn try_create(call: &Call, state: &mut State) -> Result<(), HvStatus> {
    let input: CreatePartition = call.input()?;
    if input.isolation.isolation_type() != 0 {
        return Err(HvStatus::FEATURE_UNAVAILABLE);
    }
    let [first, second] = input.disabled_processor_features;
    let disabled = [first, second, input.disabled_xsave_features];
    let partition_id = children::create(disabled, input.flags)?;
    call.output(&CreatePartitionOutput { partition_id })
        .inspect_err(|_| _ = children::delete(call, state, partition_id))
}

/// INITIALIZE_PARTITION.
pub fn initialize(call: &Call) -> Outcome {
    Outcome::from(call.input::<PartitionInput>().and_then(|input| {
        let partition = children::find_child(input.partition_id)?;
        children::initialize(&partition)
    }))
}

/// FINALIZE_PARTITION.
pub fn finalize(call: &Call, state: &mut State) -> Outcome {
    Outcome::from(call.input::<PartitionInput>().and_then(|input| {
        let partition = children::find_child(input.partition_id)?;
        children::finalize(call, state, &partition)
    }))
}

/// DELETE_PARTITION.
pub fn delete(call: &Call, state: &mut State) -> Outcome {
    Outcome::from(
        call.input::<PartitionInput>()
            .and_then(|input| children::delete(call, state, input.partition_id)),
    )
}
