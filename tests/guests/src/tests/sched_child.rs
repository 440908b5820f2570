//! A child with one VP that does one small thing, and shows how much of a processor it gets.

use super::children;
use guests::cpu::{peek, peek32};
use guests::hypercall::{output, with_input};
use guests::memory;
use guests::report::Checks;
use guests::{check, equal};
use hvdef::property::PartitionProperty as P;
use hvdef::{HvStatus, HypercallCode as C};

/// Where the child counts its rounds, and notes its run time in 100 ns.
const ROUNDS: u64 = 0x2000;
const RUN_TIME: u64 = 0x2008;

/// In real mode: 16,384 times `dec cx; jnz`, count one round, VP_RUNTIME to memory; again.
const BURN: [u8; 34] = [
    0xB9, 0x00, 0x40, 0x49, 0x75, 0xFD, // mov cx, 0x4000; 1: dec cx; jnz 1b
    0x66, 0xFF, 0x06, 0x00, 0x20, // inc dword [ROUNDS]
    0x66, 0xB9, 0x10, 0x00, 0x00, 0x40, 0x0F, 0x32, // mov ecx, VP_RUNTIME; rdmsr
    0x66, 0xA3, 0x08, 0x20, 0x66, 0x89, 0x16, 0x0C,
    0x20, // mov [RUN_TIME], eax; mov [RUN_TIME + 4], edx
    0xEB, 0xE2, // jmp to the beginning
    0x90, 0x90, 0x90, 0x90,
];
/// `mov ecx, VP_RUNTIME; rdmsr; mov [RUN_TIME], eax; hlt; jmp to the beginning`.
const SLEEP: [u8; 15] =
    [0x66, 0xB9, 0x10, 0x00, 0x00, 0x40, 0x0F, 0x32, 0x66, 0xA3, 0x08, 0x20, 0xF4, 0xEB, 0xF1];
/// `mov ecx, SIMP; xor edx, edx`; the message page to 0x5000 and away, count one round, again.
const MOVE_PAGE: [u8; 32] = [
    0x66, 0xB9, 0x83, 0x00, 0x00, 0x40, 0x66, 0x31, 0xD2, // mov ecx, SIMP; xor edx, edx
    0x66, 0xB8, 0x01, 0x50, 0x00, 0x00, 0x0F, 0x30, // 1: mov eax, 0x5001; wrmsr
    0x66, 0xB8, 0x00, 0x50, 0x00, 0x00, 0x0F, 0x30, // mov eax, 0x5000; wrmsr
    0x66, 0xFF, 0x06, 0x00, 0x20, // inc dword [ROUNDS]
    0xEB, 0xE9, // jmp 1b
];

/// What a child does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// Computes.
    Burn,
    /// Waits in HLT.
    Sleep,
    /// Moves an overlay page, so that its second-level tables change all the time.
    MovePage,
}

/// How much a child has done.
#[derive(Clone, Copy, Default, Debug)]
pub struct Progress {
    /// Rounds of its loop.
    pub rounds: u64,
    /// Its run time by the hypervisor's account, in 100 ns.
    pub ran: u64,
}

/// A child with one VP.
pub struct Child {
    id: u64,
    pages: u64,
    ram: u64,
}

impl Child {
    /// Makes a child that is ready to run.
    pub fn new(t: &Checks, work: Work) -> Option<Self> {
        let id = children::create(t)?;
        let (pages, ram) = (memory::pages(children::DEPOSIT), memory::pages(children::MEMORY));
        let child = Self { id, pages, ram };
        let code: &[u8] = match work {
            Work::Burn => &BURN,
            Work::Sleep => &SLEEP,
            Work::MovePage => &MOVE_PAGE,
        };
        memory::put(ram + children::CODE_AT, code);
        let steps = [
            children::deposit(id, pages, children::DEPOSIT),
            // It reads its run time, and moves its hypercall page.
            children::give_rights(id),
            children::fast(C::INITIALIZE_PARTITION, id),
            children::map(id, ram),
            with_input(C::CREATE_VP.0.into(), &[id, 0, 0, 0, 0]),
            children::set(
                id,
                &[(0x60001, 0, 0x009B_0000_0000_FFFF), (0x20010, children::CODE_AT, 0)],
            ),
        ];
        for (index, step) in steps.into_iter().enumerate() {
            equal!(t, step.status(), HvStatus::SUCCESS, "step {index} of making a child");
        }
        Some(child)
    }

    /// Its partition.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Sets a property.
    pub fn set(&self, property: P, value: u64) -> HvStatus {
        with_input(C::SET_PARTITION_PROPERTY.0.into(), &[self.id, property.0.into(), value])
            .status()
    }

    /// A property.
    pub fn get(&self, property: P) -> Option<u64> {
        let answer = with_input(C::GET_PARTITION_PROPERTY.0.into(), &[self.id, property.0.into()]);
        answer.is_success().then(|| output(0))
    }

    /// Lets it run.
    pub fn start(&self, t: &Checks) {
        let done = children::set(self.id, &[(1, 0, 0), (0, 0, 0)]);
        equal!(t, done.status(), HvStatus::SUCCESS, "start");
    }

    /// Stops it.
    pub fn stop(&self, t: &Checks) {
        equal!(t, children::set(self.id, &[(0, 1, 0)]).status(), HvStatus::SUCCESS, "stop");
    }

    /// What it has done so far.
    pub fn progress(&self) -> Progress {
        Progress { rounds: peek32(self.ram + ROUNDS).into(), ran: peek(self.ram + RUN_TIME) }
    }

    /// Ends it; everything that it was given comes back.
    pub fn end(self, t: &Checks) {
        let done = children::fast(C::FINALIZE_PARTITION, self.id);
        equal!(t, done.status(), HvStatus::SUCCESS, "finalize");
        children::withdraw(t, self.id, self.pages);
        let done = children::fast(C::DELETE_PARTITION, self.id);
        check!(t, done.is_success(), "delete: {:?}", done.status());
    }
}
