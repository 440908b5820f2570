//! A child that cannot go on: its parent hears of it, and nobody else suffers.

use super::children::{CODE_AT, IO_PORT, disable, enable};
use super::subject::{RIP, Subject};
use core::mem::offset_of;
use guests::hypercall::{SELF, output, with_input};
use guests::report::Checks;
use guests::{apic, check, equal, memory};
use hvdef::message::MessageType;
use hvdef::register::RegisterName as N;
use hvdef::{HvStatus, HypercallCode};
use zemindef::info::HvInfo;
use zemindef::property as zemin;

/// `ud2`.
const CODE: [u8; 2] = [0x0F, 0x0B];

/// Where the text of crash reports lies, which is as long as the hypervisor reads, and full of lines.
const TEXT_AT: u64 = 0x2000;
const TEXT: [u8; 192] = [b'\n'; 192];
/// In real mode: 100 crash reports with that text, and `out dx, al`.
const REPORTS: [u8; 58] = [
    0x66, 0xB9, 0x03, 0x01, 0x00, 0x40, // mov ecx, CRASH_P3
    0x66, 0xB8, 0x00, 0x20, 0x00, 0x00, // mov eax, TEXT_AT
    0x66, 0x31, 0xD2, 0x0F, 0x30, // xor edx, edx; wrmsr
    0x66, 0xB9, 0x04, 0x01, 0x00, 0x40, // mov ecx, CRASH_P4
    0x66, 0xB8, 0xC0, 0x00, 0x00, 0x00, // mov eax, 192
    0x0F, 0x30, // wrmsr
    0xBE, 0x64, 0x00, // mov si, 100
    0x66, 0xB9, 0x05, 0x01, 0x00, 0x40, // mov ecx, CRASH_CTL
    0x66, 0x31, 0xC0, // xor eax, eax
    0x66, 0xBA, 0x00, 0x00, 0x00, 0xC0, // mov edx, notify + message
    0x0F, 0x30, // 1: wrmsr
    0x4E, 0x75, 0xFB, // dec si; jnz 1b
    0xBA, 0xF8, 0x03, // mov dx, 0x3F8
    0xEE, // out dx, al
];
/// What they may take of the log, in bytes.
const LOGGED: u64 = 4096;

/// All of it.
pub fn run(t: &Checks) {
    let messages = enable();
    if let Some(child) = Subject::new(t, messages, &CODE) {
        stack_on_the_apic_page(&child);
        child.end();
    }
    if let Some(child) = Subject::new(t, messages, &REPORTS) {
        crashes_without_end(&child);
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

/// A child that reports one crash after the other is not told of for ever.
fn crashes_without_end(child: &Subject<'_>) {
    let t = child.t;
    let mut text = TEXT;
    text.iter_mut().step_by(2).for_each(|byte| *byte = b'x');
    memory::put(child.ram + TEXT_AT, &text);
    let before = log_position(t);
    child.write(&[(RIP, CODE_AT)]);
    child.resume();
    child.is_intercepted(IO_PORT);
    let logged = log_position(t) - before;
    check!(t, (1..LOGGED).contains(&logged), "{logged} bytes of the log for 100 crash reports");
}

/// Position after the hypervisor's newest log line.
fn log_position(t: &Checks) -> u64 {
    let input = [SELF, zemin::STATUS.into(), 0];
    let answer = with_input(HypercallCode::GET_PARTITION_PROPERTY_EX.0.into(), &input);
    equal!(t, answer.status(), HvStatus::SUCCESS, "status");
    output(offset_of!(HvInfo, log_next) as u64 / 8)
}
