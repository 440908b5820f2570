//! A child that cannot go on: its parent hears of it, and nobody else suffers.

use super::children::{CODE_AT, disable, enable};
use super::subject::{RIP, Subject};
use guests::report::Checks;
use guests::{apic, equal};
use hvdef::message::MessageType;
use hvdef::register::RegisterName as N;

/// `ud2`.
const CODE: [u8; 2] = [0x0F, 0x0B];

/// All of it.
pub fn run(t: &Checks) {
    let messages = enable();
    if let Some(child) = Subject::new(t, messages, &CODE) {
        stack_on_the_apic_page(&child);
        child.end();
    }
    disable();
}

/// The APIC's page takes no exception's frame, nor that of the exception which comes of that, and so on to the end.
fn stack_on_the_apic_page(child: &Subject<'_>) {
    child.set_segment(N::SS, apic::PAGE, 0x93);
    child.set(N::RSP, 0x800);
    child.write(&[(RIP, CODE_AT)]);
    child.resume();
    if child.is_intercepted(MessageType::UNRECOVERABLE_EXCEPTION.0) {
        equal!(child.t, child.page(RIP), CODE_AT, "RIP at its end");
    }
}
