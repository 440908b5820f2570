//! A guest posts any messages, mostly with numbers and names that mean something, while devices come, go, answer late or
//! never: pages in use are never given back, and a reset brings everything to an end.
//!
//! Each step is a byte that says what happens, and what that takes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;
use vmbus::server::{Action, Config, DeviceId, Limits, OfferParams, Server};
use vmbusdef::guid::class;
use vmbusdef::{Guid, MessageNumber};

struct Guest {
    server: Server,
    /// Channels that a device has, and whether it has been told to stop.
    open: BTreeSet<u32>,
    closing: BTreeSet<u32>,
}

fuzz_target!(|data: &[u8]| {
    let limits = Limits { gpadls: 8, gpadl_pages: 400, subchannels: 4 };
    let server = Server::new(Config { limits, ..Config::new(2) }, |gpn| gpn < 0x1000);
    let mut guest = Guest { server, open: BTreeSet::new(), closing: BTreeSet::new() };
    guest.add(0);
    guest.post(MessageNumber::INITIATE_CONTACT.0, &0x5_0003u32.to_le_bytes(), 36);
    guest.post(MessageNumber::REQUESTOFFERS.0, &[], 0);
    let mut rest = data;
    while let [kind, argument, tail @ ..] = rest {
        rest = guest.step(*kind, *argument, tail);
    }
    guest.server.reset();
    guest.act();
    let all: Vec<_> = guest.open.union(&guest.closing).copied().collect();
    all.into_iter().for_each(|relid| guest.server.closed(relid));
    assert_eq!(guest.server.version(), None);
});

impl Guest {
    fn step<'a>(&mut self, kind: u8, argument: u8, rest: &'a [u8]) -> &'a [u8] {
        let relid = u32::from(argument % 8);
        match kind % 16 {
            0 => self.add(argument % 4),
            1 => self.server.remove_device(DeviceId(relid)),
            2 => {
                self.server.offer_subchannels(DeviceId(relid), argument.into());
            }
            3 | 4 => {
                if self.closing.remove(&relid) {
                    self.server.closed(relid);
                }
            }
            5 => self.server.gpadl_released(relid),
            6 => self.server.reset(),
            7 => self.share(relid, rest.first().copied().unwrap_or(0)),
            8 => self.open(relid, rest.first().copied().unwrap_or(0)),
            // Any message: a number, then bytes; mostly as long as the number wants.
            _ => {
                let (body, tail) = rest.split_at(rest.len().min(usize::from(kind / 16) * 16));
                self.post(u32::from(argument % 27), body, 0);
                return tail;
            }
        }
        self.act();
        rest.get(1..).unwrap_or_default()
    }

    fn add(&mut self, number: u8) {
        let instance = Guid::new(number.into(), 0, 0, 0, 0);
        let _ = self.server.add_device(OfferParams::new(class::SCSI, instance));
        self.act();
    }

    fn post(&mut self, number: u32, body: &[u8], size: usize) {
        let mut message = number.to_le_bytes().to_vec();
        message.extend([0; 4]);
        message.extend(body);
        message.resize(message.len().max(size + 8), 0);
        // An INITIATE_CONTACT from the right SINT is more interesting than one from another.
        if let Some(sint) = message.get_mut(16).filter(|_| number == 14) {
            *sint = 2;
        }
        self.server.handle(&message);
        self.act();
    }

    fn share(&mut self, relid: u32, count: u8) {
        let pages = u32::from(count % 26);
        let head = [relid, u32::from(count % 8), (8 + 8 * pages) | 1 << 16, pages * 4096, 0];
        let mut body: Vec<u8> = head.iter().flat_map(|word| word.to_le_bytes()).collect();
        (0..u64::from(pages)).for_each(|gpn| body.extend(gpn.to_le_bytes()));
        self.post(MessageNumber::GPADL_HEADER.0, &body, 0);
    }

    fn open(&mut self, relid: u32, gpadl: u8) {
        let words = [relid, relid, u32::from(gpadl % 8), 0, 2];
        let body: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.post(MessageNumber::OPENCHANNEL.0, &body, 140);
    }

    fn act(&mut self) {
        while let Some(action) = self.server.action() {
            match action {
                Action::Open(request) => {
                    assert!(request.incoming.len() >= 2 && request.outgoing.len() >= 2);
                    assert!(self.open.insert(request.relid) && !self.closing.contains(&request.relid));
                    self.server.opened(request.relid, true);
                }
                Action::Close { relid, .. } => {
                    assert!(self.open.remove(&relid));
                    self.closing.insert(relid);
                }
                Action::Disconnected => assert!(self.open.is_empty() && self.closing.is_empty()),
                Action::Connect(request) => self.server.refuse_connect(&request),
                Action::Post { message, .. } => self.check(message.as_bytes()),
                _ => {}
            }
        }
    }

    fn check(&self, message: &[u8]) {
        assert!((8..=240).contains(&message.len()));
        if let [2, 0, 0, 0, _, _, _, _, r0, r1, r2, r3] = *message {
            let relid = u32::from_le_bytes([r0, r1, r2, r3]);
            assert!(!self.open.contains(&relid) && !self.closing.contains(&relid));
        }
    }
}
