use super::*;
use crate::memory::{GuestMemory, Scatter};
use crate::packet::RangeError;
use crate::testing::GuestRings;
use proptest::prelude::*;
use std::collections::VecDeque;
use vm_memory::{GuestAddress, GuestMemoryMmap};

const BASE: u64 = 0x10000;

struct Fixture {
    memory: GuestMemory,
    guest: GuestRings,
    incoming: Incoming,
    outgoing: Outgoing,
}

fn fixture(pages: [u64; 2]) -> Fixture {
    let map = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x100000)]).unwrap();
    let memory = GuestMemory::new(&map);
    let guest = GuestRings::new(&map, BASE, pages);
    let first = BASE / 4096;
    let gpns: Vec<_> = (first..first + pages[0] + pages[1]).collect();
    let (to_host, to_guest) = gpns.split_at(pages[0] as usize);
    let incoming = Incoming::new(&memory, to_host, 1024).unwrap();
    let outgoing = Outgoing::new(&memory, to_guest).unwrap();
    Fixture { memory, guest, incoming, outgoing }
}

#[test]
fn a_packet_arrives_as_it_was_sent() {
    let mut f = fixture([2, 2]);
    assert_eq!(f.guest.send(6, 1, 77, &[], b"12345"), Some(true));
    let packet = f.incoming.receive().unwrap().unwrap();
    assert_eq!((packet.transaction_id(), packet.payload()), (77, &b"12345\0\0\0"[..]));
    assert!(packet.wants_completion() && packet.extension().is_empty());
    assert!(f.incoming.receive().unwrap().is_none());
    assert_eq!(f.guest.host_field(1), 0, "nothing is given back before it is released");
    assert!(!f.incoming.release());
    assert_eq!(f.guest.host_field(1), f.guest.host_field(0));
}

#[test]
fn the_guest_is_signalled_when_it_had_caught_up_and_not_when_masked() {
    let mut f = fixture([2, 2]);
    let send = |f: &mut Fixture| f.outgoing.send(&Packet::completion(1, &[5])).unwrap();
    assert!(send(&mut f) && send(&mut f));
    assert!(f.guest.receive().is_none(), "not before it is published");
    assert!(f.outgoing.publish());
    assert!(!f.outgoing.publish(), "nothing new");
    assert!(send(&mut f));
    assert!(!f.outgoing.publish(), "the guest has not read the first");
    for _ in 0..3 {
        assert_eq!(f.guest.receive().unwrap().0.payload, 5u64.to_le_bytes());
    }
    f.guest.set_guest_field(2, 1);
    assert!(send(&mut f));
    assert!(!f.outgoing.publish(), "masked");
}

#[test]
fn a_full_ring_asks_for_a_signal_and_gets_it_once() {
    let mut f = fixture([2, 2]);
    let payload = [9; 12];
    let packet = Packet::completion(1, &payload);
    let mut sent = 0;
    while f.outgoing.send(&packet).unwrap() {
        sent += 1;
    }
    assert_eq!(sent, 4095 / packet.size().unwrap());
    assert_eq!(f.guest.guest_field(3), packet.size().unwrap());
    f.outgoing.publish();
    let signals = (0..sent).filter(|_| f.guest.receive().unwrap().1).count();
    assert_eq!(signals, 1, "only the step from too little to enough");
    assert!(f.outgoing.is_waiting() && f.outgoing.send(&packet).unwrap());
    f.outgoing.stop_waiting();
    assert_eq!(f.guest.guest_field(3), 0);
}

#[test]
fn a_wish_for_room_counts_what_was_sent_and_not_announced_yet() {
    let mut f = fixture([2, 2]);
    let packet = Packet::completion(1, &[9; 12]);
    assert!(f.outgoing.send(&packet).unwrap() && f.outgoing.send(&packet).unwrap());
    assert!(f.outgoing.publish());
    let mut sent = 2;
    while f.outgoing.send(&packet).unwrap() {
        sent += 1;
    }
    // The guest reads before the device comes to announce them.
    let signals = (0..sent).filter(|_| f.guest.receive().unwrap().1).count();
    assert_eq!(signals, 1);
    assert!(!f.outgoing.publish(), "the guest had not caught up");
}

#[test]
fn what_a_wish_for_room_has_shown_is_announced() {
    let mut f = fixture([2, 2]);
    while f.outgoing.send(&Packet::completion(1, &[9; 12])).unwrap() {}
    assert!(f.outgoing.publish());
    assert!(!f.outgoing.publish());
}

#[test]
fn a_guest_that_waits_for_room_is_signalled_once() {
    let mut f = fixture([2, 2]);
    while f.guest.send(6, 0, 0, &[], &[0; 100]).is_some() {}
    f.guest.set_host_field(3, 1000);
    let mut signals = 0;
    while f.incoming.receive().unwrap().is_some() {
        signals += u32::from(f.incoming.release());
    }
    assert_eq!(signals, 1);
}

#[test]
fn unmasking_tells_of_what_came_in_the_meantime() {
    let mut f = fixture([2, 2]);
    f.incoming.mask();
    assert_eq!(f.guest.send(6, 0, 0, &[], &[]), Some(false));
    assert!(f.incoming.unmask().unwrap());
    f.incoming.receive().unwrap().unwrap();
    assert!(!f.incoming.unmask().unwrap());
    f.incoming.release();
    assert_eq!(f.guest.send(6, 0, 0, &[], &[]), Some(true));
}

#[test]
fn nonsense_in_a_ring_is_an_error_and_stays_one() {
    let descriptor = |offset: u16, length: u16| {
        let words = [6u16, offset, length, 0];
        words.iter().flat_map(|half| half.to_le_bytes()).chain([0; 8]).collect::<Vec<_>>()
    };
    type IsExpected = fn(&RingError) -> bool;
    let cases: [(u16, u16, IsExpected); 6] = [
        (2, 0, |error| matches!(error, RingError::Length { length: 0, .. })),
        (2, 1, |error| matches!(error, RingError::Length { length: 8, .. })),
        (2, 100, |error| matches!(error, RingError::Length { length: 800, .. })),
        (2, 0xFFFF, |error| matches!(error, RingError::Length { .. })),
        (1, 2, |error| matches!(error, RingError::Offset { offset: 8, .. })),
        (3, 2, |error| matches!(error, RingError::Offset { offset: 24, .. })),
    ];
    for (offset, length, is_expected) in cases {
        let mut f = fixture([2, 2]);
        f.guest.send_raw(&descriptor(offset, length));
        for _ in 0..2 {
            let error = f.incoming.receive().unwrap_err();
            assert!(is_expected(&error), "{offset} {length}: {error}");
        }
    }
}

#[test]
fn indices_out_of_range_are_errors() {
    for index in [4096, 4095, 12, 1, u32::MAX] {
        let mut f = fixture([2, 2]);
        f.guest.set_host_field(0, index);
        assert!(matches!(f.incoming.receive(), Err(RingError::Index { .. })), "{index}");
        assert!(f.incoming.unmask().is_err());
        f.guest.set_guest_field(1, index);
        let big = [0; 600];
        assert!(matches!(
            f.outgoing.send(&Packet::completion(0, &big)),
            Err(RingError::Index { .. })
        ));
    }
}

#[test]
fn a_packet_too_large_for_any_ring_is_not_taken() {
    let mut f = fixture([2, 40]);
    let payload = vec![0; 0x10000];
    assert_eq!(f.outgoing.send(&Packet::completion(0, &payload)), Ok(false));
    assert!(!f.outgoing.is_waiting());
}

#[test]
fn too_few_pages_are_no_ring() {
    let f = fixture([2, 2]);
    assert_eq!(Incoming::new(&f.memory, &[], 64).err(), Some(RingPagesError::Count(0)));
    assert_eq!(Outgoing::new(&f.memory, &[1]).err(), Some(RingPagesError::Count(1)));
    assert!(matches!(Outgoing::new(&f.memory, &[1, 1 << 40]), Err(RingPagesError::NotRam(_))));
}

fn direct(ranges: &[(u32, u32, &[u64])]) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.extend((ranges.len() as u32).to_le_bytes());
    for (count, offset, gpns) in ranges {
        bytes.extend(count.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        gpns.iter().for_each(|gpn| bytes.extend(gpn.to_le_bytes()));
    }
    bytes
}

#[test]
fn ranges_become_guest_memory() {
    let mut f = fixture([2, 2]);
    let mut buffer = Scatter::new(&f.memory, 8);
    f.guest.send(9, 0, 0, &direct(&[(5000, 100, &[4, 5]), (8, 4088, &[2])]), &[1]);
    f.incoming.receive().unwrap().unwrap().gather(&mut buffer).unwrap();
    assert_eq!(buffer.iovecs().iter().map(|run| run.iov_len).collect::<Vec<_>>(), [5000, 8]);
    f.guest.send(6, 0, 0, &[], &[1]);
    f.incoming.receive().unwrap().unwrap().gather(&mut buffer).unwrap();
    assert!(buffer.is_empty(), "in-band packets have no buffer");
}

#[test]
fn ranges_that_mean_no_memory_are_refused() {
    let mut f = fixture([2, 2]);
    let mut buffer = Scatter::new(&f.memory, 8);
    let mut too_many = vec![0; 4];
    too_many.extend(u32::MAX.to_le_bytes());
    let truncated = direct(&[(8192, 0, &[1])]);
    let cases = [
        (direct(&[(1, 4096, &[1])]), RangeError::Offset { count: 1, offset: 4096 }),
        (direct(&[(u32::MAX, 8, &[1])]), RangeError::Offset { count: u32::MAX, offset: 8 }),
        (direct(&[(8, 0, &[0x100])]), RangeError::NotRam(0x100)),
        (direct(&[(8, 0, &[u64::MAX])]), RangeError::NotRam(u64::MAX)),
        (direct(&[(0xFFFF_0000, 0, &[1])]), RangeError::Truncated),
        (truncated, RangeError::Truncated),
        (too_many, RangeError::TooMany(u32::MAX)),
    ];
    for (extension, expected) in cases {
        f.guest.send(9, 0, 0, &extension, &[]).unwrap();
        let packet = f.incoming.receive().unwrap().unwrap();
        assert_eq!(packet.gather(&mut buffer), Err(expected));
        assert!(buffer.is_empty());
        f.incoming.release();
    }
}

#[derive(Clone, Debug)]
enum Step {
    Send(usize),
    Receive(usize),
    Release,
    Publish,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0usize..900).prop_map(Step::Send),
        3 => (1usize..4).prop_map(Step::Receive),
        2 => Just(Step::Release),
        2 => Just(Step::Publish),
    ]
}

proptest! {
    /// Against a queue: nothing is lost, doubled, reordered or changed, around the end and back.
    #[test]
    fn the_ring_from_the_guest_is_a_queue(steps in prop::collection::vec(step(), 1..300), pages in 2u64..4) {
        let mut f = fixture([pages, 2]);
        let (mut model, mut id) = (VecDeque::new(), 0u64);
        for step in steps {
            match step {
                Step::Send(length) => {
                    let payload: Vec<u8> = (0..length).map(|i| (i as u64 + id) as u8).collect();
                    if f.guest.send(6, 0, id, &[], &payload).is_some() {
                        model.push_back((id, payload));
                    }
                    id += 1;
                }
                Step::Receive(count) => for _ in 0..count {
                    let expected = model.pop_front();
                    let packet = f.incoming.receive().unwrap();
                    let packet = packet.map(|p| (p.transaction_id(), p.payload()));
                    prop_assert_eq!(packet.map(|p| p.0), expected.as_ref().map(|p| p.0));
                    if let (Some((_, payload)), Some((_, bytes))) = (packet, expected) {
                        prop_assert_eq!(&payload[..bytes.len()], &bytes);
                        prop_assert_eq!(payload.len(), bytes.len().next_multiple_of(8));
                    }
                },
                Step::Release | Step::Publish => { f.incoming.release(); }
            }
        }
    }

    #[test]
    fn the_ring_to_the_guest_is_a_queue(steps in prop::collection::vec(step(), 1..300), pages in 2u64..4) {
        let mut f = fixture([2, pages]);
        let (mut hidden, mut model, mut id) = (VecDeque::new(), VecDeque::new(), 0u64);
        for step in steps {
            match step {
                Step::Send(length) => {
                    let payload: Vec<u64> = (0..length as u64 / 8).map(|i| i * id).collect();
                    if f.outgoing.send(&Packet::in_band(id, &payload)).unwrap() {
                        hidden.push_back((id, payload));
                    } else {
                        model.append(&mut hidden);
                    }
                    id += 1;
                }
                Step::Receive(count) => for _ in 0..count {
                    let received = f.guest.receive().map(|(packet, _)| packet);
                    let expected: Option<(u64, Vec<u64>)> = model.pop_front();
                    prop_assert_eq!(received.as_ref().map(|p| p.transaction_id), expected.as_ref().map(|p| p.0));
                    if let (Some(packet), Some((_, payload))) = (received, expected) {
                        let bytes: Vec<u8> = payload.iter().flat_map(|word| word.to_le_bytes()).collect();
                        prop_assert_eq!(packet.payload, bytes);
                    }
                },
                Step::Release | Step::Publish => {
                    f.outgoing.publish();
                    model.append(&mut hidden);
                }
            }
        }
    }

    /// Whatever lies in a ring and wherever its indices point, nothing panics and no packet is larger than accepted.
    #[test]
    fn hostile_rings_are_survived(
        fields in prop::collection::vec((0u64..4, prop_oneof![any::<u32>(), (0u32..1030).prop_map(|i| i * 8)]), 1..60),
        bytes in prop::collection::vec(any::<u16>(), 64),
    ) {
        let mut f = fixture([3, 3]);
        let raw: Vec<u8> = bytes.iter().flat_map(|half| (half % 80).to_le_bytes()).collect();
        while f.guest.send_raw(&raw).is_some() {}
        let mut buffer = Scatter::new(&f.memory, 8);
        for (index, value) in fields {
            f.guest.set_host_field(index, value);
            f.guest.set_guest_field(index, value);
            if let Ok(Some(packet)) = f.incoming.receive() {
                prop_assert!(packet.payload().len() <= 1024);
                let _ = packet.gather(&mut buffer);
            }
            f.incoming.release();
            let _ = f.incoming.unmask();
            let _ = f.outgoing.send(&Packet::completion(1, &[0; 8]));
            f.outgoing.publish();
        }
    }
}
