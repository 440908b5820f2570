//! A child of a few instructions in real mode, with one VP, whose parent this kernel is.

use super::children::{
    CODE_AT, DEPOSIT, IO_PORT, MEMORY, create, deposit, fast, hear, map, rep, set, state_page,
    withdraw,
};
use guests::cpu::{peek, peek32, poke, poke32};
use guests::hypercall::{output, with_input};
use guests::report::Checks;
use guests::{cpu, equal, memory};
use hvdef::hypercall::interrupt::InterruptType;
use hvdef::property::PartitionProperty as P;
use hvdef::register::RegisterName as N;
use hvdef::{HvStatus, HypercallCode as C};

/// Synthetic features: hypervisor, reference time, SynIC, timers, APIC, hypercalls, VP index, reference TSC page, direct timers,
/// flushes.
pub const FEATURES: u64 = 0b1_1111_1011 | 1 << 9 | 1 << 22 | 1 << 25;

/// A feature that no child gets.
const NEVER: u64 = 1 << 60;

/// A word on the register page, and what stands for its class among the changes.
#[derive(Clone, Copy)]
pub struct Place {
    at: u64,
    class: u32,
}
/// Registers there.
pub const RAX: Place = Place { at: 8, class: 1 };
pub const RDX: Place = Place { at: 24, class: 1 };
pub const RSP: Place = Place { at: 40, class: 1 };
pub const RIP: Place = Place { at: 136, class: 1 << 1 };
pub const INTERRUPT_STATE: Place = Place { at: 408, class: 0 };
pub const XMM0: Place = Place { at: 160, class: 1 << 2 };

/// A child with one VP, its state pages, and the parent's message page.
pub struct Subject<'a> {
    /// The running test.
    pub t: &'a Checks,
    id: u64,
    pages: u64,
    /// Address of its memory, which it sees from address 0 on.
    pub ram: u64,
    messages: u64,
    /// Address of its register page.
    pub registers: u64,
    /// Address of its page of intercept messages.
    pub intercepts: u64,
}

/// A segment register of 64 KiB as an element of a call.
fn segment(name: N, base: u64, attributes: u16) -> (u64, u64, u64) {
    (name.0.into(), base, u64::from(attributes) << 48 | 0xFFFF)
}

impl<'a> Subject<'a> {
    /// A child with `code`, in real mode.
    pub fn new(t: &'a Checks, messages: u64, code: &[u8]) -> Option<Self> {
        let id = create(t)?;
        let (pages, ram) = (memory::pages(DEPOSIT), memory::pages(MEMORY));
        memory::put(ram + CODE_AT, code);
        let steps = [
            deposit(id, pages, DEPOSIT),
            with_input(
                C::SET_PARTITION_PROPERTY.0.into(),
                &[id, P::SYNTHETIC_PROC_FEATURES.0.into(), FEATURES | NEVER],
            ),
            fast(C::INITIALIZE_PARTITION, id),
            map(id, ram),
            with_input(C::CREATE_VP.0.into(), &[id, 0, 0, 0, 0]),
            set(id, &[segment(N::CS, 0, 0x9B)]),
        ];
        for (index, step) in steps.into_iter().enumerate() {
            equal!(t, step.status(), HvStatus::SUCCESS, "step {index} of making a child");
        }
        let intercepts = state_page(t, id, 1);
        let registers = state_page(t, id, 0);
        Some(Self { t, id, pages, ram, messages, registers, intercepts })
    }

    /// Its name.
    pub fn vp(&self) -> (u64, u64) {
        (self.id, 0)
    }

    /// Sets a property of its partition.
    pub fn set_property(&self, property: P, value: u64) {
        let input = [self.id, property.0.into(), value];
        let done = with_input(C::SET_PARTITION_PROPERTY.0.into(), &input);
        equal!(self.t, done.status(), HvStatus::SUCCESS, "{property:?}");
    }

    /// A property of its partition.
    pub fn property(&self, property: P) -> u64 {
        let input = [self.id, property.0.into()];
        let done = with_input(C::GET_PARTITION_PROPERTY.0.into(), &input);
        equal!(self.t, done.status(), HvStatus::SUCCESS, "{property:?}");
        output(0)
    }

    /// A register by name.
    pub fn get(&self, name: N) -> u64 {
        let answer = with_input(rep(C::GET_VP_REGISTERS, 1), &[self.id, 0, name.0.into()]);
        equal!(self.t, answer.status(), HvStatus::SUCCESS, "{name:?}");
        output(0)
    }

    /// Sets a register by name.
    pub fn set(&self, name: N, value: u64) {
        let done = set(self.id, &[(name.0.into(), value, 0)]);
        equal!(self.t, done.status(), HvStatus::SUCCESS, "set {name:?}");
    }

    /// Sets a segment register of 64 KiB.
    pub fn set_segment(&self, name: N, base: u64, attributes: u16) {
        let done = set(self.id, &[segment(name, base, attributes)]);
        equal!(self.t, done.status(), HvStatus::SUCCESS, "set {name:?}");
    }

    /// A word of the register page.
    pub fn page(&self, place: Place) -> u64 {
        peek(self.registers + place.at)
    }

    /// Writes to the register page, and says there what.
    pub fn write(&self, words: &[(Place, u64)]) {
        for (place, value) in words {
            poke(self.registers + place.at, *value);
            poke32(self.registers + 4, peek32(self.registers + 4) | place.class);
        }
    }

    /// Lets it run, as Linux does.
    pub fn resume(&self) {
        let done = set(self.id, &[(1, 0, 0), (0, 0, 0)]);
        equal!(self.t, done.status(), HvStatus::SUCCESS, "resume");
    }

    /// Sends an NMI to the VP with this APIC id.
    pub fn send_nmi(&self, destination: u64) -> HvStatus {
        let input = [self.id, InterruptType::NMI.0.into(), destination, 0];
        with_input(C::ASSERT_VIRTUAL_INTERRUPT.0.into(), &input).status()
    }

    /// Suspends it.
    pub fn suspend(&self) -> HvStatus {
        set(self.id, &[(0, 1, 0)]).status()
    }

    /// It comes to an intercept of this kind. Whether it came to one.
    pub fn is_intercepted(&self, kind: u32) -> bool {
        let came = hear(self.t, self.id, self.messages, cpu::pause);
        if came {
            equal!(self.t, peek32(self.intercepts), kind, "intercept");
        }
        came
    }

    /// It stands at a port access at `rip` with `al`, in the message and on the page.
    pub fn is_at_port(&self, rip: u64, al: u64) {
        let t = self.t;
        if self.is_intercepted(IO_PORT) {
            equal!(t, peek(self.intercepts + 16 + 24), rip, "instruction pointer");
            equal!(t, peek(self.intercepts + 16 + 40) & 0xFFFF, 0x3F8, "port");
            equal!(t, peek(self.intercepts + 16 + 48) & 0xFF, al, "AL");
            equal!(t, (self.page(RIP), self.page(RAX) & 0xFF), (rip, al), "RIP and AL on the page");
        }
    }

    /// Takes it apart, and everything back.
    pub fn end(&self) {
        let t = self.t;
        for kind in [0u64, 1] {
            let end = with_input(C::UNMAP_VP_STATE_PAGE.0.into(), &[self.id, kind << 32]);
            equal!(t, end.status(), HvStatus::SUCCESS, "unmap state page {kind}");
        }
        equal!(t, fast(C::FINALIZE_PARTITION, self.id).status(), HvStatus::SUCCESS, "finalize");
        withdraw(t, self.id, self.pages);
        equal!(t, fast(C::DELETE_PARTITION, self.id).status(), HvStatus::SUCCESS, "delete");
    }
}

/// Sets registers of a VP, which is named by partition and index.
pub fn set_of((id, vp): (u64, u64), registers: &[(N, u64, u64)]) -> HvStatus {
    for (name, low, high) in registers {
        let element = [id, vp, name.0.into(), 0, *low, *high];
        match with_input(rep(C::SET_VP_REGISTERS, 1), &element).status() {
            HvStatus::SUCCESS => {}
            other => return other,
        }
    }
    HvStatus::SUCCESS
}

/// Puts a VP into 32-bit code with paging, by tables at `directory`.
pub fn enter_paging(t: &Checks, vp: (u64, u64), directory: u64, rip: u64) {
    let code = 0xC09B_0008_FFFF_FFFF;
    let data = 0xC093_0010_FFFF_FFFF;
    let registers = [
        (N::CS, 0, code),
        (N::SS, 0, data),
        (N::DS, 0, data),
        (N::ES, 0, data),
        (N::CR3, directory, 0),
        (N::CR4, 1 << 4, 0),
        (N::CR0, 1 << 31 | 0x11, 0),
        (N::RIP, rip, 0),
        (N::INTERNAL_ACTIVITY_STATE, 0, 0),
    ];
    equal!(t, set_of(vp, &registers), HvStatus::SUCCESS, "registers of VP {vp:?}");
}
