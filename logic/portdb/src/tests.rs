extern crate std;

use crate::{
    Connection, Connections, Doorbell, EventTarget, MessageTarget, Port, Ports, Signal, Slots,
    Target, Write, signal_gpa,
};
use hvdef::hypercall::synic::{
    ConnectPort, ConnectionInfo, CreatePort, DisconnectPort, DoorbellFlags, PortInfo, PortType,
};
use hvdef::id::ProximityDomain;
use hvdef::synic::{ConnectionId, PortId};
use hvdef::{Gpa, HvStatus, PartitionId, VpIndex};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

const ROOT: PartitionId = PartitionId(1);
const CHILD: PartitionId = PartitionId(7);
const NOWHERE: ProximityDomain = ProximityDomain { domain_id: 0, flags: 0 };

/// Storage that grows in pages, as deposits come.
struct Pages<T>(Vec<T>);

impl<T> Slots<T> for Pages<T> {
    fn capacity(&self) -> usize {
        self.0.len()
    }
    fn get(&self, index: usize) -> Option<&T> {
        self.0.get(index)
    }
    fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.0.get_mut(index)
    }
}

struct Fixture {
    ports: Ports<Pages<Port>>,
    connections: Connections<Pages<Connection>, Pages<Doorbell>>,
}

fn fixture() -> Fixture {
    Fixture {
        ports: Ports::new(Pages(vec![Port::EMPTY; 64]), 4095),
        connections: Connections::new(
            Pages(vec![Connection::EMPTY; 64]),
            Pages(vec![Doorbell::EMPTY; 64]),
        ),
    }
}

fn port(id: u32, port_type: PortType) -> CreatePort {
    let event = port_type == PortType::EVENT;
    CreatePort {
        port_partition_id: PartitionId::SELF,
        port_id: PortId::from_bits(id),
        port_vtl: 0,
        min_connection_vtl: 0,
        padding: 0,
        connection_partition_id: CHILD,
        port_info: PortInfo {
            port_type,
            padding: 0,
            target_sint: if port_type == PortType::DOORBELL { 5 } else { 2 },
            target_vp: if event { VpIndex(3) } else { VpIndex::ANY },
            base_flag_number: if event { 100 } else { 0 },
            flag_count: if event { 10 } else { 0 },
            reserved: 0,
        },
        proximity: NOWHERE,
    }
}

fn connect(
    id: u32,
    port: u32,
    port_type: PortType,
    gpa: u64,
    value: u64,
    flags: u64,
) -> ConnectPort {
    ConnectPort {
        connection_partition_id: CHILD,
        connection_id: ConnectionId::from_bits(id),
        connection_vtl: 0,
        reserved_13: [0; 3],
        port_partition_id: ROOT,
        port_id: PortId::from_bits(port),
        reserved_28: 0,
        connection_info: ConnectionInfo {
            port_type,
            padding: 0,
            gpa,
            trigger_value: value,
            flags: DoorbellFlags::from_bits(flags),
        },
        proximity: NOWHERE,
    }
}

impl Fixture {
    fn create(&mut self, input: &CreatePort) -> Result<(), HvStatus> {
        self.ports.create(input, ROOT, true, CHILD)
    }

    fn connect(&mut self, input: &ConnectPort) -> Result<(), HvStatus> {
        let port =
            self.ports.for_connection(input.port_id, input.connection_info.port_type, CHILD)?;
        self.connections.connect(input, port)
    }

    /// As Linux does it for an ioeventfd: one id for the port and the connection.
    fn doorbell(&mut self, id: u32, gpa: u64, value: u64, flags: u64) -> Result<(), HvStatus> {
        self.create(&port(id, PortType::DOORBELL))?;
        self.connect(&connect(id, id, PortType::DOORBELL, gpa, value, flags))
    }

    fn disconnect(&mut self, id: u32, is_doorbell: u32) -> Result<(), HvStatus> {
        let connection_id = ConnectionId::from_bits(id);
        self.connections.disconnect(&DisconnectPort {
            connection_partition_id: CHILD,
            connection_id,
            is_doorbell,
        })
    }

    fn write(&self, gpa: u64, bytes: u8, value: u64) -> Option<u32> {
        self.connections
            .doorbells()
            .find(Write { gpa: Gpa(gpa), bytes, value })
            .map(|found| found.target.port.id())
    }
}

const ANY: u64 = 0x8000_0000;

#[test]
fn a_doorbell_rings_for_its_write_and_for_no_other() {
    let mut f = fixture();
    f.doorbell(1, 0xE000_0000, 0, ANY).unwrap();
    f.doorbell(2, 0xE000_1002, 0x1_0005, 2).unwrap();
    assert_eq!(f.write(0xE000_0000, 4, 99), Some(1));
    assert_eq!(f.write(0xE000_0000, 1, 0), Some(1));
    assert_eq!(f.write(0xE000_0001, 1, 0), None);
    assert_eq!(f.write(0xE000_1002, 2, 0xABCD_0005), Some(2), "two bytes of each value count");
    assert_eq!(f.write(0xE000_1002, 2, 6), None);
    assert_eq!(f.write(0xE000_1002, 4, 5), None);
    let found = f
        .connections
        .doorbells()
        .find(Write { gpa: Gpa(0xE000_0000), bytes: 4, value: 0 })
        .unwrap();
    let target = Target { partition: ROOT, port: PortId::from_bits(1), vp: VpIndex::ANY, sint: 5 };
    assert_eq!((found.id, found.target), (ConnectionId::from_bits(1), target));
}

#[test]
fn doorbells_share_an_address_and_the_most_exact_one_rings() {
    let mut f = fixture();
    f.doorbell(1, 0x1000, 0, ANY).unwrap();
    f.doorbell(2, 0x1000, 7, 0).unwrap();
    f.doorbell(3, 0x1000, 0, ANY | 3).unwrap();
    f.doorbell(4, 0x1000, 7, 3).unwrap();
    assert_eq!(f.write(0x1000, 4, 7), Some(4));
    assert_eq!(f.write(0x1000, 4, 8), Some(3));
    assert_eq!(f.write(0x1000, 2, 7), Some(2));
    assert_eq!(f.write(0x1000, 2, 8), Some(1));
    assert_eq!(
        f.doorbell(5, 0x1000, 1 << 40 | 7, 3),
        Err(HvStatus::OBJECT_IN_USE),
        "the same four bytes"
    );
    f.disconnect(4, 1).unwrap();
    assert_eq!(f.write(0x1000, 4, 7), Some(3));
}

proptest! {
    #[test]
    fn the_doorbell_that_rings_is_the_first_of_four_kinds(
        bells in proptest::collection::vec((0u64..3, 0u8..5, any::<bool>(), 0u64..3), 0..12),
        gpa in 0u64..4, size in 1u8..5, value in 0u64..3, high in any::<bool>(),
    ) {
        let mut f = fixture();
        let mut there = BTreeMap::new();
        for (id, &(gpa, size, any, value)) in (1..).zip(&bells) {
            let flags = u64::from(size) | if any { ANY } else { 0 };
            if f.doorbell(id, gpa, value, flags).is_ok() {
                there.insert((gpa, size, (!any).then_some(value)), id);
            }
        }
        let bytes = 1 << (size - 1);
        // Bits beyond the size do not count.
        let written = if high && size < 4 { value | 1 << 40 } else { value };
        let kinds = [(size, Some(value)), (size, None), (0, Some(value)), (0, None)];
        let expected = kinds.into_iter().find_map(|(size, value)| there.get(&(gpa, size, value)));
        prop_assert_eq!(f.write(gpa, bytes, written), expected.copied());
    }
}

#[test]
fn a_signal_that_no_port_serves_rings_the_doorbell_of_its_connection() {
    let mut f = fixture();
    assert_eq!(signal_gpa(ConnectionId::from_bits(0x2001)), Gpa(0x000F_FFFF_F001_0008));
    f.doorbell(9, signal_gpa(ConnectionId::from_bits(0x2001)).0, 0, ANY).unwrap();
    f.doorbell(10, signal_gpa(ConnectionId::from_bits(0x2002)).0, 3, 4).unwrap();
    let signal =
        |f: &Fixture, id, flag| f.connections.signal(ConnectionId::from_bits(id), flag).unwrap();
    let rings = |signal| if let Signal::Doorbell(target) = signal { target.port.id() } else { 0 };
    assert_eq!(rings(signal(&f, 0x2001, 0)), 9);
    assert_eq!(rings(signal(&f, 0x2001, 77)), 9);
    assert_eq!(rings(signal(&f, 0x2002, 3)), 10);
    assert_eq!(signal(&f, 0x2002, 0), Signal::Unknown);
    assert_eq!(signal(&f, 0x2003, 0), Signal::Unknown);
    assert_eq!(signal(&f, 0x0100_2001, 0), Signal::Unknown, "ids have 24 bits");
    // A real connection goes first.
    f.create(&port(11, PortType::EVENT)).unwrap();
    f.connect(&connect(0x2001, 11, PortType::EVENT, 0, 0, 0)).unwrap();
    assert!(matches!(signal(&f, 0x2001, 0), Signal::Connected(_)));
}

#[test]
fn the_window_of_signals_lies_above_memory_and_below_the_end_of_addresses() {
    let last = signal_gpa(ConnectionId::from_bits(0x00FF_FFFF));
    assert!(signal_gpa(ConnectionId::new()).0 >= 1 << 48);
    assert!(last.0 + 8 <= 1 << 52);
    let mut f = fixture();
    f.doorbell(1, last.0, 0, ANY).unwrap();
    assert_eq!(f.doorbell(2, 1 << 52, 0, ANY), Err(HvStatus::INVALID_PARAMETER));
}

#[test]
fn events_go_to_the_ports_flags() {
    let mut f = fixture();
    f.create(&port(5, PortType::EVENT)).unwrap();
    f.connect(&connect(8, 5, PortType::EVENT, 0, 0, 0)).unwrap();
    let target = Target { partition: ROOT, port: PortId::from_bits(5), vp: VpIndex(3), sint: 2 };
    let signal = |flag| f.connections.signal(ConnectionId::from_bits(8), flag);
    assert_eq!(signal(9), Ok(Signal::Connected(EventTarget { target, flag: 109 })));
    assert_eq!(signal(10), Err(HvStatus::INVALID_PARAMETER));
    assert_eq!(
        f.connections.post(ConnectionId::from_bits(8)),
        Err(HvStatus::INVALID_CONNECTION_ID)
    );
}

#[test]
fn messages_go_to_the_ports_sint() {
    let mut f = fixture();
    f.create(&port(6, PortType::MESSAGE)).unwrap();
    f.connect(&connect(4, 6, PortType::MESSAGE, 0, 0, 0)).unwrap();
    let target = Target { partition: ROOT, port: PortId::from_bits(6), vp: VpIndex::ANY, sint: 2 };
    assert_eq!(
        f.connections.post(ConnectionId::from_bits(4)),
        Ok(Signal::Connected(MessageTarget { target }))
    );
    assert_eq!(f.connections.post(ConnectionId::from_bits(1)), Ok(Signal::Unknown));
    assert_eq!(
        f.connections.signal(ConnectionId::from_bits(4), 0),
        Err(HvStatus::INVALID_CONNECTION_ID)
    );
}

#[test]
fn ids_of_doorbells_and_of_other_connections_do_not_meet() {
    let mut f = fixture();
    f.doorbell(4, 0x1000, 0, ANY).unwrap();
    f.create(&port(6, PortType::MESSAGE)).unwrap();
    f.connect(&connect(4, 6, PortType::MESSAGE, 0, 0, 0)).unwrap();
    f.disconnect(4, 0).unwrap();
    assert_eq!(f.connections.post(ConnectionId::from_bits(4)), Ok(Signal::Unknown));
    assert_eq!(f.write(0x1000, 1, 0), Some(4));
    assert_eq!(f.disconnect(4, 0), Err(HvStatus::INVALID_CONNECTION_ID));
    f.disconnect(4, 1).unwrap();
    assert_eq!(f.disconnect(4, 1), Err(HvStatus::INVALID_CONNECTION_ID));
    assert!(f.connections.is_empty());
}

#[test]
fn a_deleted_port_takes_its_doorbells_with_it_and_leaves_its_connections_dead() {
    let mut f = fixture();
    f.doorbell(1, 0x1000, 0, ANY).unwrap();
    f.create(&port(2, PortType::MESSAGE)).unwrap();
    f.connect(&connect(4, 2, PortType::MESSAGE, 0, 0, 0)).unwrap();
    for id in [1, 2] {
        let gone = f.ports.delete(PortId::from_bits(id)).unwrap();
        assert_eq!(gone.connection_partition, CHILD);
        f.connections.sever(ROOT, gone.target.port);
    }
    assert_eq!(f.write(0x1000, 1, 0), None);
    assert_eq!(f.connections.post(ConnectionId::from_bits(4)), Err(HvStatus::INVALID_PORT_ID));
    assert_eq!(f.ports.delete(PortId::from_bits(1)), Err(HvStatus::INVALID_PORT_ID));
    // Its id may be used again without waking the dead connection.
    f.create(&port(2, PortType::MESSAGE)).unwrap();
    assert_eq!(f.connections.post(ConnectionId::from_bits(4)), Err(HvStatus::INVALID_PORT_ID));
    f.disconnect(4, 0).unwrap();
}

#[test]
fn full_tables_ask_for_memory_and_grow() {
    let mut f = fixture();
    f.ports = Ports::new(Pages(vec![Port::EMPTY; 1]), 4095);
    f.connections = Connections::new(Pages(vec![]), Pages(vec![Doorbell::EMPTY; 1]));
    f.doorbell(1, 0x1000, 0, ANY).unwrap();
    assert_eq!(f.create(&port(2, PortType::DOORBELL)), Err(HvStatus::INSUFFICIENT_MEMORY));
    f.ports.slots_mut().0.push(Port::EMPTY);
    f.create(&port(2, PortType::DOORBELL)).unwrap();
    let second = connect(2, 2, PortType::DOORBELL, 0x2000, 0, ANY);
    assert_eq!(f.connect(&second), Err(HvStatus::INSUFFICIENT_MEMORY));
    f.connections.doorbell_slots_mut().0.push(Doorbell::EMPTY);
    f.connect(&second).unwrap();
    assert_eq!((f.write(0x1000, 1, 0), f.write(0x2000, 1, 0)), (Some(1), Some(2)));
    f.ports.slots_mut().0.push(Port::EMPTY);
    f.create(&port(3, PortType::MESSAGE)).unwrap();
    assert_eq!(
        f.connect(&connect(4, 3, PortType::MESSAGE, 0, 0, 0)),
        Err(HvStatus::INSUFFICIENT_MEMORY)
    );
}

#[test]
fn what_no_memory_can_cure_gets_another_answer() {
    let mut f = fixture();
    f.ports = Ports::new(Pages(vec![]), 4095);
    assert_eq!(f.create(&port(0, PortType::MESSAGE)), Err(HvStatus::INVALID_PORT_ID));
    assert_eq!(f.create(&port(4096, PortType::MESSAGE)), Err(HvStatus::INVALID_PORT_ID));
    assert_eq!(f.create(&port(1, PortType::MONITOR)), Err(HvStatus::FEATURE_UNAVAILABLE));
    assert_eq!(f.create(&port(1, PortType(9))), Err(HvStatus::INVALID_PARAMETER));
}

#[test]
fn wrong_ports_and_connections_are_refused() {
    let mut f = fixture();
    let mut input = port(1, PortType::EVENT);
    input.port_info.target_sint = 16;
    assert_eq!(f.create(&input), Err(HvStatus::INVALID_PARAMETER));
    input.port_info.target_sint = 2;
    input.port_info.target_vp = VpIndex::ANY;
    assert_eq!(f.create(&input), Err(HvStatus::INVALID_VP_INDEX));
    input.port_info.target_vp = VpIndex(256);
    assert_eq!(f.create(&input), Err(HvStatus::INVALID_VP_INDEX));
    input.port_info.target_vp = VpIndex(0);
    input.port_info.base_flag_number = 2039;
    assert_eq!(f.create(&input), Err(HvStatus::INVALID_PARAMETER));
    input.port_info.base_flag_number = 2038;
    f.create(&input).unwrap();
    assert_eq!(f.create(&input), Err(HvStatus::INVALID_PORT_ID), "in use");
    let doorbell = port(2, PortType::DOORBELL);
    assert_eq!(f.ports.create(&doorbell, CHILD, false, ROOT), Err(HvStatus::ACCESS_DENIED));
    let refused = |connector, port_type| {
        f.ports.for_connection(PortId::from_bits(1), port_type, connector).map(|_| ())
    };
    assert_eq!(refused(PartitionId(8), PortType::EVENT), Err(HvStatus::ACCESS_DENIED));
    assert_eq!(refused(CHILD, PortType::MESSAGE), Err(HvStatus::INVALID_PARAMETER));
    let connection = |id| connect(id, 1, PortType::EVENT, 0, 0, 0);
    assert_eq!(f.connect(&connection(0)), Err(HvStatus::INVALID_CONNECTION_ID));
    assert_eq!(f.connect(&connection(1 << 24)), Err(HvStatus::INVALID_CONNECTION_ID));
    f.connect(&connection(1)).unwrap();
    assert_eq!(f.connect(&connection(1)), Err(HvStatus::INVALID_CONNECTION_ID), "in use");
    assert_eq!(f.doorbell(3, 0, 0, 5), Err(HvStatus::INVALID_PARAMETER), "no such size");
    f.ports.delete(PortId::from_bits(3)).unwrap();
    assert_eq!(f.doorbell(3, 0, 0, 8), Err(HvStatus::INVALID_PARAMETER), "no such flag");
}

#[test]
fn a_partition_that_goes_leaves_nothing() {
    let mut f = fixture();
    f.doorbell(1, 0x1000, 0, ANY).unwrap();
    f.create(&port(2, PortType::EVENT)).unwrap();
    f.connect(&connect(8, 2, PortType::EVENT, 0, 0, 0)).unwrap();
    f.connections.clear();
    assert!(f.connections.is_empty());
    assert_eq!(f.connections.signal(ConnectionId::from_bits(8), 0), Ok(Signal::Unknown));
    let mut gone = 0;
    while let Some(port) = f.ports.pop() {
        assert_eq!(port.connection_partition, CHILD);
        gone += 1;
    }
    assert_eq!(gone, 2);
    assert!(f.ports.is_empty());
}

proptest! {
    #[test]
    fn doorbells_agree_with_a_list(
        ops in proptest::collection::vec((any::<bool>(), 1u32..20, 0u64..4, 0u64..3, 0u64..5, any::<bool>()), 1..80),
        writes in proptest::collection::vec((0u64..4, 0u32..4, 0u64..3), 40),
    ) {
        let mut f = fixture();
        let mut model: BTreeMap<u32, (u64, u8, Option<u64>)> = BTreeMap::new();
        for id in 1..20 {
            f.create(&port(id, PortType::DOORBELL)).unwrap();
        }
        for (add, id, gpa, value, size, any) in ops {
            if add {
                let flags = size | if any { ANY } else { 0 };
                let bytes = if size == 0 { 0 } else { 1 << (size - 1) };
                let trigger = (gpa, bytes, (!any).then_some(value));
                let expected = if model.contains_key(&id) {
                    Err(HvStatus::INVALID_CONNECTION_ID)
                } else if model.values().any(|&other| other == trigger) {
                    Err(HvStatus::OBJECT_IN_USE)
                } else {
                    model.insert(id, trigger);
                    Ok(())
                };
                let input = connect(id, id, PortType::DOORBELL, gpa, value, flags);
                prop_assert_eq!(f.connect(&input), expected);
            } else {
                prop_assert_eq!(f.disconnect(id, 1).is_ok(), model.remove(&id).is_some());
            }
        }
        prop_assert_eq!(f.connections.len(), model.len());
        for (gpa, shift, value) in writes {
            let bytes = 1u8 << shift;
            let matches = |&(at, size, wanted): &(u64, u8, Option<u64>)| {
                at == gpa && (size == 0 || size == bytes) && wanted.is_none_or(|wanted| wanted == value)
            };
            let best = model.iter().filter(|(_, trigger)| matches(trigger)).max_by_key(|(_, (_, size, value))| {
                (*size != 0, value.is_some())
            });
            prop_assert_eq!(f.write(gpa, bytes, value), best.map(|(&id, _)| id));
        }
    }
}
