//! What a command must not cost: allocations, more signals than the guest needs, and turns after one that had nothing to do.
#![expect(unsafe_code, reason = "an allocator that counts is an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;
use std::sync::Arc;
use storvsp::backend::memory::MemoryDisk;
use storvsp::backend::{FileDisk, ImageDisk, RawDisk};
use storvsp::block::Disk;
use storvsp::controller::{Class, Config, Controller};
use storvsp::lun::Lun;
use storvsp::testing::Turns;
use vm_memory::{GuestAddress, GuestMemoryMmap};
use vmbus::memory::GuestMemory;
use vmbus::testing::{FakeHost, GuestRings, opened};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is the system's allocator's doing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: what the caller owes us we owe it.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const DATA: u64 = 0x40_0000;

/// The guest, the device's turns, and where signals are counted.
struct Machine {
    rings: GuestRings,
    turns: Turns,
    host: Arc<FakeHost>,
    /// Made before anything is counted.
    extension: Vec<u8>,
    srb: Vec<u8>,
}

impl Machine {
    fn new(disk: Arc<dyn Disk>) -> Self {
        let ram = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 16 << 20)]).unwrap();
        let memory = GuestMemory::new(&ram);
        let controller = Controller::new(Config::new(Class::Scsi, 1));
        controller.attach(0, Lun::disk(disk, [0; 16])).unwrap();
        let rings = GuestRings::new(&ram, 0x10_0000, [32; 2]);
        let gpns: Vec<u64> = (0..64).map(|page| 0x100 + page).collect();
        let (to_host, to_guest) = gpns.split_at(32);
        let host = Arc::new(FakeHost::new(1));
        let opened = opened(&memory, Arc::clone(&host), [to_host, to_guest], 4096);
        let mut machine = Self {
            rings,
            turns: Turns::new(&controller, opened),
            host,
            // 64 KiB in pages that are no neighbours.
            extension: range(16),
            srb: srb(128),
        };
        for operation in [7, 9, 10, 8] {
            let mut packet = vec![operation, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 6];
            packet.resize(64, 0);
            machine.rings.send(6, 1, 1, &[], &packet).unwrap();
            machine.finish(1);
        }
        machine
    }

    /// Takes turns until there were so many answers; allocations by the device's side.
    fn finish(&mut self, answers: u64) -> u64 {
        let (mut left, mut allocations) = (answers, 0);
        while left > 0 {
            let before = ALLOCATIONS.get();
            while self.turns.turn().unwrap() {}
            allocations += ALLOCATIONS.get() - before;
            while self.rings.receive().is_some() {
                left -= 1;
            }
        }
        allocations
    }

    fn batch(&mut self, count: u64) -> u64 {
        for id in 0..count {
            self.rings.send(9, 1, id, &self.extension, &self.srb).unwrap();
        }
        self.finish(count)
    }
}

fn range(pages: u64) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, 1, 0, 0, 0];
    bytes.extend((pages as u32 * 4096).to_le_bytes());
    bytes.extend([0; 4]);
    (0..pages).for_each(|page| bytes.extend((DATA / 4096 + page * 2).to_le_bytes()));
    bytes
}

/// READ(10) of so many blocks.
fn srb(blocks: u16) -> Vec<u8> {
    let mut packet =
        vec![3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 52, 0, 0, 0, 0, 0, 0, 0, 10, 20, 1, 0];
    packet.extend((u32::from(blocks) * 512).to_le_bytes());
    packet.extend([0x28, 0, 0, 0, 0, 0, 0]);
    packet.extend(blocks.to_be_bytes());
    packet.resize(64, 0);
    packet
}

#[test]
fn commands_cost_no_allocation() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&[1; 1 << 20]).unwrap();
    let raw = RawDisk::open(file.path(), Default::default()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.vhdx");
    let options = disk::CreateOptions { size: Some(1 << 20), ..Default::default() };
    disk::create_file(&path, &options).unwrap();
    let image = ImageDisk::open(&path, &disk::OpenOptions::default(), true).unwrap();
    image.image().write_at(0, &[1; 1 << 20]).unwrap();
    let disks: [Arc<dyn Disk>; 3] = [
        Arc::new(MemoryDisk::new(vec![1; 1 << 20], 512)),
        Arc::new(FileDisk::new(raw)),
        Arc::new(FileDisk::new(image)),
    ];
    for disk in disks {
        let mut machine = Machine::new(disk);
        machine.batch(200);
        let allocations: u64 = (0..20).map(|_| machine.batch(200)).sum();
        assert_eq!(allocations, 0);
    }
}

#[test]
fn a_batch_is_answered_with_one_signal_and_a_busy_guest_with_none() {
    let mut machine = Machine::new(Arc::new(MemoryDisk::new(vec![1; 1 << 20], 512)));
    let before = machine.host.signals(0, 1);
    machine.batch(100);
    assert_eq!(machine.host.signals(0, 1), before + 1);
    machine.rings.set_guest_field(2, 1);
    machine.batch(100);
    assert_eq!(machine.host.signals(0, 1), before + 1, "it looks by itself");
}

#[test]
fn what_stands_behind_a_reset_that_wants_no_answer_is_served_before_turns_have_nothing_to_do() {
    let mut machine = Machine::new(Arc::new(MemoryDisk::new(vec![1; 1 << 20], 512)));
    let mut reset = vec![4];
    reset.resize(64, 0);
    // Answers fill the guest's ring, and some wait for room: 1489 fit.
    for id in 0..1560 {
        machine.rings.send(9, 1, id, &machine.extension, &machine.srb).unwrap();
        while machine.turns.turn().unwrap() {}
    }
    machine.rings.send(6, 0, 1, &[], &reset).unwrap();
    machine.rings.send(9, 1, 9999, &machine.extension, &machine.srb).unwrap();
    while machine.turns.turn().unwrap() {}
    while machine.rings.receive().is_some() {}
    while machine.turns.turn().unwrap() {}
    let ids =
        std::iter::from_fn(|| machine.rings.receive().map(|(packet, _)| packet.transaction_id));
    assert!(ids.collect::<Vec<_>>().contains(&9999));
}
