//! Connections: who sends, and where to.

use crate::doorbell::{Doorbell, Doorbells};
use crate::port::{ID_MASK, Port, Target};
use crate::sorted::{Entry, Slots, Sorted};
use hvdef::hypercall::synic::{ConnectPort, DisconnectPort, PortType};
use hvdef::synic::{ConnectionId, PortId};
use hvdef::{HvStatus, PartitionId};

/// One connection for messages or events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connection {
    id: ConnectionId,
    port_type: PortType,
    target: Target,
    base_flag: u16,
    flag_count: u16,
    /// The port is gone.
    severed: bool,
}

impl Connection {
    /// Fills storage that was not used yet.
    pub const EMPTY: Self = Self {
        id: ConnectionId::new(),
        port_type: PortType(0),
        target: Port::EMPTY.target,
        base_flag: 0,
        flag_count: 0,
        severed: true,
    };
}

impl Entry for Connection {
    type Key = u32;
    fn key(&self) -> u32 {
        self.id.into_bits()
    }
}

/// An event flag to be set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventTarget {
    /// Where.
    pub target: Target,
    /// The flag in the SINT's area, 0 to 2047.
    pub flag: u16,
}

/// A message to be delivered. The receiver sees the port's id as the sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MessageTarget {
    /// Where.
    pub target: Target,
}

/// What a SIGNAL_EVENT or POST_MESSAGE comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal<T> {
    /// A connection leads here.
    Connected(T),
    /// A doorbell stands for the connection: put the port's id into an event ring.
    Doorbell(Target),
    /// Nothing here knows the connection: an intercept if the parent has asked for those, or INVALID_CONNECTION_ID.
    Unknown,
}

/// The connections and doorbells of one partition.
#[derive(Debug)]
pub struct Connections<C, D> {
    connections: Sorted<C>,
    doorbells: Doorbells<D>,
}

impl<C: Slots<Connection>, D: Slots<Doorbell>> Connections<C, D> {
    /// No connections yet.
    pub const fn new(connections: C, doorbells: D) -> Self {
        Self { connections: Sorted::new(connections), doorbells: Doorbells::new(doorbells) }
    }

    /// The doorbells, to find the one that a write rings.
    pub const fn doorbells(&self) -> &Doorbells<D> {
        &self.doorbells
    }

    /// The storage of the connections, to let it grow.
    pub const fn connection_slots_mut(&mut self) -> &mut C {
        self.connections.slots_mut()
    }

    /// The storage of the doorbells, to let it grow.
    pub const fn doorbell_slots_mut(&mut self) -> &mut D {
        self.doorbells.slots_mut()
    }

    /// Connections and doorbells there are.
    pub const fn len(&self) -> usize {
        self.connections.len() + self.doorbells.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// CONNECT_PORT to `port`, which [`Ports::for_connection`](crate::Ports::for_connection) gave. On
    /// INSUFFICIENT_MEMORY it is the storage for [`Port::port_type`]'s kind that is full.
    ///
    /// INVALID_CONNECTION_ID: out of range, or in use. OBJECT_IN_USE: another doorbell has the same trigger.
    /// INVALID_PARAMETER: anything else that is wrong.
    pub fn connect(&mut self, input: &ConnectPort, port: &Port) -> Result<(), HvStatus> {
        let id = input.connection_id;
        if id.into_bits() == 0 || id.into_bits() & !ID_MASK != 0 {
            return Err(HvStatus::INVALID_CONNECTION_ID);
        }
        if input.connection_vtl != 0 {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        if port.port_type == PortType::DOORBELL {
            return self.doorbells.connect(id, &input.connection_info, port.target);
        }
        let connection = Connection {
            id,
            port_type: port.port_type,
            target: port.target,
            base_flag: port.base_flag,
            flag_count: port.flag_count,
            severed: false,
        };
        self.connections.insert(connection, HvStatus::INVALID_CONNECTION_ID)
    }

    /// DISCONNECT_PORT. INVALID_CONNECTION_ID: not there.
    pub fn disconnect(&mut self, input: &DisconnectPort) -> Result<(), HvStatus> {
        if input.is_doorbell & 1 != 0 {
            return self.doorbells.disconnect(input.connection_id);
        }
        let gone: Option<Connection> = self.connections.remove(&input.connection_id.into_bits());
        gone.map(|_| ()).ok_or(HvStatus::INVALID_CONNECTION_ID)
    }

    /// A port is gone: its doorbells go, its connections stay and answer INVALID_PORT_ID.
    pub fn sever(&mut self, partition: PartitionId, port: PortId) {
        self.doorbells.sever(partition, port);
        self.connections.retain(|connection: &mut Connection| {
            connection.severed |=
                (connection.target.partition, connection.target.port) == (partition, port);
            true
        });
    }

    /// The partition goes.
    pub fn clear(&mut self) {
        self.doorbells.clear();
        self.connections.retain(|_: &mut Connection| false);
    }

    /// SIGNAL_EVENT. INVALID_PORT_ID: the port is gone. INVALID_CONNECTION_ID: a connection for messages.
    /// INVALID_PARAMETER: the port has no such flag.
    #[inline]
    pub fn signal(&self, id: ConnectionId, flag: u16) -> Result<Signal<EventTarget>, HvStatus> {
        let Some(connection) = self.connections.find::<Connection>(&id.into_bits()) else {
            let doorbell = self.doorbells.find_signal(id, flag);
            return Ok(
                doorbell.map_or(Signal::Unknown, |doorbell| Signal::Doorbell(doorbell.target))
            );
        };
        connection.check(PortType::EVENT)?;
        if flag >= connection.flag_count {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        let flag = connection.base_flag.saturating_add(flag);
        Ok(Signal::Connected(EventTarget { target: connection.target, flag }))
    }

    /// POST_MESSAGE. INVALID_PORT_ID: the port is gone. INVALID_CONNECTION_ID: a connection for events.
    pub fn post(&self, id: ConnectionId) -> Result<Signal<MessageTarget>, HvStatus> {
        let Some(connection) = self.connections.find::<Connection>(&id.into_bits()) else {
            return Ok(Signal::Unknown);
        };
        connection.check(PortType::MESSAGE)?;
        Ok(Signal::Connected(MessageTarget { target: connection.target }))
    }
}

impl Connection {
    fn check(&self, port_type: PortType) -> Result<(), HvStatus> {
        if self.port_type != port_type {
            return Err(HvStatus::INVALID_CONNECTION_ID);
        }
        if self.severed { Err(HvStatus::INVALID_PORT_ID) } else { Ok(()) }
    }
}
