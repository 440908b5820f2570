//! A partition's ports, connections and doorbells, on pages of its own pool.

use crate::deposits::PagePool;
use crate::page_slots::PageSlots;
use crate::sync::SpinLock;
use hvdef::HvStatus;
use hvdef::hypercall::synic::{ConnectPort, CreatePort, PortType};
use hvdef::synic::PortId;
use portdb::{Connection, Connections, Doorbell, Port, Ports};

/// Most pages of each table: some 1,600 ports, 800 connections and 1,100 doorbells.
const PORT_PAGES: usize = 16;
const CONNECTION_PAGES: usize = 8;
const DOORBELL_PAGES: usize = 16;

/// Largest port id: what the event ring can remember while it is full.
const MAX_PORT_ID: u32 = crate::ring::CAPACITY - 1;

type PortTable = Ports<PageSlots<Port, PORT_PAGES>>;
type ConnectionTable =
    Connections<PageSlots<Connection, CONNECTION_PAGES>, PageSlots<Doorbell, DOORBELL_PAGES>>;

/// The tables of one partition. No lock is held while the other is taken.
pub struct PortBook {
    /// Where it receives.
    pub ports: SpinLock<PortTable>,
    /// Where it sends.
    pub connections: SpinLock<ConnectionTable>,
}

impl PortBook {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self {
            ports: SpinLock::new(Ports::new(PageSlots::new(Port::EMPTY), MAX_PORT_ID)),
            connections: SpinLock::new(Connections::new(
                PageSlots::new(Connection::EMPTY),
                PageSlots::new(Doorbell::EMPTY),
            )),
        }
    }

    /// Adds a port; the table takes a page out of `pool` when it is full.
    pub fn create(
        &self,
        pool: &SpinLock<PagePool>,
        input: &CreatePort,
        owner: (hvdef::PartitionId, bool),
        connector: hvdef::PartitionId,
    ) -> Result<(), HvStatus> {
        let mut ports = self.ports.lock();
        let done = ports.create(input, owner.0, owner.1, connector);
        if done != Err(HvStatus::INSUFFICIENT_MEMORY) {
            return done;
        }
        let page = pool.lock().get().ok_or(HvStatus::INSUFFICIENT_MEMORY)?;
        if !ports.slots_mut().grow(page) {
            pool.lock().put(page);
            return Err(HvStatus::NO_RESOURCES);
        }
        ports.create(input, owner.0, owner.1, connector)
    }

    /// Takes a port out. The pages of an empty table go back to `pool`.
    pub fn delete(&self, pool: &SpinLock<PagePool>, id: PortId) -> Result<Port, HvStatus> {
        let mut ports = self.ports.lock();
        let port = ports.delete(id)?;
        if ports.is_empty() {
            ports.slots_mut().shrink(&mut pool.lock());
        }
        Ok(port)
    }

    /// Adds a connection or doorbell; its table takes a page out of `pool` when it is full.
    pub fn connect(
        &self,
        pool: &SpinLock<PagePool>,
        input: &ConnectPort,
        port: &Port,
    ) -> Result<(), HvStatus> {
        let mut connections = self.connections.lock();
        let done = connections.connect(input, port);
        if done != Err(HvStatus::INSUFFICIENT_MEMORY) {
            return done;
        }
        let page = pool.lock().get().ok_or(HvStatus::INSUFFICIENT_MEMORY)?;
        let grown = if port.port_type == PortType::DOORBELL {
            connections.doorbell_slots_mut().grow(page)
        } else {
            connections.connection_slots_mut().grow(page)
        };
        if !grown {
            pool.lock().put(page);
            return Err(HvStatus::NO_RESOURCES);
        }
        connections.connect(input, port)
    }

    /// The partition goes: its connections end and the pages of its tables go back to `pool`. Ports come out one by one,
    /// for whoever ends what leads to them.
    pub fn clear(&self, pool: &SpinLock<PagePool>, mut port_gone: impl FnMut(Port)) {
        {
            let mut connections = self.connections.lock();
            connections.clear();
            let mut pool = pool.lock();
            connections.connection_slots_mut().shrink(&mut pool);
            connections.doorbell_slots_mut().shrink(&mut pool);
        }
        loop {
            let port = self.ports.lock().pop();
            let Some(port) = port else { break };
            port_gone(port);
        }
        self.ports.lock().slots_mut().shrink(&mut pool.lock());
    }
}
