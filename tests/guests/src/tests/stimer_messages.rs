//! Synthetic timers that send messages, and with them the message page of the SynIC.

use super::stimer::{AUTO, ENABLE, PERIODIC, config, count, stop};
use guests::clock::{self, ms, now, wait_until};
use guests::cpu::{cli, peek, peek32, poke32, rdmsr, sti, wrmsr};
use guests::memory::{self, PAGE};
use guests::report::Checks;
use guests::tables::this;
use guests::trap;
use guests::{apic, check, equal};
use hvdef::msr as hv;

/// HVMSG_TIMER_EXPIRED.
const TIMER_EXPIRED: u32 = 0x8000_0010;
const SINT: u64 = 4;
const VECTOR: u8 = 0x6E;
const MASKED: u64 = 1 << 16;
const AUTO_EOI: u64 = 1 << 17;
const POLLING: u64 = 1 << 18;

/// All of it.
pub fn run(t: &Checks) {
    let page = enable(VECTOR.into());
    one_message(t, page);
    every_timer_and_sint(t, page);
    occupied(t, page);
    automatic_end(t, page);
    polled(t, page);
    blocked(t, page);
    periodic(t, page);
    wrmsr(hv::SCONTROL, 0);
}

/// Switches the SynIC on with SINT 4 as given. The message page.
fn enable(sint: u64) -> u64 {
    let value = rdmsr(hv::SIMP);
    let mut page = value & !(PAGE - 1);
    if page == 0 {
        // A child chooses its own.
        page = memory::pages(1);
    }
    wrmsr(hv::SIMP, page | 1);
    wrmsr(hv::SCONTROL, 1);
    memory::fill(page, PAGE, 0);
    wrmsr(hv::SINT0 + SINT as u32, sint);
    page
}

const fn slot(page: u64, sint: u64) -> u64 {
    page + 256 * sint
}

fn is_full(page: u64) -> bool {
    peek32(slot(page, SINT)) != 0
}

/// Empties a slot as Linux does.
fn empty(slot: u64) {
    poke32(slot, 0);
    core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
    if peek(slot) >> 40 & 1 != 0 {
        wrmsr(hv::EOM, 0);
    }
}

const fn to(sint: u64) -> u64 {
    sint << 16
}

fn one_message(t: &Checks, page: u64) {
    let before = this().count(VECTOR);
    wrmsr(config(1), to(SINT) | AUTO);
    let due = now() + ms(2);
    wrmsr(count(1), due);
    sti();
    wait_until(2000, || is_full(page) && this().count(VECTOR) != before);
    cli();
    let at = slot(page, SINT);
    equal!(t, this().count(VECTOR) - before, 1, "interrupts for a message");
    equal!(t, peek32(at), TIMER_EXPIRED, "message type");
    equal!(t, peek(at) >> 32 & 0xFF, 24, "payload size");
    equal!(t, peek(at) >> 40 & 1, 0, "message pending");
    equal!(t, peek32(at + 16), 1, "timer index");
    equal!(t, peek(at + 24), due, "expiration time");
    let delivered = peek(at + 32);
    check!(t, delivered >= due && delivered <= now(), "delivery time {delivered}, due {due}");
    equal!(t, rdmsr(config(1)) & ENABLE, 0, "enabled after the message");
    empty(at);
    stop(1);
}

fn every_timer_and_sint(t: &Checks, page: u64) {
    for sint in 1..16 {
        let timer = (sint % 4) as u32;
        let vector = 0x90 + sint as u8;
        let before = this().count(vector);
        wrmsr(hv::SINT0 + sint as u32, vector.into());
        wrmsr(config(timer), to(sint) | AUTO);
        wrmsr(count(timer), now());
        sti();
        wait_until(2000, || peek32(slot(page, sint)) != 0 && this().count(vector) != before);
        cli();
        let got = (
            peek32(slot(page, sint)),
            peek32(slot(page, sint) + 16),
            this().count(vector) - before,
        );
        equal!(t, got, (TIMER_EXPIRED, timer, 1), "type, timer, interrupts by SINT {sint}");
        empty(slot(page, sint));
        stop(timer);
        wrmsr(hv::SINT0 + sint as u32, if sint == SINT { VECTOR.into() } else { MASKED });
    }
}

/// A message that finds its slot occupied comes when the slot is free.
fn occupied(t: &Checks, page: u64) {
    let at = slot(page, SINT);
    poke32(at, 0x1234);
    let before = this().count(VECTOR);
    wrmsr(config(0), to(SINT) | AUTO);
    let due = now();
    wrmsr(count(0), due);
    sti();
    clock::delay_us(3000);
    equal!(
        t,
        (peek32(at), this().count(VECTOR) - before),
        (0x1234, 0),
        "slot, interrupts while it is occupied"
    );
    equal!(t, peek(at) >> 40 & 1, 1, "message pending");
    empty(at);
    wait_until(2000, || is_full(page) && this().count(VECTOR) != before);
    cli();
    equal!(
        t,
        (peek32(at), this().count(VECTOR) - before),
        (TIMER_EXPIRED, 1),
        "slot, interrupts after it was emptied"
    );
    equal!(t, peek(at + 24), due, "expiration time of a message that waited");
    empty(at);
    stop(0);
}

fn automatic_end(t: &Checks, page: u64) {
    wrmsr(hv::SINT0 + SINT as u32, AUTO_EOI | u64::from(VECTOR));
    trap::set_handler(VECTOR, |_| ());
    for round in 0..3 {
        let before = this().count(VECTOR);
        wrmsr(config(2), to(SINT) | AUTO);
        wrmsr(count(2), now());
        sti();
        wait_until(2000, || is_full(page) && this().count(VECTOR) != before);
        cli();
        equal!(t, this().count(VECTOR) - before, 1, "interrupts with automatic end, round {round}");
        equal!(t, apic::in_service(VECTOR), false, "in service after an automatic end");
        empty(slot(page, SINT));
    }
    trap::clear_handler(VECTOR);
    stop(2);
    wrmsr(hv::SINT0 + SINT as u32, VECTOR.into());
}

fn polled(t: &Checks, page: u64) {
    wrmsr(hv::SINT0 + SINT as u32, POLLING | u64::from(VECTOR));
    let before = this().count(VECTOR);
    wrmsr(config(0), to(SINT) | AUTO);
    wrmsr(count(0), now());
    sti();
    wait_until(2000, || is_full(page));
    clock::delay_us(1000);
    cli();
    equal!(
        t,
        (is_full(page), this().count(VECTOR) - before),
        (true, 0),
        "message, interrupts with a polled SINT"
    );
    empty(slot(page, SINT));
    stop(0);
    wrmsr(hv::SINT0 + SINT as u32, VECTOR.into());
}

/// SynIC off, page off, SINT masked: nothing is written, and what can wait comes later.
fn blocked(t: &Checks, page: u64) {
    let sint = hv::SINT0 + SINT as u32;
    let cases: [(&str, u32, u64, u64); 3] = [
        ("the SynIC off", hv::SCONTROL, 0, 1),
        ("the page off", hv::SIMP, page, page | 1),
        ("the SINT masked", sint, MASKED | VECTOR as u64, VECTOR as u64),
    ];
    for (name, register, off, on) in cases {
        let before = this().count(VECTOR);
        wrmsr(register, off);
        wrmsr(config(0), to(SINT) | AUTO);
        wrmsr(count(0), now());
        sti();
        clock::delay_us(3000);
        equal!(
            t,
            (is_full(page), this().count(VECTOR) - before),
            (false, 0),
            "message, interrupts with {name}"
        );
        wrmsr(register, on);
        clock::delay_us(3000);
        cli();
        let came = this().count(VECTOR) - before;
        check!(t, came <= 1 && is_full(page) == (came == 1), "{name}, then on: {came} interrupts");
        if is_full(page) {
            empty(slot(page, SINT));
        }
        stop(0);
    }
}

/// A guest that reads slowly sees fewer messages, and never a wrong one.
fn periodic(t: &Checks, page: u64) {
    let at = slot(page, SINT);
    wrmsr(config(3), to(SINT) | PERIODIC | AUTO);
    wrmsr(count(3), ms(2));
    let mut last = 0;
    sti();
    for round in 0..20 {
        if !check!(t, wait_until(2000, || is_full(page)), "no message in round {round}") {
            break;
        }
        let (kind, timer, due, delivered) =
            (peek32(at), peek32(at + 16), peek(at + 24), peek(at + 32));
        equal!(t, (kind, timer), (TIMER_EXPIRED, 3), "type, timer in round {round}");
        check!(
            t,
            due > last && delivered >= due,
            "round {round}: due {due} after {last}, delivered {delivered}"
        );
        last = due;
        if round % 4 == 0 {
            clock::delay_us(7000);
        }
        empty(at);
    }
    stop(3);
    clock::delay_us(1000);
    cli();
    if is_full(page) {
        empty(at);
    }
}
