//! The machine: LPs, properties, sleep, events.

use super::Call;
use crate::boot;
use crate::lp;
use crate::time;
use core::sync::atomic::Ordering;
use hvdef::hypercall::system as abi;
use hvdef::property::{SchedulerType, SystemProperty};
use hvdef::{HvStatus, PartitionId};
use hypercall::Outcome;
use zerocopy::FromBytes;

/// GET_LOGICAL_PROCESSOR_RUN_TIME. Linux asks it for LP 1 to learn that the LPs are up already.
pub fn lp_run_time(call: &Call) -> Outcome {
    Outcome::from(call.input::<abi::GetLogicalProcessorRunTime>().and_then(|input| {
        let lp = lp::get(input.lp_index.0).ok_or(HvStatus::INVALID_LP_INDEX)?;
        let run_time = time::ticks_to_100ns(lp.guest_ticks.load(Ordering::Relaxed));
        call.output(&abi::LogicalProcessorRunTime {
            global_time: time::now(),
            local_run_time: run_time,
            reserved: 0,
            hypervisor_time: 0,
        })
    }))
}

/// GET_PARTITION_ID.
pub fn partition_id(call: &Call) -> Outcome {
    let id: PartitionId = call.vp.partition.id;
    Outcome::from(call.output(&id))
}

/// GET_SYSTEM_PROPERTY.
pub fn get_property(call: &Call) -> Outcome {
    Outcome::from(call.input::<abi::GetSystemProperty>().and_then(|input| {
        let value = match input.property {
            SystemProperty::SCHEDULER_TYPE => u64::from(SchedulerType::CLASSIC.0),
            SystemProperty::DYNAMIC_PROCESSOR_FEATURES => 0,
            _ => return Err(HvStatus::UNKNOWN_PROPERTY),
        };
        call.output(&abi::GetSystemPropertyOutput { value })
    }))
}

/// SET_SYSTEM_PROPERTY: the sleep types of S5, which come before the call that powers off.
pub fn set_property(call: &Call) -> Outcome {
    Outcome::from(call.input::<abi::SetSystemProperty>().and_then(|input| {
        if input.property != SystemProperty::SLEEP_STATE {
            return Err(HvStatus::UNKNOWN_PROPERTY);
        }
        let (info, _) = abi::SleepStateInfo::read_from_prefix(&input.value)
            .map_err(|_| HvStatus::INVALID_HYPERCALL_INPUT)?;
        if info.sleep_state != abi::SleepState::S5 {
            return Err(HvStatus::PROPERTY_VALUE_OUT_OF_RANGE);
        }
        boot::set_sleep_types(info.pm1a_slp_typ, info.pm1b_slp_typ);
        Ok(())
    }))
}

/// ENTER_SLEEP_STATE: powers the machine off.
pub fn enter_sleep(call: &Call) -> Outcome {
    Outcome::from(call.input::<abi::EnterSleepState>().and_then(|input| {
        if input.sleep_state != abi::SleepState::S5 {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        boot::power_off();
        Err(HvStatus::OPERATION_FAILED)
    }))
}

/// NOTIFY_PARTITION_EVENT.
pub fn notify_event(call: &Call) -> Outcome {
    Outcome::from(call.input::<abi::NotifyPartitionEvent>().and_then(|input| match input.event {
        // The hypervisor started them itself.
        abi::PartitionEvent::ALL_LOGICAL_PROCESSORS_STARTED => Ok(()),
        _ => Err(HvStatus::INVALID_PARAMETER),
    }))
}

/// QUERY_CAPABILITIES: no extended call is there.
pub fn capabilities(call: &Call) -> Outcome {
    Outcome::from(call.output(&abi::QueryCapabilitiesOutput { capabilities: 0 }))
}
