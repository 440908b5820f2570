//! A guest that rewrites its rings while they are used: its channel may stop, and nothing else happens.

mod guest;

use guest::{DATA, Data, Machine, execute_srb, range};
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use storvsp::backend::{FileDisk, RawDisk};
use storvsp::controller::Class;
use storvsp::lun::Lun;
use vm_memory::{Bytes, GuestAddress};

static PANICKED: AtomicBool = AtomicBool::new(false);

/// Where the first channel's rings are: 32 pages each.
const RINGS: u64 = 0x10_0000;

#[test]
fn rings_rewritten_while_in_use_cost_the_guest_its_channel_and_no_more() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICKED.store(true, Ordering::Relaxed);
        usual(info);
    }));
    let machine = Machine::new(Class::Scsi, 1);
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(1 << 20).unwrap();
    let raw = RawDisk::open(file.path(), Default::default()).unwrap();
    machine.controller.attach(0, Lun::disk(Arc::new(FileDisk::new(raw)), [0; 16])).unwrap();
    let first = machine.start();
    let offer = first.channel.offer;
    first.channel.close();
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let end = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < end {
        let driver = machine.open(&offer, 0);
        driver.set_up();
        attack(&machine, &driver.channel.rings, &mut rng, offer.connection_id);
        driver.channel.close();
        assert!(!PANICKED.load(Ordering::Relaxed));
    }
    let driver = machine.open(&offer, 0);
    driver.set_up();
    let read = [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    assert!(driver.command(0, &read, Data::In(512)).is_good());
}

/// A hundred sound commands, and as many rewrites beside them.
fn attack(
    machine: &Machine,
    rings: &vmbus::testing::GuestRings,
    rng: &mut TestRng,
    connection: u32,
) {
    let seed = rng.next_u64();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let srb = execute_srb([0; 3], &[0x28, 0, 0, 0, 0, 0, 0, 0, 8, 0], 1, 4096);
            for id in 0..100 {
                // Where the indices are nonsense there is nowhere to put it.
                if rings.host_field(0) < 0x1F000 && rings.host_field(1) < 0x1F000 {
                    rings.send(9, 1, id, &range(DATA, 4096), &srb);
                }
                machine.guest.host.ring(connection);
            }
        });
        scope.spawn(|| rewrite(machine, rings, seed));
    });
}

fn rewrite(machine: &Machine, rings: &vmbus::testing::GuestRings, seed: u64) {
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed as u8; 32]);
    for _ in 0..100 {
        let value = rng.next_u64();
        let index = ((value >> 32) as u32 % 0x1F000) & !7;
        match value % 64 {
            0 => rings.set_host_field(0, value as u32),
            1 => rings.set_guest_field(1, value as u32),
            2..16 => rings.set_host_field(0, index),
            16..24 => rings.set_guest_field(1, index),
            24..32 => rings.set_host_field(3, index),
            // Into a packet's descriptor, ranges or command, most likely near the front.
            _ => {
                let at = RINGS + 4096 + u64::from(index % 0x4000);
                machine.guest.memory.write_obj(value as u16 as u64, GuestAddress(at)).unwrap();
            }
        }
        std::thread::yield_now();
    }
}
