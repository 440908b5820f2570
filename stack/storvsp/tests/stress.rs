//! Four disks at once, in files, over several channels, with random requests of all sizes and every answer verified.

mod guest;

use guest::{Driver, Machine};
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use std::collections::BTreeMap;
use std::sync::Arc;
use storvsp::backend::raw::RawOptions;
use storvsp::backend::{FileDisk, RawDisk};
use storvsp::controller::Class;
use storvsp::lun::Lun;
use vmbusdef::storage::Operation;

const DISK_SIZE: u64 = 1 << 20;
const DISKS: u64 = 4;
const CHANNELS: u64 = 3;
/// Buffers of each channel begin here, one for each command under way.
const BUFFERS: u64 = 0x80_0000;
const BUFFER_SIZE: u64 = 72 << 10;
const DEPTH: u64 = 32;
const COMMANDS: u64 = 1500;

/// A command under way.
struct Command {
    slot: u64,
    gpa: u64,
    lun: u8,
    offset: u64,
    length: u64,
    is_write: bool,
    seed: u64,
}

/// What a write with this seed puts at `offset`.
fn byte(seed: u64, offset: u64) -> u8 {
    (seed.wrapping_mul(0x9E37_79B9) >> 7) as u8
        ^ (offset >> 9) as u8
        ^ (offset as u8).wrapping_mul(13)
}

/// The guest's view of the slice of each disk that belongs to one channel.
struct Model {
    channel: u64,
    content: Vec<Vec<u8>>,
    busy: Vec<(u8, u64, u64)>,
}

impl Model {
    fn base(&self) -> u64 {
        self.channel * (DISK_SIZE / CHANNELS / 4096 * 4096)
    }

    /// Commands of a channel that touch the same blocks have no order.
    fn is_busy(&self, lun: u8, offset: u64, length: u64) -> bool {
        self.busy
            .iter()
            .any(|(other, at, size)| *other == lun && offset < at + size && *at < offset + length)
    }

    fn choose(&self, rng: &mut TestRng, slot: u64) -> Option<Command> {
        let mut number = |below: u64| rng.next_u64() % below;
        let room = DISK_SIZE / CHANNELS / 4096 * 4096;
        let length = match number(4) {
            0 => 512,
            1 => 4096,
            2 => (number(8) + 1) * 512,
            _ => (number(128) + 1) * 512,
        };
        let offset = self.base() + number((room - length) / 512 + 1) * 512;
        let lun = number(DISKS) as u8;
        // As crooked as Linux lets it be.
        let skew = if number(3) == 0 { number(1024) * 4 } else { 0 };
        let gpa = BUFFERS + (self.channel * DEPTH + slot) * BUFFER_SIZE + skew;
        let (is_write, seed) = (number(2) == 0, rng.next_u64());
        (!self.is_busy(lun, offset, length)).then_some(Command {
            slot,
            gpa,
            lun,
            offset,
            length,
            is_write,
            seed,
        })
    }
}

fn send(machine: &Machine, driver: &Driver<'_>, command: &Command) -> u64 {
    let Command { gpa, lun, offset, length, is_write, seed, .. } = *command;
    let bytes: Vec<u8> = match is_write {
        true => (offset..offset + length).map(|at| byte(seed, at)).collect(),
        false => vec![0xEE; length as usize],
    };
    machine.write(gpa, &bytes);
    let [l0, l1, l2, l3] = ((offset / 512) as u32).to_be_bytes();
    let [b0, b1] = ((length / 512) as u16).to_be_bytes();
    let cdb = [if is_write { 0x2A } else { 0x28 }, 0, l0, l1, l2, l3, 0, b0, b1, 0];
    driver.send([0, 0, lun], &cdb, u8::from(!is_write), gpa, length as u32)
}

fn finish(machine: &Machine, model: &mut Model, command: &Command) {
    let Command { gpa, lun, offset, length, is_write, seed, .. } = *command;
    model.busy.retain(|busy| *busy != (lun, offset, length));
    let start = (offset - model.base()) as usize;
    let content = &mut model.content[usize::from(lun)][start..start + length as usize];
    if is_write {
        for (at, to) in (offset..).zip(content) {
            *to = byte(seed, at);
        }
    } else {
        assert!(
            machine.read(gpa, length as usize) == content,
            "LUN {lun} at {offset:#x}, {length} bytes"
        );
    }
}

fn run(machine: &Machine, driver: &Driver<'_>, channel: u64) {
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[channel as u8 + 1; 32]);
    let content = vec![vec![0; (DISK_SIZE / CHANNELS) as usize]; DISKS as usize];
    let mut model = Model { channel, content, busy: Vec::new() };
    let (mut free, mut under_way): (Vec<u64>, BTreeMap<u64, Command>) =
        ((0..DEPTH).collect(), BTreeMap::new());
    let mut sent = 0;
    while sent < COMMANDS || !under_way.is_empty() {
        let command =
            free.last().filter(|_| sent < COMMANDS).and_then(|slot| model.choose(&mut rng, *slot));
        if let Some(command) = command {
            free.pop();
            model.busy.push((command.lun, command.offset, command.length));
            under_way.insert(send(machine, driver, &command), command);
            sent += 1;
            continue;
        }
        if under_way.is_empty() {
            continue;
        }
        let (id, answer) = driver.answer();
        let command = under_way.remove(&id).expect("answered once");
        assert!(answer.is_good() && u64::from(answer.length) == command.length, "{answer:?}");
        finish(machine, &mut model, &command);
        free.push(command.slot);
    }
}

#[test]
fn every_byte_is_where_it_belongs() {
    let machine = Machine::new(Class::Scsi, CHANNELS as u32);
    let files: Vec<_> = (0..DISKS).map(|_| tempfile::NamedTempFile::new().unwrap()).collect();
    for (lun, file) in (0u8..).zip(&files) {
        file.as_file().set_len(DISK_SIZE).unwrap();
        let options = RawOptions { direct: lun % 2 == 0, ..RawOptions::default() };
        let raw = RawDisk::open(file.path(), options).unwrap();
        let disk = if lun < 2 { FileDisk::new(raw) } else { FileDisk::with_threads(raw) };
        machine.controller.attach(lun, Lun::disk(Arc::new(disk), [lun; 16])).unwrap();
    }
    let first = machine.start();
    first.vstor(Operation::CREATE_SUB_CHANNELS, &[CHANNELS as u8 - 1, 0]);
    let offers: Vec<_> = (1..CHANNELS).map(|_| machine.guest.offer()).collect();
    let mut drivers = vec![first];
    drivers.extend((1..).zip(&offers).map(|(vp, offer)| machine.open(offer, vp)));
    std::thread::scope(|scope| {
        for (channel, driver) in (0..).zip(drivers) {
            let machine = &machine;
            scope.spawn(move || run(machine, &driver, channel));
        }
    });
}
