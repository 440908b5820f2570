//! The guest's side of the channel messages, as Linux `drivers/hv` has it.

use super::{FakeHost, GuestPacket, GuestRings};
use crate::bus::{Bus, OpenedChannel};
use crate::channel::{Channel, Interrupt};
use crate::memory::GuestMemory;
use crate::ring::{Incoming, Outgoing};
use crate::server::Config;
use hvdef::HvStatus;
use hvdef::message::MessageType;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use vm_memory::{GuestAddress, GuestMemoryMmap};
use vmbusdef::offer::Offer;
use vmbusdef::packet::PacketType;
use vmbusdef::{Guid, MessageNumber, Version};
use vmm_sys_util::eventfd::EventFd;
use zerocopy::FromBytes;

/// RAM of the guest.
pub const RAM_SIZE: usize = 32 << 20;

/// An offer, as far as a driver looks at it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offered {
    pub class: Guid,
    pub instance: Guid,
    pub relid: u32,
    pub subchannel: u16,
    pub connection_id: u32,
}

/// A guest with its bus.
pub struct Guest {
    pub memory: GuestMemoryMmap,
    pub host: Arc<FakeHost>,
    pub bus: Bus,
    next_gpadl: AtomicU32,
}

impl Guest {
    /// With `vps` VPs, and one message slot as in life.
    pub fn new(vps: u32) -> Self {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), RAM_SIZE)]).unwrap();
        let host = Arc::new(FakeHost::new(1));
        let transport = Arc::clone(&host);
        let bus = Bus::start(Config::new(vps), transport, GuestMemory::new(&memory)).unwrap();
        Self { memory, host, bus, next_gpadl: AtomicU32::new(0xE1E10) }
    }

    /// Posts a channel message of little-endian words.
    pub fn post(&self, number: MessageNumber, words: &[u32]) -> HvStatus {
        let mut message = Vec::new();
        message.extend(number.0.to_le_bytes());
        message.extend([0; 4]);
        words.iter().for_each(|word| message.extend(word.to_le_bytes()));
        self.bus.post_message(4, MessageType::VMBUS, &message)
    }

    /// The next message, its number and its words.
    pub fn answer(&self) -> (MessageNumber, Vec<u32>, Vec<u8>) {
        let (_, message) = self.host.message();
        self.bus.deliverable();
        let words = message[8..].chunks_exact(4);
        let words = words.map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
        let number = u32::from_le_bytes(message[..4].try_into().unwrap());
        (MessageNumber(number), words, message[8..].to_vec())
    }

    /// The next message, which has to be of this number.
    pub fn expect(&self, number: MessageNumber) -> Vec<u32> {
        let (got, words, _) = self.answer();
        assert_eq!(got, number);
        words
    }

    /// Makes contact and returns the offers.
    pub fn connect(&self) -> Vec<Offered> {
        self.post(MessageNumber::INITIATE_CONTACT, &[Version::WIN10_V5_3.0, 0, 2, 0, 0, 0, 0, 0]);
        let response = self.expect(MessageNumber::VERSION_RESPONSE);
        assert_eq!((response[0], response[1]), (1, 4));
        self.post(MessageNumber::REQUESTOFFERS, &[]);
        let mut offers = Vec::new();
        loop {
            let (number, _, body) = self.answer();
            match number {
                MessageNumber::OFFERCHANNEL => offers.push(offered(&body)),
                MessageNumber::ALLOFFERS_DELIVERED => return offers,
                other => panic!("{other:?} among the offers"),
            }
        }
    }

    /// The next message, which has to be an offer.
    pub fn offer(&self) -> Offered {
        let (number, _, body) = self.answer();
        assert_eq!(number, MessageNumber::OFFERCHANNEL);
        offered(&body)
    }

    /// Shares `count` pages from `gpa` on; the name of the list.
    pub fn share(&self, relid: u32, gpa: u64, count: u32) -> u32 {
        let gpadl = self.next_gpadl.fetch_add(1, Ordering::Relaxed);
        let gpns: Vec<u64> = (0..u64::from(count)).map(|i| gpa / 4096 + i).collect();
        let words = |gpns: &[u64]| {
            gpns.iter().flat_map(|gpn| [*gpn as u32, (gpn >> 32) as u32]).collect::<Vec<_>>()
        };
        let first = gpns.len().min(26);
        let mut header = vec![relid, gpadl, (8 + 8 * count) | 1 << 16, count * 4096, 0];
        header.extend(words(&gpns[..first]));
        self.post(MessageNumber::GPADL_HEADER, &header);
        for body in gpns[first..].chunks(28) {
            let mut message = vec![0, gpadl];
            message.extend(words(body));
            while self.post(MessageNumber::GPADL_BODY, &message) == HvStatus::INSUFFICIENT_BUFFERS {
                std::thread::yield_now();
            }
        }
        assert_eq!(self.expect(MessageNumber::GPADL_CREATED), [relid, gpadl, 0]);
        gpadl
    }

    /// Opens a channel with rings of `pages` each at `gpa`.
    pub fn open(&self, offer: &Offered, gpa: u64, pages: u32, vp: u32) -> OpenChannel<'_> {
        let gpadl = self.share(offer.relid, gpa, pages * 2);
        let rings = GuestRings::new(&self.memory, gpa, [pages.into(); 2]);
        let mut words = vec![offer.relid, offer.relid, gpadl, vp, pages];
        words.extend([0; 30]);
        self.post(MessageNumber::OPENCHANNEL, &words);
        assert_eq!(self.expect(MessageNumber::OPENCHANNEL_RESULT), [offer.relid, offer.relid, 0]);
        OpenChannel { guest: self, rings, offer: *offer, gpadl, vp }
    }
}

fn offered(body: &[u8]) -> Offered {
    let (offer, _) = Offer::read_from_prefix(body).unwrap();
    Offered {
        class: offer.interface_type,
        instance: offer.interface_instance,
        relid: offer.relid,
        subchannel: offer.subchannel_index,
        connection_id: offer.connection_id,
    }
}

/// A channel the guest has opened.
pub struct OpenChannel<'a> {
    guest: &'a Guest,
    pub rings: GuestRings,
    pub offer: Offered,
    pub gpadl: u32,
    pub vp: u32,
}

impl OpenChannel<'_> {
    /// Sends a packet that wants a completion, signalling if the host wants it.
    pub fn request(&self, transaction_id: u64, extension: &[u8], payload: &[u8]) {
        let kind = if extension.is_empty() { PacketType::IN_BAND } else { PacketType::GPA_DIRECT };
        let sent = self.rings.send(kind.0, 1, transaction_id, extension, payload);
        if sent.expect("room in the ring") {
            self.guest.host.ring(self.offer.connection_id);
        }
    }

    /// The next packet, waiting for it.
    pub fn wait(&self) -> GuestPacket {
        let flag = self.offer.relid as u16;
        loop {
            let before = self.guest.host.signals(self.vp, flag);
            if let Some((packet, signal)) = self.rings.receive() {
                if signal {
                    self.guest.host.ring(self.offer.connection_id);
                }
                return packet;
            }
            self.guest.host.wait_for_signal(self.vp, flag, before);
        }
    }

    /// Closes the channel and takes its pages back.
    pub fn close(self) {
        self.guest.post(MessageNumber::CLOSECHANNEL, &[self.offer.relid]);
        self.guest.post(MessageNumber::GPADL_TEARDOWN, &[self.offer.relid, self.gpadl]);
        assert_eq!(self.guest.expect(MessageNumber::GPADL_TORNDOWN), [self.gpadl]);
    }
}

/// An open channel without a bus: for a device's end of rings that a test has made.
pub fn opened(
    memory: &GuestMemory,
    host: Arc<FakeHost>,
    gpns: [&[u64]; 2],
    packet_max: usize,
) -> OpenedChannel {
    let [to_host, to_guest] = gpns;
    let incoming = Incoming::new(memory, to_host, packet_max).unwrap();
    let outgoing = Outgoing::new(memory, to_guest).unwrap();
    let interrupt = Arc::new(Interrupt::new(host, 1, Some(0)));
    let doorbell = EventFd::new(libc::EFD_NONBLOCK).unwrap();
    let channel = Channel::new(incoming, outgoing, interrupt, doorbell);
    OpenedChannel::unattached(channel, memory.clone())
}
