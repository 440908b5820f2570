//! Messages and events: a guest's own, through its connections, and those its VMM sends it directly.

use super::Call;
use crate::children;
use crate::intercepts;
use crate::partition::Partition;
use crate::ring;
use crate::vp::{State, Vp};
use hvdef::hypercall::intercept::InterceptType;
use hvdef::hypercall::synic::{
    PostMessage, PostMessageDirect, SignalEvent, SignalEventDirect, SignalEventDirectOutput,
};
use hvdef::message::Message;
use hvdef::{Gpa, HvStatus, PartitionId, VpIndex};
use hypercall::Outcome;
use portdb::{Signal, Target};
use zerocopy::FromBytes;

/// SIGNAL_EVENT. A doorbell at the address that stands for the connection is rung here, and the VP runs on.
pub fn signal_event(call: &Call, state: &mut State) -> Outcome {
    let found = call.input::<SignalEvent>().and_then(|input| {
        let connections = call.vp.partition.port_book.connections.lock();
        connections.signal(input.connection_id, input.flag_number)
    });
    match found {
        Ok(Signal::Doorbell(target)) => {
            ring::post(call.lp, target.port.into_bits());
            Outcome::SUCCESS
        }
        Ok(Signal::Connected(event)) => Outcome::from(deliver(event.target, |vp| {
            vp.signal_event(event.target.sint, event.flag).map(|_| ())
        })),
        Ok(Signal::Unknown) => unknown(call, state),
        Err(status) => Outcome::failed(status),
    }
}

/// POST_MESSAGE.
pub fn post_message(call: &Call, state: &mut State) -> Outcome {
    let found = call.input::<PostMessage>().and_then(|input| {
        let connections = call.vp.partition.port_book.connections.lock();
        connections.post(input.connection_id).map(|signal| (signal, input))
    });
    match found {
        Ok((Signal::Connected(message), input)) => Outcome::from(relay(message.target, &input)),
        Ok(_) => unknown(call, state),
        Err(status) => Outcome::failed(status),
    }
}

/// A guest's message to a port. The receiver sees the port as the sender.
fn relay(target: Target, input: &PostMessage) -> Result<(), HvStatus> {
    let size = input.payload_size as usize;
    let payload = input.payload.get(..size).ok_or(HvStatus::INVALID_PARAMETER)?;
    if input.message_type.is_hypervisor() {
        return Err(HvStatus::INVALID_PARAMETER);
    }
    let message = Message::new(input.message_type, target.port.into_bits().into(), payload)
        .ok_or(HvStatus::INVALID_PARAMETER)?;
    deliver(target, |vp| vp.post_message(target.sint, &message))
}

/// Finds the VP that a port names, or the first one for ports that leave it open.
fn deliver(
    target: Target,
    action: impl FnOnce(&'static Vp) -> Result<(), HvStatus>,
) -> Result<(), HvStatus> {
    let partition = children::find(target.partition)?;
    let index = if target.vp == VpIndex::ANY { 0 } else { target.vp.0 };
    action(partition.vp(index).ok_or(HvStatus::INVALID_VP_INDEX)?)
}

/// Nothing here knows the connection: the parent does, if it has asked for such calls.
fn unknown(call: &Call, state: &mut State) -> Outcome {
    if !call.vp.partition.intercepts(InterceptType::UNKNOWN_SYNIC_CONNECTION) {
        return Outcome::failed(HvStatus::INVALID_CONNECTION_ID);
    }
    intercepts::raise_hypercall(call.lp, call.vp, state);
    // The instruction pointer stays at the instruction, which the parent completes.
    Outcome::Continue { reps: 0 }
}

fn find(id: PartitionId, index: VpIndex) -> Result<(children::InUse, &'static Vp), HvStatus> {
    let partition = children::find_child(id)?;
    let vp = partition.vp(index.0).ok_or(HvStatus::INVALID_VP_INDEX)?;
    Ok((partition, vp))
}

/// SIGNAL_EVENT_DIRECT. Whoever does not want to know whether the flag was clear gives 0 for the output's place.
pub fn signal_event_direct(call: &Call) -> Outcome {
    Outcome::from(call.input::<SignalEventDirect>().and_then(|input| {
        let (_partition, vp) = find(input.target_partition, input.target_vp)?;
        let newly = vp.signal_event(input.target_sint, input.flag_number)?;
        if call.form.output_gpa() == Some(Gpa(0)) {
            return Ok(());
        }
        call.output(&SignalEventDirectOutput { newly_signaled: newly.into(), reserved: [0; 7] })
    }))
}

/// POST_MESSAGE_DIRECT.
pub fn post_message_direct(call: &Call) -> Outcome {
    Outcome::from(call.input::<PostMessageDirect>().and_then(|input| {
        let (_partition, vp) = find(input.target_partition, input.target_vp)?;
        let message = Message::read_from_bytes(&input.message)
            .map_err(|_| HvStatus::INVALID_HYPERCALL_INPUT)?;
        vp.post_message(input.target_sint, &message)
    }))
}

/// Whether calls of a kind that the hypervisor does not serve are the parent's.
pub fn goes_to_parent(partition: &Partition, status: HvStatus) -> bool {
    status == HvStatus::INVALID_HYPERCALL_CODE && partition.intercepts(InterceptType::HYPERCALL)
}
