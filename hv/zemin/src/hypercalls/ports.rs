//! Ports and connections: CREATE_PORT to DELETE_PORT, and the ring that doorbells fill.

use super::Call;
use crate::children::{self, InUse};
use crate::partition::{Partition, Stage};
use crate::ring;
use hvdef::hypercall::synic::{
    ConnectPort, CreatePort, DeletePort, DisconnectPort, NotifyPortRingEmpty, PortType,
};
use hvdef::{HvStatus, PartitionId};
use hypercall::Outcome;
use portdb::Port;

/// A partition that may have ports and connections. They lie in its pool until FINALIZE_PARTITION, which gives them back: it
/// waits for calls that found the partition active, and none comes after it.
fn active(id: PartitionId) -> Result<InUse, HvStatus> {
    let partition = children::find(id)?;
    if !partition.is_root && partition.stage() != Stage::Active {
        return Err(HvStatus::INVALID_PARTITION_STATE);
    }
    Ok(partition)
}

/// CREATE_PORT.
///
/// The parent has doorbells only, on the SINT that its driver listens to: nothing else it could receive has a reader.
pub fn create(call: &Call) -> Outcome {
    Outcome::from(call.input::<CreatePort>().and_then(|input| {
        let owner = active(input.port_partition_id)?;
        let connector = active(input.connection_partition_id)?;
        let is_doorbell = input.port_info.port_type == PortType::DOORBELL;
        let sint_fits = input.port_info.target_sint == u32::from(ring::SINT);
        if owner.is_root && !(is_doorbell && sint_fits) {
            return Err(HvStatus::FEATURE_UNAVAILABLE);
        }
        let who = (owner.id, owner.is_root);
        owner.port_book.create(&owner.pool, &input, who, connector.id)
    }))
}

/// CONNECT_PORT.
pub fn connect(call: &Call) -> Outcome {
    Outcome::from(call.input::<ConnectPort>().and_then(|input| {
        let connector = active(input.connection_partition_id)?;
        let owner = active(input.port_partition_id)?;
        let kind = input.connection_info.port_type;
        let port =
            *owner.port_book.ports.lock().for_connection(input.port_id, kind, connector.id)?;
        connector.port_book.connect(&connector.pool, &input, &port)
    }))
}

/// DISCONNECT_PORT.
pub fn disconnect(call: &Call) -> Outcome {
    Outcome::from(call.input::<DisconnectPort>().and_then(|input| {
        let connector = children::find(input.connection_partition_id)?;
        connector.port_book.connections.lock().disconnect(&input)
    }))
}

/// DELETE_PORT.
pub fn delete(call: &Call) -> Outcome {
    Outcome::from(call.input::<DeletePort>().and_then(|input| {
        let owner = children::find(input.port_partition_id)?;
        let port = owner.port_book.delete(&owner.pool, input.port_id)?;
        sever(&owner, &port);
        Ok(())
    }))
}

/// A port of `owner` is gone: what led to it leads nowhere.
pub fn sever(owner: &Partition, port: &Port) {
    if let Ok(connector) = children::find(port.connection_partition) {
        connector.port_book.connections.lock().sever(owner.id, port.target.port);
    }
}

/// NOTIFY_PORT_RING_EMPTY.
pub fn ring_empty(call: &Call) -> Outcome {
    Outcome::from(call.input::<NotifyPortRingEmpty>().and_then(|input| {
        if input.sint_index >= hvdef::msr::SINT_COUNT as u32 {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        if input.sint_index == u32::from(ring::SINT) {
            ring::emptied(call.lp);
        }
        Ok(())
    }))
}
