//! Ports: who receives.

use crate::sorted::{Entry, Slots, Sorted};
use hvdef::hypercall::synic::{CreatePort, PortType};
use hvdef::synic::PortId;
use hvdef::{HvStatus, PartitionId, VpIndex};

/// Bits of an id.
pub(crate) const ID_MASK: u32 = 0x00FF_FFFF;
/// SINTs of a VP.
const SINTS: u32 = 16;
/// Event flags of a SINT.
const FLAGS: u32 = 2048;
/// Most VPs of a partition.
const MAX_VPS: u32 = 256;

/// Where in its partition a port's arrivals go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    /// Whose port.
    pub partition: PartitionId,
    /// The port.
    pub port: PortId,
    /// The VP; [`VpIndex::ANY`] leaves it to the hypervisor. Whether it exists (still) is looked up on delivery.
    pub vp: VpIndex,
    /// The SINT, 0 to 15.
    pub sint: u8,
}

/// One port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Port {
    /// Kind.
    pub port_type: PortType,
    /// The partition that may connect.
    pub connection_partition: PartitionId,
    /// Where it goes.
    pub target: Target,
    /// Of an event port: first flag.
    pub base_flag: u16,
    /// Of an event port: number of flags.
    pub flag_count: u16,
}

impl Port {
    /// Fills storage that was not used yet.
    pub const EMPTY: Self = Self {
        port_type: PortType(0),
        connection_partition: PartitionId::INVALID,
        target: Target {
            partition: PartitionId::INVALID,
            port: PortId::new(),
            vp: VpIndex::ANY,
            sint: 0,
        },
        base_flag: 0,
        flag_count: 0,
    };
}

impl Entry for Port {
    type Key = u32;
    fn key(&self) -> u32 {
        self.target.port.into_bits()
    }
}

/// The ports of one partition.
#[derive(Debug)]
pub struct Ports<S> {
    ports: Sorted<S>,
    max_id: u32,
}

impl<S: Slots<Port>> Ports<S> {
    /// No ports yet. Ids go up to `max_id`: of doorbell ports no higher ones than the event ring can remember.
    pub const fn new(slots: S, max_id: u32) -> Self {
        Self { ports: Sorted::new(slots), max_id }
    }

    /// The storage, to let it grow.
    pub const fn slots_mut(&mut self) -> &mut S {
        self.ports.slots_mut()
    }

    /// How many ports there are.
    pub const fn len(&self) -> usize {
        self.ports.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// CREATE_PORT in the partition `owner`, which the caller has looked up, for the partition `connector`, likewise
    /// (so that neither is `self` any more). `owner_is_root`: only the root has doorbells.
    ///
    /// INVALID_PORT_ID: out of range, or in use. INVALID_VP_INDEX: no VP can have that index, or an event port does not
    /// name one. FEATURE_UNAVAILABLE: a monitor port. INVALID_PARAMETER: anything else that is wrong.
    pub fn create(
        &mut self,
        input: &CreatePort,
        owner: PartitionId,
        owner_is_root: bool,
        connector: PartitionId,
    ) -> Result<(), HvStatus> {
        let id = input.port_id.into_bits();
        if id == 0 || id > self.max_id.min(ID_MASK) {
            return Err(HvStatus::INVALID_PORT_ID);
        }
        if input.port_vtl != 0 || input.min_connection_vtl != 0 {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        let port = decode(input, owner, connector)?;
        if port.port_type == PortType::DOORBELL && !owner_is_root {
            return Err(HvStatus::ACCESS_DENIED);
        }
        self.ports.insert(port, HvStatus::INVALID_PORT_ID)
    }

    /// DELETE_PORT. The caller now severs the connections of [`Port::connection_partition`]. INVALID_PORT_ID: not there.
    pub fn delete(&mut self, id: PortId) -> Result<Port, HvStatus> {
        self.ports.remove(&id.into_bits()).ok_or(HvStatus::INVALID_PORT_ID)
    }

    /// Takes out some port, when the partition goes; to be severed likewise.
    pub fn pop(&mut self) -> Option<Port> {
        self.ports.pop()
    }

    /// The port with this id, if `connector` may connect to it as to one of this type.
    ///
    /// INVALID_PORT_ID: not there. ACCESS_DENIED: for another partition. INVALID_PARAMETER: of another type.
    pub fn for_connection(
        &self,
        id: PortId,
        port_type: PortType,
        connector: PartitionId,
    ) -> Result<&Port, HvStatus> {
        let port = self.ports.find::<Port>(&id.into_bits()).ok_or(HvStatus::INVALID_PORT_ID)?;
        if port.connection_partition != connector {
            return Err(HvStatus::ACCESS_DENIED);
        }
        if port.port_type != port_type {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        Ok(port)
    }
}

fn decode(
    input: &CreatePort,
    owner: PartitionId,
    connector: PartitionId,
) -> Result<Port, HvStatus> {
    let info = input.port_info;
    if info.target_sint >= SINTS {
        return Err(HvStatus::INVALID_PARAMETER);
    }
    let any = info.target_vp == VpIndex::ANY;
    if !any && info.target_vp.0 >= MAX_VPS {
        return Err(HvStatus::INVALID_VP_INDEX);
    }
    let flags = u32::from(info.base_flag_number) + u32::from(info.flag_count);
    match info.port_type {
        PortType::MESSAGE | PortType::DOORBELL => {}
        PortType::EVENT if any => return Err(HvStatus::INVALID_VP_INDEX),
        PortType::EVENT if info.flag_count != 0 && flags <= FLAGS => {}
        PortType::MONITOR => return Err(HvStatus::FEATURE_UNAVAILABLE),
        _ => return Err(HvStatus::INVALID_PARAMETER),
    }
    let sint = info.target_sint as u8;
    Ok(Port {
        port_type: info.port_type,
        connection_partition: connector,
        target: Target { partition: owner, port: input.port_id, vp: info.target_vp, sint },
        base_flag: info.base_flag_number,
        flag_count: info.flag_count,
    })
}
