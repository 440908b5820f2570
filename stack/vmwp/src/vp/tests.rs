//! The run loop, with a test that plays the guest.

use crate::chipset::{Chipset, ports};
use crate::console::testing::Recorder;
use crate::control::{Control, Outcome};
use crate::machine::Machine;
use crate::memory::layout::IOAPIC_BASE;
use crate::memory::{GuestRam, MemoryLayout};
use crate::storage::Storage;
use hvdef::hypercall::{HypercallCode, HypercallInput};
use hvdef::register::ExceptionEvent;
use std::sync::Arc;
use vid::exit::{Access, Context, CpuidExit, Exit, HypercallExit, MsrExit};
use vid::fake::{FakeGuest, FakePartition};
use vid::{Partition, RegisterName, SegmentRegister, VpIndex};
use vm_memory::{Bytes, GuestAddress};

/// A VP that runs in a thread of its own.
struct Running {
    partition: FakePartition,
    guest: FakeGuest,
    control: Arc<Control>,
    console: Arc<Recorder>,
    thread: Option<std::thread::JoinHandle<()>>,
    ram: GuestRam,
}

impl Running {
    fn start() -> Self {
        let partition = FakePartition::new();
        let (ends, console) = Recorder::console();
        let shared: Arc<dyn Partition> = Arc::new(partition.clone());
        let chipset = Chipset::new(shared, &ends).unwrap();
        let ram = GuestRam::new(&MemoryLayout::new(32 << 20).unwrap(), false).unwrap();
        let control = Arc::new(Control::default());
        let shared: Arc<dyn Partition> = Arc::new(partition.clone());
        let vmbus = crate::vmbus::start(&shared, &ram, 1, &Storage::default()).unwrap();
        let memory = ram.clone();
        let machine = Machine::new(ram, chipset, vmbus, Arc::clone(&control));
        let guest = partition.guest(VpIndex(0));
        let vp = partition.create_vp(VpIndex(0)).unwrap();
        let thread = std::thread::spawn(move || super::run(vp, &machine));
        let running =
            Self { partition, guest, control, console, thread: Some(thread), ram: memory };
        running.set(RegisterName::RIP, 0x1000);
        running.set_segment(RegisterName::CS, 0xA09B);
        running.set(RegisterName::EFER, 0x500);
        running
    }

    fn set(&self, name: RegisterName, value: u64) {
        self.guest.set_register(name, value.into());
    }

    fn get(&self, name: RegisterName) -> u64 {
        self.guest.register(name).low
    }

    fn set_segment(&self, name: RegisterName, attributes: u16) {
        let segment = SegmentRegister {
            base: 0,
            limit: u32::MAX,
            selector: 8,
            attributes: attributes.into(),
        };
        self.guest.set_register(name, segment.into());
    }

    fn context(&self) -> Context {
        Context {
            vp_index: 0,
            instruction_length: 0,
            rip: self.get(RegisterName::RIP),
            rflags: 2,
            interruption_pending: false,
        }
    }

    /// mov [rdi], eax to a register of the IOAPIC.
    fn ioapic(&self, index: u32, value: u32) {
        for (offset, value) in [(0, index), (0x10, value)] {
            self.set(RegisterName::RDI, IOAPIC_BASE + offset);
            self.set(RegisterName::RAX, value.into());
            assert!(self.guest.access(Access::Write, IOAPIC_BASE + offset, &[0x89, 0x07]));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.control.end(Outcome::Quit);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

#[test]
fn ports_are_read_and_written_and_rip_moves_on() {
    let vm = Running::start();
    for byte in b"boot" {
        assert!(vm.guest.output(ports::COM1, 1, (*byte).into()));
    }
    assert_eq!(vm.console.text(), "boot");
    assert_eq!(vm.get(RegisterName::RIP), 0x1004);
    vm.set(RegisterName::RAX, 0x1122_3344_5566_7788);
    assert_eq!(vm.guest.input(0x99, 1), Some(0xFF));
    assert_eq!(vm.get(RegisterName::RAX), 0x1122_3344_5566_77FF);
    assert_eq!(vm.guest.input(0xCF8, 4), Some(u32::MAX));
    assert_eq!(vm.get(RegisterName::RAX), 0xFFFF_FFFF);
}

#[test]
fn an_interrupt_travels_from_com1_through_the_ioapic() {
    let vm = Running::start();
    vm.ioapic(0x19, 0);
    vm.ioapic(0x18, 0x34);
    assert_eq!(vm.get(RegisterName::RIP), 0x1000 + 4 * 2);
    assert!(vm.guest.output(ports::COM1 + 1, 1, 2), "transmitter empty: interrupt at once");
    assert_eq!(vm.partition.take_interrupts()[0].vector, 0x34);
}

#[test]
fn device_registers_are_read_by_the_instruction_that_asks() {
    let vm = Running::start();
    vm.ioapic(1, 0);
    vm.ioapic(1, 0);
    vm.set(RegisterName::RSI, IOAPIC_BASE + 0x10);
    // mov ecx, [rsi]
    assert!(vm.guest.access(Access::Read, IOAPIC_BASE + 0x10, &[0x8B, 0x0E]));
    assert_eq!(vm.get(RegisterName::RCX), 0x0017_0020);
}

#[test]
fn the_eoi_of_a_level_interrupt_reaches_the_ioapic() {
    let vm = Running::start();
    vm.ioapic(0x22, 0x50 | 1 << 15);
    assert!(vm.guest.exit(Exit::ApicEoi { vector: 0x50 }));
    vm.ioapic(0x22, 0x50 | 1 << 15);
    assert_eq!(vm.partition.take_interrupts(), []);
}

#[test]
fn power_off_and_reset_end_the_run() {
    let vm = Running::start();
    assert!(!vm.guest.output(ports::SLEEP_CONTROL, 1, 0x34));
    assert_eq!(vm.control.wait(), Outcome::PowerOff);
    let vm = Running::start();
    assert!(!vm.guest.output(ports::RESET, 1, 6));
    assert_eq!(vm.control.wait(), Outcome::Reset);
}

#[test]
fn a_triple_fault_is_a_crash_with_its_registers() {
    let vm = Running::start();
    vm.set(RegisterName::CR3, 0x5000);
    assert!(!vm.guest.exit(Exit::TripleFault(vm.context())));
    let Outcome::Crash(what) = vm.control.wait() else { panic!() };
    assert!(what.starts_with("VP 0: triple fault (rip 0x1000"), "{what}");
    assert!(what.contains("cr3 0x5000"), "{what}");
}

#[test]
fn code_outside_of_memory_and_instructions_nobody_uses_are_crashes() {
    let vm = Running::start();
    assert!(!vm.guest.access(Access::Execute, 0xD000_0000, &[]));
    let Outcome::Crash(what) = vm.control.wait() else { panic!() };
    assert!(what.contains("no code at 0xd0000000"), "{what}");
    let vm = Running::start();
    assert!(!vm.guest.access(Access::Write, IOAPIC_BASE, &[0x0F, 0xAE, 0x00]));
    let Outcome::Crash(what) = vm.control.wait() else { panic!() };
    assert!(what.contains("is not emulated"), "{what}");
}

#[test]
fn what_the_hypervisor_refuses_is_the_workers_failure() {
    let vm = Running::start();
    assert!(vm.guest.is_entered());
    vm.guest.fail_next_run();
    assert!(matches!(vm.control.wait(), Outcome::Failure(_)));
    let vm = Running::start();
    assert!(!vm.guest.exit(Exit::Halt(vm.context())), "the hypervisor waits, not we");
    let Outcome::Failure(what) = vm.control.wait() else { panic!() };
    assert!(what.contains("Halt"), "{what}");
}

#[test]
fn unknown_msrs_read_as_zero_and_cpuid_answers_as_the_hypervisor_would() {
    let vm = Running::start();
    vm.set(RegisterName::RAX, 5);
    let read = MsrExit { context: vm.context(), msr: 0x1234, written: None };
    assert!(vm.guest.exit(Exit::Msr(read)));
    assert_eq!((vm.get(RegisterName::RAX), vm.get(RegisterName::RIP)), (0, 0x1002));
    let cpuid =
        CpuidExit { context: vm.context(), leaf: 0, subleaf: 0, default: [0xA, 0xB, 0xC, 0xD] };
    assert!(vm.guest.exit(Exit::Cpuid(cpuid)));
    assert_eq!((vm.get(RegisterName::RBX), vm.get(RegisterName::RDX)), (0xB, 0xD));
    assert_eq!(vm.get(RegisterName::RIP), 0x1004);
}

impl Running {
    fn call(&self, code: HypercallCode, is_fast: bool, input: u64) -> u64 {
        let control = HypercallInput::new().with_code(code).with_is_fast(is_fast).into_bits();
        let context = self.context();
        let call = HypercallExit { context, is_64_bit: true, control, input, output: 0 };
        assert!(self.guest.exit(Exit::Hypercall(call)));
        self.get(RegisterName::RAX)
    }
}

#[test]
fn hypercalls_for_connections_that_are_not_there_are_refused() {
    let vm = Running::start();
    assert_eq!(vm.call(HypercallCode::POST_MESSAGE, false, 0), 0x12);
    assert_eq!(vm.get(RegisterName::RIP), 0x1003);
    assert_eq!(vm.call(HypercallCode::SIGNAL_EVENT, true, 0x2001), 0x12);
    assert_eq!(vm.call(HypercallCode::CREATE_PARTITION, false, 0), 2);
    let context = vm.context();
    let narrow = HypercallExit { context, is_64_bit: false, control: 0, input: 0, output: 0 };
    vm.set(RegisterName::RAX, 0x5D);
    vm.set(RegisterName::RDX, 0);
    assert!(vm.guest.exit(Exit::Hypercall(narrow)));
    assert_eq!((vm.get(RegisterName::RAX), vm.get(RegisterName::RDX)), (0x12, 0));
}

#[test]
fn a_message_that_lies_nowhere_or_is_too_long_is_refused() {
    let vm = Running::start();
    assert_eq!(vm.call(HypercallCode::POST_MESSAGE, false, 0x1004), 4, "unaligned");
    assert_eq!(vm.call(HypercallCode::POST_MESSAGE, false, 0x1FF8), 4, "over the end of a page");
    assert_eq!(vm.call(HypercallCode::POST_MESSAGE, false, 0xF000_0000), 3, "no RAM");
    vm.message(4, &[0; 8], 241);
    assert_eq!(vm.call(HypercallCode::POST_MESSAGE, false, 0x2000), 5);
}

impl Running {
    /// Leaves the input of POST_MESSAGE at 0x2000.
    fn message(&self, connection: u32, payload: &[u8], size: u32) {
        let words = [connection, 0, 1, size];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let bytes = [&bytes, payload].concat();
        self.ram.memory().write_slice(&bytes, GuestAddress(0x2000)).unwrap();
    }
}

#[test]
fn a_guest_that_makes_contact_is_answered() {
    let vm = Running::start();
    // INITIATE_CONTACT: version 5.2, VP 0, SINT 2, no monitor pages.
    let words = [14, 0, 0x0005_0002, 0, 2, 0, 0, 0, 0, 0u32];
    let payload: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    vm.message(4, &payload, 40);
    assert_eq!(vm.call(HypercallCode::POST_MESSAGE, false, 0x2000), 0);
    let answer = loop {
        if let [(vp, sint, message)] = vm.partition.take_messages()[..] {
            assert_eq!((vp, sint), (VpIndex(0), 2));
            break message;
        }
        std::thread::yield_now();
    };
    // VERSION_RESPONSE: supported.
    assert_eq!(&answer.payload[..9], &[15, 0, 0, 0, 0, 0, 0, 0, 1]);
}

#[test]
fn a_page_the_guest_has_not_mapped_is_its_page_fault() {
    let vm = Running::start();
    vm.set(RegisterName::CR0, 1 << 31 | 1);
    vm.set(RegisterName::CR4, 1 << 5);
    vm.set(RegisterName::CR3, 0x8000);
    vm.set(RegisterName::RDI, 0x1234_5000);
    assert!(vm.guest.access(Access::Write, IOAPIC_BASE, &[0x89, 0x07]));
    let event = vm.guest.register(RegisterName::PENDING_EVENT0).as_u128();
    let event = ExceptionEvent::from_bits(event);
    assert!(event.pending() && event.deliver_error_code());
    assert_eq!((event.vector(), event.parameter(), event.error_code()), (14, 0x1234_5000, 2));
    assert_eq!(vm.get(RegisterName::RIP), 0x1000, "the instruction starts again");
}
