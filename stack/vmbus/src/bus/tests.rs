use super::*;
use crate::ring::Packet;
use crate::testing::Guest;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use vmbusdef::guid::class;
use vmbusdef::{Guid, MessageNumber, Version};

/// Sends every packet back, and tells the test what happens to it.
struct Echo {
    events: Sender<String>,
    threads: BTreeMap<u16, (Arc<AtomicBool>, EventFd, JoinHandle<()>)>,
}

impl Echo {
    fn with_log() -> (Box<dyn Device>, Receiver<String>) {
        let (events, heard) = channel();
        (Box::new(Self { events, threads: BTreeMap::new() }), heard)
    }
}

impl Device for Echo {
    fn open(&mut self, mut opened: OpenedChannel) -> Result<(), Box<dyn Error + Send + Sync>> {
        let _ = self.events.send(format!("open {}", opened.subchannel));
        if opened.user_data[0] == 0xBA {
            return Err("the guest wants nonsense".into());
        }
        let (stop, waker) = (Arc::new(AtomicBool::new(false)), opened.channel.waker()?);
        let flag = Arc::clone(&stop);
        let subchannel = opened.subchannel;
        let thread = std::thread::spawn(move || {
            while !flag.load(Ordering::Acquire) {
                echo(&mut opened);
                opened.channel.doorbell().read().unwrap();
            }
        });
        self.threads.insert(subchannel, (stop, waker, thread));
        Ok(())
    }

    fn close(&mut self, subchannel: u16) {
        let (stop, waker, thread) = self.threads.remove(&subchannel).unwrap();
        stop.store(true, Ordering::Release);
        waker.write(1).unwrap();
        thread.join().unwrap();
        let _ = self.events.send(format!("close {subchannel}"));
    }

    fn release_gpadl(&mut self, subchannel: u16, gpadl: u32) {
        let _ = self.events.send(format!("release {gpadl:#x} of {subchannel}"));
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.events.send("drop".into());
    }
}

/// Until there is nothing left: packets, a request for sub-channels, a sum over a GPADL.
fn echo(opened: &mut OpenedChannel) {
    loop {
        let mut answer = Vec::new();
        if let Some(packet) = opened.channel.receive().unwrap() {
            let words = packet.payload().as_chunks::<8>().0.iter();
            answer = words.map(|word| u64::from_le_bytes(*word)).collect();
            match answer[..] {
                [0x5C, count, ..] => opened.subchannels.offer(count as u16),
                [0x6B, gpadl, ..] => answer = sum(opened, gpadl as u32),
                _ => {}
            }
        }
        if answer.is_empty() {
            opened.channel.flush();
            if !opened.channel.arm().unwrap() {
                return;
            }
            continue;
        }
        while !opened.channel.send(&Packet::in_band(1, &answer)).unwrap() {
            opened.channel.flush();
            opened.channel.doorbell().read().unwrap();
        }
        opened.channel.stop_waiting();
    }
}

fn sum(opened: &OpenedChannel, gpadl: u32) -> Vec<u64> {
    let Some(pages) = opened.gpadls.pages(gpadl) else { return vec![u64::MAX] };
    let words = (0..pages.count()).flat_map(|page| pages.words(page).unwrap());
    vec![words.map(|word| word.load(Ordering::Relaxed)).sum()]
}

const INSTANCE: Guid = Guid::new(1, 2, 3, 4, 5);
const RINGS: u64 = 0x10_0000;

fn guest() -> (Guest, DeviceId, Receiver<String>) {
    let guest = Guest::new(2);
    let (device, heard) = Echo::with_log();
    let id = guest.bus.add_device(OfferParams::new(class::MOUSE, INSTANCE), device).unwrap();
    (guest, id, heard)
}

#[test]
fn packets_go_both_ways_and_the_device_ends_before_its_pages_do() {
    let (guest, _, heard) = guest();
    let offers = guest.connect();
    let channel = guest.open(&offers[0], RINGS, 2, 1);
    assert_eq!(guest.host.doorbells(), 1);
    for number in 0..1000u64 {
        channel.request(number, &[], &[number as u8; 40]);
        assert_eq!(channel.wait().payload, [number as u8; 40]);
    }
    channel.close();
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), ["open 0", "close 0"]);
    assert_eq!(guest.host.doorbells(), 0);
    assert_eq!(guest.bus.signal_event(offers[0].connection_id, 0), HvStatus::INVALID_CONNECTION_ID);
    let again = guest.open(&offers[0], RINGS, 4, 0);
    again.request(1, &[], &[7; 8]);
    assert_eq!(again.wait().payload, [7; 8]);
}

#[test]
fn a_guest_that_does_not_read_stops_the_device_and_not_for_ever() {
    let (guest, _, _heard) = guest();
    let offers = guest.connect();
    let channel = guest.open(&offers[0], RINGS, 2, 0);
    let mut sent = 0u64;
    let mut idle = 0;
    // Until neither ring has room: the device waits for room, and packets stay in its ring.
    while idle < 200 {
        match channel.rings.send(6, 0, sent, &[], &sent.to_le_bytes()) {
            Some(signal) => {
                sent += 1;
                idle = 0;
                if signal {
                    guest.host.ring(offers[0].connection_id);
                }
            }
            None => {
                idle += 1;
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
    }
    assert!(sent > 200, "{sent}");
    for number in 0..sent {
        assert_eq!(channel.wait().payload, number.to_le_bytes());
    }
}

#[test]
fn messages_to_wrong_places_are_refused() {
    let guest = Guest::new(1);
    let post = |connection, kind, length| {
        guest.bus.post_message(connection, MessageType(kind), &vec![0; length])
    };
    for connection in [0, 2, 3, 5, 0x2001, 0x80_0074] {
        assert_eq!(post(connection, 1, 8), HvStatus::INVALID_CONNECTION_ID);
    }
    assert_eq!(post(1, 1, 241), HvStatus::INVALID_PARAMETER);
    assert_eq!(post(4, 0x8000_0001, 8), HvStatus::INVALID_PARAMETER);
    assert_eq!(post(4, 1, 0), HvStatus::SUCCESS);
    assert_eq!(guest.bus.signal_event(0x2001, 0), HvStatus::INVALID_CONNECTION_ID);
}

#[test]
fn a_guest_that_posts_and_does_not_read_is_told_to_wait() {
    let (guest, _, _heard) = guest();
    guest.connect();
    let teardown = |gpadl| guest.post(MessageNumber::GPADL_TEARDOWN, &[1, gpadl]);
    let (mut accepted, mut waited) = (0, 0);
    loop {
        if teardown(accepted) == HvStatus::SUCCESS {
            accepted += 1;
            assert!(accepted < 10_000, "never refused");
        } else if guest.host.try_message().is_some() {
            break;
        } else {
            // The bus has not come to the first of them yet.
            waited += 1;
            assert!(waited < 60_000, "never answered");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
    guest.bus.deliverable();
    // The first answer was taken out by the loop.
    let (number, ..) = guest.answer();
    assert_eq!(number, MessageNumber::GPADL_TORNDOWN);
}

#[test]
fn signals_come_by_hypercall_too_and_only_for_flag_0() {
    let (guest, _, _heard) = guest();
    let offers = guest.connect();
    let channel = guest.open(&offers[0], RINGS, 2, 0);
    let id = offers[0].connection_id;
    assert_eq!(guest.bus.signal_event(id, 1), HvStatus::INVALID_PARAMETER);
    assert_eq!(channel.rings.send(6, 0, 0, &[], &[3; 8]), Some(true));
    assert_eq!(guest.bus.signal_event(id, 0), HvStatus::SUCCESS);
    assert_eq!(channel.wait().payload, [3; 8]);
}

#[test]
fn a_removed_device_is_gone_and_the_guest_hears_of_it() {
    let (guest, id, heard) = guest();
    let offers = guest.connect();
    let channel = guest.open(&offers[0], RINGS, 2, 0);
    guest.bus.remove_device(id);
    assert_eq!(heard.iter().collect::<Vec<_>>(), ["open 0", "close 0", "drop"]);
    assert_eq!(guest.expect(MessageNumber::RESCIND_CHANNELOFFER), [1]);
    assert_eq!(channel.rings.send(6, 0, 0, &[], &[3; 8]), Some(true));
    assert!(!guest.host.ring(offers[0].connection_id));
    guest.bus.remove_device(id);
    let (device, _heard) = Echo::with_log();
    guest.bus.add_device(OfferParams::new(class::MOUSE, INSTANCE), device).unwrap();
    guest.post(MessageNumber::RELID_RELEASED, &[1]);
    assert_eq!(guest.offer().relid, 1);
}

#[test]
fn a_reset_ends_everything_and_a_new_kernel_finds_it_as_before() {
    let (guest, _, heard) = guest();
    let first = guest.connect();
    let _channel = guest.open(&first[0], RINGS, 2, 0);
    guest.bus.reset();
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), ["open 0", "close 0"]);
    assert_eq!(guest.connect(), first);
    let channel = guest.open(&first[0], RINGS * 2, 2, 0);
    channel.request(1, &[], &[7; 8]);
    assert_eq!(channel.wait().payload, [7; 8]);
}

#[test]
fn unload_ends_everything_and_is_answered() {
    let (guest, _, heard) = guest();
    let offers = guest.connect();
    let _channel = guest.open(&offers[0], RINGS, 2, 0);
    guest.post(MessageNumber::UNLOAD, &[]);
    guest.expect(MessageNumber::UNLOAD_RESPONSE);
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), ["open 0", "close 0"]);
    guest.connect();
}

#[test]
fn interrupts_move_with_the_channel() {
    let (guest, _, _heard) = guest();
    let offers = guest.connect();
    let mut channel = guest.open(&offers[0], RINGS, 2, 0);
    channel.request(1, &[], &[1; 8]);
    channel.wait();
    guest.post(MessageNumber::MODIFYCHANNEL, &[1, 1]);
    assert_eq!(guest.expect(MessageNumber::MODIFYCHANNEL_RESPONSE), [1, 0]);
    let before = guest.host.signals(0, 1);
    channel.vp = 1;
    channel.request(2, &[], &[1; 8]);
    channel.wait();
    guest.host.wait_for_signal(1, 1, 0);
    assert_eq!(guest.host.signals(0, 1), before);
}

#[test]
fn subchannels_are_offered_when_the_device_asks() {
    let (guest, _, heard) = guest();
    let offers = guest.connect();
    let channel = guest.open(&offers[0], RINGS, 2, 0);
    let words = [0x5Cu64, 2].map(u64::to_le_bytes);
    channel.request(1, &[], words.as_flattened());
    channel.wait();
    let others = [guest.offer(), guest.offer()];
    assert_eq!(others.map(|offer| (offer.relid, offer.subchannel)), [(2, 1), (3, 2)]);
    let second = guest.open(&others[1], RINGS * 2, 2, 1);
    second.request(1, &[], &[9; 8]);
    assert_eq!(second.wait().payload, [9; 8]);
    guest.post(MessageNumber::CLOSECHANNEL, &[1]);
    let mut rescinded: Vec<_> =
        (0..2).map(|_| guest.expect(MessageNumber::RESCIND_CHANNELOFFER)[0]).collect();
    rescinded.sort_unstable();
    assert_eq!(rescinded, [2, 3]);
    assert_eq!(
        heard.iter().take(4).collect::<Vec<_>>(),
        ["open 0", "open 2", "close 2", "close 0"]
    );
}

#[test]
fn pages_are_shared_until_they_are_taken_back() {
    let (guest, _, heard) = guest();
    let offers = guest.connect();
    let channel = guest.open(&offers[0], RINGS, 2, 0);
    let gpadl = guest.share(1, 0x40_0000, 100);
    vm_memory::Bytes::write_obj(
        &guest.memory,
        1234u64,
        vm_memory::GuestAddress(0x40_0000 + 99 * 4096),
    )
    .unwrap();
    let ask = [0x6Bu64, gpadl.into()].map(u64::to_le_bytes);
    channel.request(1, &[], ask.as_flattened());
    assert_eq!(channel.wait().payload, 1234u64.to_le_bytes());
    guest.post(MessageNumber::GPADL_TEARDOWN, &[1, gpadl]);
    assert_eq!(guest.expect(MessageNumber::GPADL_TORNDOWN), [gpadl]);
    channel.request(1, &[], ask.as_flattened());
    assert_eq!(channel.wait().payload, u64::MAX.to_le_bytes());
    assert_eq!(heard.try_iter().last(), Some(format!("release {gpadl:#x} of 0")));
}

#[test]
fn a_device_that_refuses_leaves_nothing_behind() {
    let (guest, _, _heard) = guest();
    guest.connect();
    let gpadl = guest.share(1, RINGS, 4);
    let mut words = vec![1, 1, gpadl, 0, 2, 0xBA];
    words.extend([0; 29]);
    guest.post(MessageNumber::OPENCHANNEL, &words);
    assert_ne!(guest.expect(MessageNumber::OPENCHANNEL_RESULT)[2], 0);
    assert_eq!(guest.host.doorbells(), 0);
    guest.post(MessageNumber::GPADL_TEARDOWN, &[1, gpadl]);
    assert_eq!(guest.expect(MessageNumber::GPADL_TORNDOWN), [gpadl]);
}

#[test]
fn dropping_the_bus_ends_its_devices() {
    let (guest, _, heard) = guest();
    let offers = guest.connect();
    let channel = guest.open(&offers[0], RINGS, 2, 0);
    drop(channel);
    drop(guest);
    assert_eq!(heard.iter().collect::<Vec<_>>(), ["open 0", "close 0", "drop"]);
}

#[test]
fn an_older_guest_is_served_too() {
    let (guest, _, _heard) = guest();
    let words = [Version::WIN8_1.0, 0, 0x5000, 0, 0x6000, 0, 0x7000, 0];
    guest.post(MessageNumber::INITIATE_CONTACT, &words);
    assert_eq!(guest.expect(MessageNumber::VERSION_RESPONSE), [1, Version::WIN8_1.0]);
    guest.post(MessageNumber::REQUESTOFFERS, &[]);
    assert_eq!(guest.offer().relid, 1);
}

#[test]
fn a_crash_kernel_is_answered_although_the_old_one_reads_nothing_any_more() {
    let (guest, _, _heard) = guest();
    guest.connect();
    for gpadl in 0..20 {
        guest.post(MessageNumber::GPADL_TEARDOWN, &[1, gpadl]);
    }
    let words = [Version::WIN10_V5_3.0, 1, 2, 0, 0, 0, 0, 0];
    guest.post(MessageNumber::INITIATE_CONTACT, &words);
    // There is no such device, but this comes after everything before it.
    guest.bus.remove_device(DeviceId(99));
    // What was in a slot is there; the rest is gone.
    guest.expect(MessageNumber::GPADL_TORNDOWN);
    let (vp, message) = guest.host.message();
    assert_eq!((vp, message[0], message[8]), (1, 15, 1));
}
