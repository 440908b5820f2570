//! The registers of a child, of which its parent has two views: by name, and on the register page. Both are one.

use super::children::{CODE_AT, IO_PORT, disable, enable};
use super::subject::{FEATURES, INTERRUPT_STATE, RAX, RDX, RIP, RSP, Subject, XMM0, set_of};
use guests::clock::wait_until;
use guests::cpu::peek32;
use guests::report::Checks;
use guests::{check, equal, memory};
use hvdef::HvStatus;
use hvdef::property::PartitionProperty;
use hvdef::register::{InterruptState, InterruptionType, PendingInterruption, RegisterName as N};

/// `1: out dx, al; out dx, al; 2: inc ax; jmp 2b`, in real mode.
const CODE: [u8; 5] = [0xEE, 0xEE, 0x40, 0xEB, 0xFD];
/// The handler of NMIs: `out dx, al; iret`.
const HANDLER_AT: u64 = CODE_AT + 0x100;
const HANDLER: [u8; 2] = [0xEE, 0xCF];
/// Where it counts.
const LOOP: u64 = CODE_AT + 2;

/// All of it.
pub fn run(t: &Checks) {
    let messages = enable();
    if let Some(child) = Subject::new(t, messages, &CODE) {
        before_its_first_run(&child);
        after_an_intercept(&child);
        while_it_runs(&child);
        in_an_nmi_handler(&child);
        refuses(&child);
        child.end();
    }
    disable();
}

/// What is on the page is what the VP starts with, whatever is asked and set by name in between.
fn before_its_first_run(child: &Subject<'_>) {
    let t = child.t;
    equal!(t, child.page(RIP), child.get(N::RIP), "RIP of a new VP");
    child.write(&[(RAX, 0x41), (RDX, 0x3F8), (RIP, CODE_AT)]);
    equal!(t, child.get(N::RAX), 0x41, "RAX by name, written on the page");
    child.write(&[(RIP, CODE_AT)]);
    child.set(N::CR2, 0x1234);
    equal!(t, child.page(RIP), CODE_AT, "RIP on the page after CR2 was set by name");
    child.write(&[(XMM0, 0x0123_4567_89AB_CDEF)]);
    equal!(t, child.get(N::XMM0), 0x0123_4567_89AB_CDEF, "XMM0 by name, written on the page");
    child.resume();
    child.is_at_port(CODE_AT, 0x41);
}

/// The same of a VP that waits for its parent.
fn after_an_intercept(child: &Subject<'_>) {
    let t = child.t;
    child.write(&[(RIP, CODE_AT + 1), (RAX, 0x42)]);
    child.set(N::CR2, 0x5678);
    equal!(
        t,
        child.get(N::RIP),
        CODE_AT + 1,
        "RIP by name, written on the page before CR2 by name"
    );
    equal!(t, child.get(N::CR2), 0x5678, "CR2");
    child.set(N::RBX, 7);
    equal!(t, child.page(RAX), 0x42, "RAX on the page");
    child.resume();
    child.is_at_port(CODE_AT + 1, 0x42);
}

/// A VP that runs has its registers to itself; one that was suspended shows them.
fn while_it_runs(child: &Subject<'_>) {
    let t = child.t;
    child.write(&[(RIP, LOOP), (RAX, 0)]);
    child.resume();
    let counts = || child.get(N::RAX) != 0;
    check!(t, wait_until(5000, counts), "it does not run");
    child.write(&[(RIP, CODE_AT)]);
    equal!(t, child.suspend(), HvStatus::SUCCESS, "suspend");
    check!(
        t,
        (LOOP..=LOOP + 1).contains(&child.page(RIP)),
        "RIP {:#x} on the page",
        child.page(RIP)
    );
    equal!(t, peek32(child.registers + 4), 0, "changes on the page of a VP just suspended");
    for (place, name) in [(RIP, N::RIP), (RAX, N::RAX), (RDX, N::RDX)] {
        equal!(t, child.page(place), child.get(name), "{name:?} on the page and by name");
    }
    child.write(&[(RIP, CODE_AT), (RAX, 0x43)]);
    equal!(t, child.suspend(), HvStatus::SUCCESS, "suspend once more");
    child.resume();
    child.is_at_port(CODE_AT, 0x43);
}

/// A VP in an NMI's handler says so, and can be told that it is in one.
fn in_an_nmi_handler(child: &Subject<'_>) {
    let t = child.t;
    memory::put(child.ram + HANDLER_AT, &HANDLER);
    memory::put(child.ram + 4 * 2, &(HANDLER_AT as u32).to_le_bytes());
    let masked = InterruptState::new().with_nmi_masked(true).into_bits();
    equal!(t, child.get(N::INTERRUPT_STATE), 0, "interrupt state");
    child.write(&[(RIP, LOOP), (RSP, 0x8000)]);
    child.resume();
    equal!(t, child.send_nmi(0x100), HvStatus::INVALID_PARAMETER, "NMI to APIC id 0x100");
    equal!(t, child.send_nmi(0), HvStatus::SUCCESS, "NMI");
    child.is_intercepted(IO_PORT);
    equal!(t, child.page(RIP), HANDLER_AT, "RIP in the handler");
    equal!(t, child.page(INTERRUPT_STATE), masked, "interrupt state on the page in the handler");
    equal!(t, child.get(N::INTERRUPT_STATE), masked, "interrupt state by name in the handler");
    child.set(N::INTERRUPT_STATE, 0);
    equal!(t, child.get(N::INTERRUPT_STATE), 0, "interrupt state after it was set");
    child.set(N::INTERRUPT_STATE, masked);
    equal!(t, child.page(INTERRUPT_STATE), masked, "interrupt state after it was set again");
    // The next one waits for the end of the handler, and then finds the handler anew.
    equal!(t, child.send_nmi(0), HvStatus::SUCCESS, "NMI in the handler of one");
    child.write(&[(RIP, HANDLER_AT + 1)]);
    child.resume();
    child.is_intercepted(IO_PORT);
    equal!(t, child.page(RIP), HANDLER_AT, "RIP in the handler");
}

/// What no processor delivers is not taken for something else.
fn refuses(child: &Subject<'_>) {
    let t = child.t;
    let features = child.property(PartitionProperty::SYNTHETIC_PROC_FEATURES);
    equal!(t, features, FEATURES, "features of which one was asked for in vain");
    let event = |kind: InterruptionType, vector: u16| {
        let event = PendingInterruption::new().with_pending(true).with_interruption_type(kind.0);
        let (name, value) = (N::PENDING_INTERRUPTION, event.with_vector(vector).into_bits());
        set_of(child.vp(), &[(name, value, 0)])
    };
    for (kind, vector) in [
        (InterruptionType::SOFTWARE_INTERRUPT, 0x80),
        (InterruptionType::SOFTWARE_EXCEPTION, 3),
        (InterruptionType::EXCEPTION, 0x20),
        (InterruptionType::EXCEPTION, 2),
        (InterruptionType::INTERRUPT, 0x100),
    ] {
        let status = event(kind, vector);
        equal!(t, status, HvStatus::INVALID_REGISTER_VALUE, "{kind:?} with vector {vector:#x}");
    }
    for (name, value) in [
        (N::CR0, 1 << 32),
        (N::CR0, 1 << 29),
        (N::CR3, 1 << 52),
        (N::CR4, 1 << 32),
        (N::EFER, 1 << 1),
        (N::EFER, 1 << 63),
    ] {
        let before = child.get(name);
        let status = set_of(child.vp(), &[(name, value, 0)]);
        equal!(t, status, HvStatus::INVALID_REGISTER_VALUE, "{name:?} = {value:#x}");
        equal!(t, child.get(name), before, "{name:?} after that");
    }
    equal!(t, event(InterruptionType::EXCEPTION, 6), HvStatus::SUCCESS, "#UD");
    child.set(N::PENDING_INTERRUPTION, 0);
}
