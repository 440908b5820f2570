//! A guest sends any packets to a controller, mostly commands that are nearly right: every one that wants an answer gets
//! exactly one, and no memory changes but what it named.
//!
//! The input is packets: kind, LUN, direction, pages, CDB; or raw bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;
use std::sync::Arc;
use storvsp::backend::memory::MemoryDisk;
use storvsp::controller::{Class, Config, Controller};
use storvsp::lun::Lun;
use storvsp::testing::Turns;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmbus::memory::GuestMemory;
use vmbus::testing::{FakeHost, GuestRings, opened};

const RINGS: u64 = 0x10000;
const RING_PAGES: u64 = 3;
/// Below this is what packets may name; above it lie pages that no packet here does.
const NAMED: u64 = 0x8000;

struct Guest {
    rings: GuestRings,
    turns: Turns,
    waiting: BTreeSet<u64>,
    next: u64,
}

fuzz_target!(|data: &[u8]| {
    let ram = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x20000)]).expect("RAM");
    ram.write_slice(&[0xA5; 0x4000], GuestAddress(NAMED)).expect("RAM");
    let mut guest = guest(&ram);
    set_up(&mut guest);
    let mut rest = data;
    while let [kind, argument, tail @ ..] = rest {
        let length = if kind & 0x80 == 0 { 18 } else { usize::from(*argument) };
        let (bytes, tail) = tail.split_at(tail.len().min(length));
        rest = tail;
        match kind & 0x80 {
            0 => guest.command(*kind, *argument, bytes),
            _ => guest.raw(*kind, bytes),
        }
    }
    guest.turns();
    assert!(guest.waiting.is_empty(), "{:?} were not answered", guest.waiting);
    let mut untouched = [0; 0x4000];
    ram.read_slice(&mut untouched, GuestAddress(NAMED)).expect("RAM");
    assert!(untouched.iter().all(|byte| *byte == 0xA5));
});

fn guest(ram: &GuestMemoryMmap) -> Guest {
    let memory = GuestMemory::new(ram);
    let controller = Controller::new(Config { depth: 8, ..Config::new(Class::Scsi, 3) });
    let disk = MemoryDisk::new(vec![1; 64 << 10], 512);
    let medium = MemoryDisk::new(vec![2; 32 << 10], 2048).read_only();
    controller.attach(0, Lun::disk(Arc::new(disk), [0; 16])).expect("LUN 0 is free");
    controller.attach(1, Lun::dvd(Some(Arc::new(medium)), [1; 16])).expect("LUN 1 is free");
    let rings = GuestRings::new(ram, RINGS, [RING_PAGES; 2]);
    let gpns: Vec<u64> = (0..2 * RING_PAGES).map(|page| RINGS / 4096 + page).collect();
    let (to_host, to_guest) = gpns.split_at(RING_PAGES as usize);
    let host = Arc::new(FakeHost::new(1));
    let turns = Turns::new(&controller, opened(&memory, host, [to_host, to_guest], 4096));
    Guest { rings, turns, waiting: BTreeSet::new(), next: 1 }
}

fn set_up(guest: &mut Guest) {
    for operation in [7, 9, 10, 8] {
        let mut packet = vec![operation, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 6];
        packet.resize(64, 0);
        guest.send(6, 1, &[], &packet);
    }
    guest.turns();
}

impl Guest {
    fn send(&mut self, kind: u16, flags: u16, extension: &[u8], payload: &[u8]) {
        let id = self.next;
        self.next += 1;
        if self.rings.send(kind, flags, id, extension, payload).is_none() {
            self.turns();
            assert!(self.rings.send(kind, flags, id, extension, payload).is_some(), "no room");
        }
        // A completion is never answered.
        if flags & 1 != 0 && kind != 11 {
            self.waiting.insert(id);
        }
    }

    /// An SRB with data in up to four pages.
    fn command(&mut self, kind: u8, argument: u8, bytes: &[u8]) {
        let [offset, length, cdb @ ..] = bytes else { return };
        let count = (u32::from(*length) * 64).min(4 * 4096 - 4096);
        let offset = u32::from(*offset) * 16;
        let mut srb = vec![3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 52, 0, 0, 0, 0, 0, 0, kind % 4];
        srb.extend([cdb.len() as u8, 20, argument % 3, 0]);
        srb.extend(count.to_le_bytes());
        srb.extend(cdb);
        srb.resize(64, 0);
        let mut extension = vec![0, 0, 0, 0, 1, 0, 0, 0];
        extension.extend(count.to_le_bytes());
        extension.extend(offset.to_le_bytes());
        let pages = (u64::from(offset + count)).div_ceil(4096);
        (0..pages).for_each(|page| extension.extend((7 - page).to_le_bytes()));
        match kind & 0x40 {
            0 => self.send(9, 1, &extension, &srb),
            _ => self.send(6, 1, &[], &srb),
        }
    }

    /// Anything. Ranges in it may name any page, so it is in-band.
    fn raw(&mut self, kind: u8, bytes: &[u8]) {
        let kind = if kind & 1 == 0 { 6 } else { 11 };
        self.send(kind, u16::from(bytes.first().copied().unwrap_or(0) & 1), &[], bytes);
    }

    fn turns(&mut self) {
        loop {
            let progress = self.turns.turn().expect("the ring is sound");
            let mut heard = false;
            while let Some((packet, _)) = self.rings.receive() {
                heard = true;
                assert!(packet.packet_type == 11 && packet.payload.len() == 64);
                assert!(self.waiting.remove(&packet.transaction_id), "answered twice");
            }
            if !progress && !heard {
                return;
            }
        }
    }
}
