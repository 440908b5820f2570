//! A guest's storage driver, in memory: what `storvsc` does, on a real bus and real rings.
#![allow(dead_code, reason = "each test uses its part")]

use std::cell::Cell;
use std::sync::Arc;
use storvsp::controller::{Class, Config, Controller};
use vm_memory::{Bytes, GuestAddress};
use vmbus::testing::{Guest, Offered, OpenChannel};
use vmbusdef::Guid;
use vmbusdef::storage::{Operation, SrbStatus, Status};

/// Where a test's data is.
pub const DATA: u64 = 0x40_0000;
/// Where rings are, for each channel.
const RINGS: u64 = 0x10_0000;
const RING_PAGES: u32 = 32;

pub const INSTANCE: Guid = Guid::new(0x1234, 0, 0, 0, 1);

/// The answer to a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    pub srb_status: SrbStatus,
    pub scsi_status: u8,
    pub length: u32,
    pub sense: Vec<u8>,
}

impl Answer {
    /// Sense key, code and qualifier.
    pub fn why(&self) -> [u8; 3] {
        assert_eq!(
            (self.srb_status, self.scsi_status),
            (SrbStatus::ERROR.with_sense(), 2),
            "{self:?}"
        );
        assert_eq!((self.sense.len(), self.sense[0], self.sense[7]), (18, 0x70, 10));
        [self.sense[2], self.sense[12], self.sense[13]]
    }

    pub fn is_good(&self) -> bool {
        (self.srb_status, self.scsi_status) == (SrbStatus::SUCCESS, 0)
    }
}

/// Which way data goes, and how much.
#[derive(Clone, Copy)]
pub enum Data<'a> {
    None,
    In(u32),
    Out(&'a [u8]),
}

/// A guest with one controller.
pub struct Machine {
    pub guest: Guest,
    pub controller: Arc<Controller>,
}

impl Machine {
    pub fn new(class: Class, vps: u32) -> Self {
        Self::with(Config::new(class, vps), vps)
    }

    pub fn with(config: Config, vps: u32) -> Self {
        let guest = Guest::new(vps);
        let controller = Controller::new(config);
        guest.bus.add_device(controller.offer(INSTANCE), controller.device()).unwrap();
        Self { guest, controller }
    }

    /// Connects, opens the primary channel and sets it up.
    pub fn start(&self) -> Driver<'_> {
        let offers = self.guest.connect();
        assert_eq!(offers.len(), 1);
        let driver = self.open(&offers[0], 0);
        driver.set_up();
        driver
    }

    pub fn open(&self, offer: &Offered, vp: u32) -> Driver<'_> {
        let gpa = RINGS + u64::from(offer.subchannel) * u64::from(RING_PAGES) * 8192;
        let channel = self.guest.open(offer, gpa, RING_PAGES, vp);
        Driver { machine: self, channel, next: Cell::new(1) }
    }

    pub fn write(&self, gpa: u64, bytes: &[u8]) {
        self.guest.memory.write_slice(bytes, GuestAddress(gpa)).unwrap();
    }

    pub fn read(&self, gpa: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.guest.memory.read_slice(&mut bytes, GuestAddress(gpa)).unwrap();
        bytes
    }
}

/// The driver of one channel.
pub struct Driver<'a> {
    pub machine: &'a Machine,
    pub channel: OpenChannel<'a>,
    next: Cell<u64>,
}

/// The range of a GPA-direct packet over contiguous pages.
pub fn range(gpa: u64, length: u32) -> Vec<u8> {
    let offset = gpa % 4096;
    let pages = (offset + u64::from(length)).div_ceil(4096);
    let mut bytes = vec![0, 0, 0, 0, 1, 0, 0, 0];
    bytes.extend(length.to_le_bytes());
    bytes.extend((offset as u32).to_le_bytes());
    (0..pages).for_each(|page| bytes.extend((gpa / 4096 + page).to_le_bytes()));
    bytes
}

/// The 64 bytes of an EXECUTE_SRB.
pub fn execute_srb(address: [u8; 3], cdb: &[u8], direction: u8, length: u32) -> Vec<u8> {
    let mut packet = vec![3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 52, 0, 0, 0, 7];
    packet.extend(address);
    packet.extend([cdb.len() as u8, 20, direction, 0]);
    packet.extend(length.to_le_bytes());
    packet.extend(cdb);
    packet.resize(64, 0);
    packet
}

/// Takes a completed SRB apart.
pub fn answer(packet: &[u8]) -> Answer {
    assert_eq!((packet.len(), &packet[..4], &packet[8..12]), (64, &[1, 0, 0, 0][..], &[0; 4][..]));
    Answer {
        srb_status: SrbStatus(packet[14]),
        scsi_status: packet[15],
        length: u32::from_le_bytes(packet[24..28].try_into().unwrap()),
        sense: packet[28..28 + usize::from(packet[21]).min(20)].to_vec(),
    }
}

impl Driver<'_> {
    /// The steps of a driver's probe.
    pub fn set_up(&self) {
        for (operation, body) in [
            (Operation::BEGIN_INITIALIZATION, &[][..]),
            (Operation::QUERY_PROTOCOL_VERSION, &[2, 6]),
            (Operation::QUERY_PROPERTIES, &[]),
            (Operation::END_INITIALIZATION, &[]),
        ] {
            assert_eq!(self.vstor(operation, body).0, Status::SUCCESS, "{operation:?}");
        }
    }

    /// A set-up packet; status and body of its answer.
    pub fn vstor(&self, operation: Operation, body: &[u8]) -> (Status, Vec<u8>) {
        let mut packet = operation.0.to_le_bytes().to_vec();
        packet.extend([1, 0, 0, 0, 0, 0, 0, 0]);
        packet.extend(body);
        packet.resize(64, 0);
        self.channel.request(0xFFFF_FFFF_FFFF_FFFD, &[], &packet);
        let answer = self.channel.wait();
        assert_eq!((answer.packet_type, answer.transaction_id), (11, 0xFFFF_FFFF_FFFF_FFFD));
        assert_eq!((answer.payload.len(), answer.payload[0]), (64, 1));
        let status = u32::from_le_bytes(answer.payload[8..12].try_into().unwrap());
        (Status(status), answer.payload[12..].to_vec())
    }

    /// Sends a command; its transaction id.
    pub fn send(&self, address: [u8; 3], cdb: &[u8], direction: u8, gpa: u64, length: u32) -> u64 {
        let id = self.next.replace(self.next.get() + 1);
        let extension = if length == 0 { Vec::new() } else { range(gpa, length) };
        self.channel.request(id, &extension, &execute_srb(address, cdb, direction, length));
        id
    }

    /// The next answer and what it answers.
    pub fn answer(&self) -> (u64, Answer) {
        let packet = self.channel.wait();
        assert_eq!(packet.packet_type, 11);
        (packet.transaction_id, answer(&packet.payload))
    }

    /// A command to a LUN of target 0, with its data at [`DATA`].
    pub fn command(&self, lun: u8, cdb: &[u8], data: Data<'_>) -> Answer {
        self.command_to([0, 0, lun], cdb, data)
    }

    pub fn command_to(&self, address: [u8; 3], cdb: &[u8], data: Data<'_>) -> Answer {
        let (direction, length) = match data {
            Data::None => (2, 0),
            Data::In(length) => (1, length),
            Data::Out(bytes) => {
                self.machine.write(DATA, bytes);
                (0, bytes.len() as u32)
            }
        };
        let id = self.send(address, cdb, direction, DATA, length);
        let (answered, answer) = self.answer();
        assert_eq!(answered, id);
        answer
    }

    /// A command that has to succeed; its data.
    pub fn data(&self, lun: u8, cdb: &[u8], room: u32) -> Vec<u8> {
        let answer = self.command(lun, cdb, Data::In(room));
        assert!(answer.is_good(), "{cdb:02x?}: {answer:?}");
        self.machine.read(DATA, answer.length as usize)
    }
}
