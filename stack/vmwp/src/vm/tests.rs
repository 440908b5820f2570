//! Whole VMs on the fake hypervisor.

use crate::boot::BootSource;
use crate::chipset::ports;
use crate::cli::Cli;
use crate::console::Console;
use crate::control::{Control, Outcome};
use crate::storage::Storage;
use crate::worker::run_vms;
use clap::Parser;
use std::io::Write;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use vid::fake::FakePartition;
use vid::{
    DeliveryType, HvStatus, InterruptRequest, Partition, PartitionProperty, RegisterName, VpIndex,
};

/// A worker in a thread, whose partitions the test gets to see.
struct Worker {
    partitions: Receiver<FakePartition>,
    thread: JoinHandle<anyhow::Result<i32>>,
    control: Arc<Control>,
    _kernel: tempfile::NamedTempFile,
}

/// A kernel that is nothing but a header.
fn kernel() -> tempfile::NamedTempFile {
    let mut image = vec![0; 2048];
    image[0x1F1] = 1;
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&0x020Fu16.to_le_bytes());
    image[0x211] = 1;
    image[0x214..0x218].copy_from_slice(&0x10_0000u32.to_le_bytes());
    image[0x236] = 1;
    image[0x238..0x23C].copy_from_slice(&255u32.to_le_bytes());
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&image).unwrap();
    file
}

impl Worker {
    fn start(arguments: &[&str], prepare: fn(&FakePartition)) -> Self {
        let file = kernel();
        let path = file.path().to_str().unwrap();
        let always = ["vmwp", "--console", "none", "--memory", "32M", "--kernel", path];
        let cli = Cli::parse_from([&always, arguments].concat());
        let control = Arc::new(Control::default());
        let (sender, partitions) = channel();
        let sender = Mutex::new(sender);
        let shared = Arc::clone(&control);
        let thread = std::thread::spawn(move || {
            let mut source = BootSource::open(cli.kernel.as_deref().unwrap(), None, &cli.cmdline)?;
            let console = Console::open(&cli.console, &shared)?;
            let new = || {
                let partition = FakePartition::new();
                prepare(&partition);
                sender.lock().unwrap().send(partition.clone()).unwrap();
                Ok(Arc::new(partition) as Arc<dyn Partition>)
            };
            run_vms(&cli, &new, &mut source, &Arc::new(Storage::default()), &console, &shared)
        });
        Self { partitions, thread, control, _kernel: file }
    }

    fn next(&self) -> FakePartition {
        self.partitions.recv().unwrap()
    }

    fn end(self) -> anyhow::Result<i32> {
        self.thread.join().unwrap()
    }
}

fn unprepared(_: &FakePartition) {}

#[test]
fn a_vm_is_created_in_order_runs_and_powers_off() {
    let worker = Worker::start(&["--cpus", "3"], unprepared);
    let partition = worker.next();
    let guest = partition.guest(VpIndex(0));
    assert!(guest.is_entered());
    assert_eq!(partition.created_vps(), [0, 1, 2]);
    assert_eq!(partition.mappings()[0].size, 32 << 20);
    assert_eq!(guest.register(RegisterName::RIP).low, 0x10_0200);
    assert_eq!(guest.local_pins().map(|pins| (pins.lint0, pins.lint1)), Some((0x700, 0x400)));
    let waiting = partition.guest(VpIndex(2));
    assert!(waiting.is_entered(), "it waits in the hypervisor");
    assert_eq!(waiting.register(RegisterName::RIP).low, 0);
    assert_eq!(waiting.register(RegisterName::MTRR_DEF_TYPE).low, 0x806);
    let property = |code| partition.property(code).unwrap();
    assert_eq!(property(PartitionProperty::UNIMPLEMENTED_MSR_ACTION), 1);
    assert_eq!(property(PartitionProperty::TIME_FREEZE), 0, "time runs");
    assert_eq!(property(PartitionProperty::PROCESSORS_PER_SOCKET), 3);
    guest.output(ports::SLEEP_CONTROL, 1, 0x34);
    assert_eq!(worker.end().unwrap(), 0);
}

#[test]
fn a_reset_makes_a_new_partition() {
    let worker = Worker::start(&[], unprepared);
    let first = worker.next();
    first.guest(VpIndex(0)).output(ports::RESET, 1, 6);
    let second = worker.next();
    let guest = second.guest(VpIndex(0));
    assert_eq!(guest.input(0x3FD, 1), Some(0x60), "COM1 as after power-on");
    guest.output(ports::SLEEP_CONTROL, 1, 0x34);
    assert_eq!(worker.end().unwrap(), 0);
}

#[test]
fn exit_statuses_tell_how_it_ended() {
    let worker = Worker::start(&["--on-reset", "exit"], unprepared);
    worker.next().guest(VpIndex(0)).output(ports::KEYBOARD_COMMAND, 1, 0xFE);
    assert_eq!(worker.end().unwrap(), 4);
    let worker = Worker::start(&[], unprepared);
    let guest = worker.next().guest(VpIndex(0));
    guest.access(vid::exit::Access::Execute, 0xD000_0000, &[]);
    assert_eq!(worker.end().unwrap(), 3);
    let worker = Worker::start(&[], unprepared);
    worker.next();
    worker.control.end(Outcome::Signal(15));
    assert_eq!(worker.end().unwrap(), 143);
}

#[test]
fn a_crash_can_start_the_vm_anew() {
    let worker = Worker::start(&["--on-crash", "reboot"], unprepared);
    let guest = worker.next().guest(VpIndex(0));
    guest.access(vid::exit::Access::Execute, 0xD000_0000, &[]);
    worker.next().guest(VpIndex(0)).output(ports::SLEEP_CONTROL, 1, 0x34);
    assert_eq!(worker.end().unwrap(), 0);
}

#[test]
fn a_refusal_of_the_hypervisor_is_told_with_its_status() {
    let worker = Worker::start(&[], |partition| partition.refuse_next(HvStatus::ACCESS_DENIED));
    worker.next();
    let error = format!("{:#}", worker.end().unwrap_err());
    assert!(error.contains("ACCESS_DENIED (0x6)"), "{error}");
}

#[test]
fn an_interrupt_of_the_new_vm_does_not_reach_the_old_one() {
    let worker = Worker::start(&[], unprepared);
    let first = worker.next();
    first.guest(VpIndex(0)).output(ports::RESET, 1, 6);
    let second = worker.next();
    let request = InterruptRequest {
        delivery: DeliveryType::Nmi,
        level: false,
        logical: false,
        destination: 0,
        vector: 0,
    };
    second.assert_interrupt(&request).unwrap();
    assert_eq!(first.take_interrupts(), []);
    assert_eq!(second.take_interrupts(), [request]);
    worker.control.end(Outcome::Quit);
    assert_eq!(worker.end().unwrap(), 0);
}
