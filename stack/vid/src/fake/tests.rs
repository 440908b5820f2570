use super::*;
use crate::{DeliveryType, Exit, RegisterName};
use std::thread;

/// A worker that answers every IN with 0x5A and stops at an OUT to port 0.
fn worker(partition: &FakePartition) -> thread::JoinHandle<Vec<u16>> {
    let mut vp = partition.create_vp(VpIndex(0)).unwrap();
    thread::spawn(move || {
        let mut seen = Vec::new();
        loop {
            let Exit::IoPort(io) = vp.run().unwrap() else { continue };
            seen.push(io.port);
            if io.is_write && io.port == 0 {
                return seen;
            }
            vp.resume_at(io.context.next_rip(), (!io.is_write).then_some(0x5A)).unwrap();
        }
    })
}

#[test]
fn a_guest_and_a_worker_take_turns() {
    let partition = FakePartition::new();
    let guest = partition.guest(VpIndex(0));
    let worker = worker(&partition);
    assert_eq!(guest.input(0x71, 1), Some(0x5A));
    assert!(guest.output(0x80, 1, 7));
    assert_eq!(guest.register(RegisterName::RIP).low, 2);
    assert!(!guest.output(0, 1, 0), "the worker has dropped the VP");
    assert_eq!(worker.join().unwrap(), [0x71, 0x80, 0]);
}

#[test]
fn irqfds_send_what_their_routes_say() {
    let partition = FakePartition::new();
    let event = EventFd::new(vmm_sys_util::eventfd::EFD_NONBLOCK).unwrap();
    partition.register_irqfd(&event, 4).unwrap();
    event.write(1).unwrap();
    assert_eq!(partition.take_interrupts(), [], "there is no route");
    let route = MsiRoute { gsi: 4, address: 0xFEE0_1000, data: 0x31 };
    partition.set_msi_routes(&[route]).unwrap();
    event.write(1).unwrap();
    let expected = InterruptRequest {
        delivery: DeliveryType::Fixed,
        level: false,
        logical: false,
        destination: 1,
        vector: 0x31,
    };
    assert_eq!(partition.take_interrupts(), [expected]);
    assert_eq!(partition.take_interrupts(), []);
}

#[test]
fn a_refusal_hits_one_call() {
    let partition = FakePartition::new();
    partition.refuse_next(HvStatus::ACCESS_DENIED);
    let error = partition.set_property(PartitionProperty::TIME_FREEZE, 1).unwrap_err();
    assert_eq!(error.status(), Some(HvStatus::ACCESS_DENIED));
    partition.set_property(PartitionProperty::TIME_FREEZE, 1).unwrap();
    assert_eq!(partition.property(PartitionProperty::TIME_FREEZE).unwrap(), 1);
}

#[test]
fn doorbells_ring() {
    let partition = FakePartition::new();
    let event = EventFd::new(vmm_sys_util::eventfd::EFD_NONBLOCK).unwrap();
    partition.register_doorbell(&event, Gpa(0x1000)).unwrap();
    assert!(partition.ring(Gpa(0x1000)) && !partition.ring(Gpa(0x2000)));
    assert_eq!(event.read().unwrap(), 1);
    partition.unregister_doorbell(&event, Gpa(0x1000)).unwrap();
    assert!(!partition.ring(Gpa(0x1000)));
}
