//! Controllers: set-up, LUNs that come and go, sub-channels, resets, and guests that do not behave.

mod guest;

use guest::{DATA, Data, Machine, answer, execute_srb, range};
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use storvsp::backend::memory::MemoryDisk;
use storvsp::block::{Completed, Disk, DiskInfo, IoError, Queue, Request, Submitted};
use storvsp::controller::{Class, Config, LunError, NoSpace};
use storvsp::lun::Lun;
use vmbus::memory::GuestMemory;
use vmbusdef::guid::class;
use vmbusdef::storage::{Operation, SrbStatus, Status};
use vmm_sys_util::eventfd::EventFd;

const READY: [u8; 6] = [0; 6];
const READ: [u8; 10] = [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0];

fn memory_disk() -> Lun {
    Lun::disk(Arc::new(MemoryDisk::new(vec![0x5A; 1 << 20], 512)), [2; 16])
}

/// A disk whose requests end when and how the test wants.
struct Slow {
    requests: Mutex<Sender<Box<Request>>>,
    done: Arc<Mutex<Vec<Completed>>>,
    wake: Mutex<Option<EventFd>>,
}

/// The test's end of it.
struct Hand {
    requests: Receiver<Box<Request>>,
    disk: Arc<Slow>,
}

fn slow() -> (Lun, Hand) {
    let (sender, requests) = channel();
    let disk = Arc::new(Slow {
        requests: Mutex::new(sender),
        done: Arc::default(),
        wake: Mutex::new(None),
    });
    (Lun::disk(Arc::clone(&disk) as Arc<dyn Disk>, [3; 16]), Hand { requests, disk })
}

impl Hand {
    fn finish(&self, request: Box<Request>, result: Result<(), IoError>) {
        self.disk.done.lock().unwrap().push(Completed { request, result, copied: false });
        self.disk.wake.lock().unwrap().as_ref().unwrap().write(1).unwrap();
    }
}

impl Disk for Slow {
    fn info(&self) -> DiskInfo {
        DiskInfo {
            size: 1 << 20,
            logical_block: 512,
            physical_block: 512,
            read_only: false,
            discard: None,
        }
    }

    fn open_queue(
        &self,
        _depth: u32,
        _memory: &GuestMemory,
        wake: &EventFd,
    ) -> io::Result<Box<dyn Queue>> {
        *self.wake.lock().unwrap() = Some(wake.try_clone()?);
        Ok(Box::new(SlowQueue {
            requests: self.requests.lock().unwrap().clone(),
            done: Arc::clone(&self.done),
        }))
    }
}

struct SlowQueue {
    requests: Sender<Box<Request>>,
    done: Arc<Mutex<Vec<Completed>>>,
}

impl Queue for SlowQueue {
    fn submit(&mut self, request: Box<Request>) -> Submitted {
        match self.requests.send(request) {
            Ok(()) => Submitted::UnderWay,
            Err(error) => Submitted::Refused(error.0),
        }
    }

    fn kick(&mut self) {}

    fn completed(&mut self) -> Option<Completed> {
        self.done.lock().unwrap().pop()
    }
}

#[test]
fn commands_before_set_up_are_refused_and_anything_unknown_too() {
    let machine = Machine::new(Class::Scsi, 1);
    let offers = machine.guest.connect();
    assert_eq!((offers[0].class, offers[0].instance), (class::SCSI, guest::INSTANCE));
    let driver = machine.open(&offers[0], 0);
    assert_eq!(driver.vstor(Operation::EXECUTE_SRB, &[]).0, Status::INVALID_DEVICE_STATE);
    assert_eq!(driver.vstor(Operation::FCHBA_DATA, &[]).0, Status::NOT_SUPPORTED);
    assert_eq!(driver.vstor(Operation(99), &[]).0, Status::NOT_SUPPORTED);
    driver.set_up();
    let (_, properties) = driver.vstor(Operation::QUERY_PROPERTIES, &[]);
    assert_eq!(properties[..16], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0]);
}

#[test]
fn packets_that_are_none_get_an_answer_or_none_as_they_wish() {
    let machine = Machine::new(Class::Scsi, 1);
    machine.controller.attach(0, memory_disk()).unwrap();
    let driver = machine.start();
    driver.channel.request(9, &[], &[3; 40]);
    let short = driver.channel.wait();
    assert_eq!(
        (short.transaction_id, &short.payload[..4], short.payload[8]),
        (9, &[1, 0, 0, 0][..], 0x0D)
    );
    let srb = |cdb_length: usize| execute_srb([0; 3], &vec![0; cdb_length], 2, 0);
    // Not wanting an answer, and an answer to nothing.
    driver.channel.rings.send(6, 0, 10, &[], &srb(6));
    driver.channel.rings.send(11, 0, 10, &[], &srb(6));
    machine.guest.host.ring(driver.channel.offer.connection_id);
    let mut long = srb(6);
    long[20] = 17;
    driver.channel.request(11, &[], &long);
    let packet = driver.channel.wait();
    assert_eq!(
        (packet.transaction_id, answer(&packet.payload).srb_status),
        (11, SrbStatus::INVALID_REQUEST)
    );
    // Memory that is not the guest's.
    let mut hole = range(DATA, 512);
    hole[16..24].copy_from_slice(&0x7FFF_FFFFu64.to_le_bytes());
    driver.channel.request(12, &hole, &execute_srb([0; 3], &READ, 1, 512));
    assert_eq!(answer(&driver.channel.wait().payload).srb_status, SrbStatus::INVALID_REQUEST);
    assert!(driver.command(0, &READ, Data::In(512)).is_good(), "and life goes on");
}

#[test]
fn a_ring_of_nonsense_stops_the_channel_until_it_is_opened_anew() {
    let machine = Machine::new(Class::Scsi, 1);
    machine.controller.attach(0, memory_disk()).unwrap();
    let driver = machine.start();
    driver.channel.rings.set_host_field(0, 0xDEAD_BEEF);
    let offer = driver.channel.offer;
    machine.guest.host.ring(offer.connection_id);
    machine.controller.detach(0).unwrap();
    machine.controller.attach(0, memory_disk()).unwrap();
    driver.channel.close();
    let driver = machine.open(&offer, 0);
    driver.set_up();
    assert!(driver.command(0, &READ, Data::In(512)).is_good());
}

#[test]
fn luns_come_and_go_and_the_guest_is_told() {
    let machine = Machine::new(Class::Scsi, 1);
    let driver = machine.start();
    machine.controller.attach(4, memory_disk()).unwrap();
    let notice = driver.channel.wait();
    assert_eq!((notice.packet_type, notice.transaction_id, notice.payload[0]), (6, 0, 11));
    assert!(driver.command(4, &READ, Data::In(512)).is_good());
    machine.controller.detach(4).unwrap();
    assert_eq!(driver.channel.wait().payload[0], 2);
    assert_eq!(driver.command(4, &READ, Data::In(512)).srb_status, SrbStatus::INVALID_LUN);
    let attach = |number| machine.controller.attach(number, memory_disk());
    assert_eq!(
        (attach(255), machine.controller.detach(9)),
        (Err(LunError::NoSuchAddress(255)), Err(LunError::Absent(9)))
    );
    attach(254).unwrap();
    assert_eq!(attach(254), Err(LunError::Taken(254)));
}

#[test]
fn a_controller_that_is_to_go_waits_for_a_guest_that_speaks_to_it() {
    const HOUR: Duration = Duration::from_secs(3600);
    const MOMENT: Duration = Duration::from_millis(50);
    let machine = Machine::new(Class::Scsi, 1);
    let controller = &machine.controller;
    controller.attach(4, memory_disk()).unwrap();
    controller.retire(HOUR, HOUR);
    assert_eq!(controller.detach(4), Err(LunError::Absent(4)), "gone, and nobody to wait for");
    let driver = machine.start();
    controller.attach(4, memory_disk()).unwrap();
    assert_eq!(driver.channel.wait().payload[0], 11);
    controller.retire(MOMENT, HOUR);
    assert_eq!(driver.channel.wait().payload[0], 2, "the guest is told, and silent");
    std::thread::scope(|scope| {
        let (start, retire) = (Instant::now(), scope.spawn(|| controller.retire(HOUR, MOMENT)));
        assert_eq!(driver.channel.wait().payload[0], 2);
        while !retire.is_finished() {
            assert_eq!(driver.command(4, &READ, Data::In(512)).srb_status, SrbStatus::INVALID_LUN);
        }
        assert!(start.elapsed() >= MOMENT, "as long as it may");
    });
}

#[test]
fn a_disk_that_leaves_ends_its_commands_first() {
    let machine = Machine::new(Class::Scsi, 1);
    let (lun, hand) = slow();
    machine.controller.attach(0, lun).unwrap();
    let driver = machine.start();
    let id = driver.send([0; 3], &READ, 1, DATA, 512);
    let request = hand.requests.recv().unwrap();
    std::thread::scope(|scope| {
        let detach = scope.spawn(|| machine.controller.detach(0));
        std::thread::sleep(Duration::from_millis(20));
        assert!(!detach.is_finished(), "the disk has the guest's memory");
        hand.finish(request, Ok(()));
        detach.join().unwrap().unwrap();
    });
    let mut answers = [driver.channel.wait(), driver.channel.wait()];
    answers.sort_by_key(|packet| packet.transaction_id);
    assert_eq!((answers[0].payload[0], answers[1].transaction_id), (2, id));
    assert!(answer(&answers[1].payload).is_good());
}

#[test]
fn a_new_size_is_told_by_sense_data_once() {
    let machine = Machine::new(Class::Scsi, 1);
    let disk = MemoryDisk::new(vec![0; 1 << 20], 512);
    machine.controller.attach(0, Lun::disk(Arc::new(disk.clone()), [0; 16])).unwrap();
    let driver = machine.start();
    disk.bytes().resize(2 << 20, 1);
    machine.controller.resized(0).unwrap();
    assert!(
        driver.command(0, &[0x12, 0, 0, 0, 36, 0], Data::In(36)).is_good(),
        "INQUIRY does not mind"
    );
    assert_eq!(driver.command(0, &READY, Data::None).why(), [6, 0x2A, 9]);
    assert_eq!(driver.data(0, &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8)[..4], [0, 0, 0x0F, 0xFF]);
}

#[test]
fn errors_of_the_store_become_sense_data() {
    let machine = Machine::new(Class::Scsi, 1);
    let (lun, hand) = slow();
    machine.controller.attach(0, lun).unwrap();
    let driver = machine.start();
    let write = [0x2A, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    let eio = || IoError::from(io::Error::from_raw_os_error(5));
    let full = || IoError::from(io::Error::from_raw_os_error(28));
    for (cdb, direction, error, expected) in [
        (READ, 1, eio(), [3, 0x11, 0]),
        (write, 0, eio(), [3, 0x0C, 0]),
        (write, 0, full(), [7, 0x27, 7]),
        (write, 0, IoError::ReadOnly, [7, 0x27, 0]),
        (READ, 1, IoError::OutOfRange, [5, 0x21, 0]),
        (READ, 1, IoError::Unsupported, [5, 0x20, 0]),
        ([0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0], 2, eio(), [3, 0x0C, 0]),
    ] {
        driver.send([0; 3], &cdb, direction, DATA, 512);
        hand.finish(hand.requests.recv().unwrap(), Err(error));
        assert_eq!(driver.answer().1.why(), expected);
    }
}

#[test]
fn commands_end_in_any_order_and_a_reset_waits_for_them() {
    let machine = Machine::new(Class::Scsi, 1);
    let (lun, hand) = slow();
    machine.controller.attach(0, lun).unwrap();
    let driver = machine.start();
    let ids = [0; 3].map(|_| driver.send([0; 3], &READ, 1, DATA, 512));
    let [first, second, third] = [0; 3].map(|_| hand.requests.recv().unwrap());
    hand.finish(second, Ok(()));
    assert_eq!(driver.answer().0, ids[1]);
    let mut reset = vec![6, 0, 0, 0, 1];
    reset.resize(64, 0);
    driver.channel.request(0xFFFF_FFFF_FFFF_FFFC, &[], &reset);
    let after = driver.send([0; 3], &READY, 2, 0, 0);
    hand.finish(third, Ok(()));
    hand.finish(first, Ok(()));
    let order: Vec<_> = (0..4).map(|_| driver.channel.wait().transaction_id).collect();
    assert_eq!(order[2..], [0xFFFF_FFFF_FFFF_FFFC, after]);
    assert!(order[..2].contains(&ids[0]) && order[..2].contains(&ids[2]));
}

#[test]
fn more_commands_than_slots_wait_in_the_ring() {
    let machine = Machine::with(Config { depth: 4, ..Config::new(Class::Scsi, 1) }, 1);
    let (lun, hand) = slow();
    machine.controller.attach(0, lun).unwrap();
    let driver = machine.start();
    for _ in 0..40 {
        driver.send([0; 3], &READ, 1, DATA, 512);
    }
    let mut answered = Vec::new();
    for round in 0..10 {
        let batch: Vec<_> = (0..4).map(|_| hand.requests.recv().unwrap()).collect();
        assert!(round < 9 || hand.requests.try_recv().is_err());
        batch.into_iter().for_each(|request| hand.finish(request, Ok(())));
        answered.extend((0..4).map(|_| driver.answer().0));
    }
    answered.sort_unstable();
    assert!(answered.into_iter().eq(1..41));
}

#[test]
fn closing_waits_for_what_is_under_way() {
    let machine = Machine::new(Class::Scsi, 1);
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(1 << 20).unwrap();
    let raw = storvsp::backend::RawDisk::open(file.path(), Default::default()).unwrap();
    machine
        .controller
        .attach(0, Lun::disk(Arc::new(storvsp::backend::FileDisk::new(raw)), [0; 16]))
        .unwrap();
    let driver = machine.start();
    machine.write(DATA, &[0xC3; 4096]);
    for block in 0..100u8 {
        driver.send([0; 3], &[0x2A, 0, 0, 0, 0, block * 2, 0, 0, 2, 0], 0, DATA, 1024);
    }
    driver.channel.close();
    machine.write(DATA, &[0; 4096]);
    let written = std::fs::read(file.path()).unwrap();
    let blocks = written.chunks(1024).take_while(|block| block == &[0xC3; 1024]).count();
    assert!(written[blocks * 1024..].iter().all(|byte| *byte == 0), "nothing half, nothing late");
}

#[test]
fn subchannels_serve_the_same_disks() {
    let machine = Machine::new(Class::Scsi, 4);
    machine.controller.attach(0, memory_disk()).unwrap();
    let driver = machine.start();
    let (_, properties) = driver.vstor(Operation::QUERY_PROPERTIES, &[]);
    assert_eq!((properties[4], properties[8]), (3, 1));
    assert_eq!(driver.vstor(Operation::CREATE_SUB_CHANNELS, &[4, 0]).0, Status::INVALID_PARAMETER);
    assert_eq!(driver.vstor(Operation::CREATE_SUB_CHANNELS, &[3, 0]).0, Status::SUCCESS);
    let offers = [1, 2, 3].map(|vp| (vp, machine.guest.offer()));
    let drivers = offers.map(|(vp, offer)| machine.open(&offer, vp));
    for other in &drivers {
        assert!(other.command(0, &READ, Data::In(512)).is_good());
        assert_eq!(machine.read(DATA, 512), [0x5A; 512]);
        machine.write(DATA, &[0; 512]);
    }
    machine.controller.detach(0).unwrap();
    for other in &drivers {
        assert_eq!(other.command(0, &READ, Data::In(512)).srb_status, SrbStatus::INVALID_LUN);
    }
}

#[test]
fn an_ide_controller_has_one_disk_at_any_target() {
    let machine = Machine::new(Class::Ide, 1);
    let lun = |number| machine.controller.attach(number, memory_disk());
    assert_eq!((lun(1), lun(0)), (Err(LunError::NoSuchAddress(1)), Ok(())));
    let offers = machine.guest.connect();
    assert_eq!(offers[0].class, class::IDE);
    let driver = machine.open(&offers[0], 0);
    driver.set_up();
    assert!(driver.command_to([0, 7, 0], &READ, Data::In(512)).is_good());
    assert_eq!(
        driver.command_to([0, 7, 1], &READ, Data::In(512)).srb_status,
        SrbStatus::INVALID_LUN
    );
}

#[test]
fn commands_may_wait_for_space() {
    let machine =
        Machine::with(Config { no_space: NoSpace::Wait, ..Config::new(Class::Scsi, 1) }, 1);
    let (lun, hand) = slow();
    machine.controller.attach(0, lun).unwrap();
    let driver = machine.start();
    let write = [0x2A, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    let full = || IoError::from(io::Error::from_raw_os_error(28));
    let id = driver.send([0; 3], &write, 0, DATA, 512);
    hand.finish(hand.requests.recv().unwrap(), Err(full()));
    assert!(driver.command(0, &READY, Data::None).is_good(), "others go on");
    assert_eq!(machine.controller.counts().waiting_for_space, 1);
    machine.controller.resume();
    let again = hand.requests.recv().unwrap();
    assert_eq!((again.offset, again.buffer.len()), (0, 512));
    hand.finish(again, Ok(()));
    assert_eq!(driver.answer().0, id);
    assert_eq!(machine.controller.counts().waiting_for_space, 0);
    driver.send([0; 3], &write, 0, DATA, 512);
    hand.finish(hand.requests.recv().unwrap(), Err(full()));
    let mut reset = vec![6, 0, 0, 0, 1];
    reset.resize(64, 0);
    driver.channel.request(99, &[], &reset);
    assert_eq!(driver.answer().1.why(), [7, 0x27, 7], "a reset does not wait");
    assert_eq!(driver.channel.wait().transaction_id, 99);
}

#[test]
fn what_was_done_is_counted() {
    let machine = Machine::new(Class::Scsi, 1);
    machine.controller.attach(0, memory_disk()).unwrap();
    let driver = machine.start();
    assert!(driver.command(0, &READ, Data::In(512)).is_good());
    assert!(driver.command(0, &[0x2A, 0, 0, 0, 0, 0, 0, 0, 2, 0], Data::Out(&[0; 1024])).is_good());
    driver.command(0, &[0xFF; 6], Data::None);
    driver.channel.close();
    let counts = machine.controller.counts();
    assert_eq!((counts.commands, counts.failures, counts.read, counts.written), (3, 1, 512, 1024));
    assert!((1..=7).contains(&counts.signals), "{counts:?}");
}

#[test]
fn a_command_is_recorded_at_each_station_while_somebody_looks() {
    let machine = Machine::new(Class::Scsi, 1);
    machine.controller.attach(0, memory_disk()).unwrap();
    let driver = machine.start();
    assert!(driver.command(0, &READ, Data::In(512)).is_good());
    machine.controller.trace(true);
    let id = driver.send([0; 3], &READ, 1, DATA, 512);
    driver.answer();
    driver.command(0, &READY, Data::None);
    machine.controller.trace(false);
    driver.command(0, &READY, Data::None);
    let trace = machine.controller.take_trace();
    let [read, ready] = trace[..] else { panic!("{trace:?}") };
    assert_eq!(
        (read.channel, read.lun, read.opcode, read.length, read.transaction_id),
        (0, 0, 0x28, 512, id)
    );
    assert!([0, read.received, read.submitted, read.completed, read.answered].is_sorted());
    assert!(read.received > 0 && read.submitted > 0);
    assert_eq!((ready.opcode, ready.submitted, ready.completed), (0, 0, 0));
    assert!(ready.received <= ready.answered && machine.controller.take_trace().is_empty());
}
