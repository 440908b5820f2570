//! The APIC's timer, against reference time.
//!
//! Lower limits are strict: a timer must never be early. Upper ones are generous, as this may run on an emulator whose
//! host has other work.

use guests::apic::{MASKED, PERIODIC, Reg, read, start_timer, ticks, write};
use guests::clock::{self, now, us, wait_until};
use guests::cpu::{self, cli, sti};
use guests::report::Checks;
use guests::tables::this;
use guests::{check, equal};

const VECTOR: u8 = 0x45;

/// All of it.
pub fn run(t: &Checks) {
    one_shot(t);
    divisors(t);
    masked(t);
    stopped(t);
    periodic(t);
    changed(t);
}

fn taken(before: u32) -> u32 {
    this().count(VECTOR) - before
}

fn one_shot(t: &Checks) {
    for length in [200, 2000, 20_000] {
        let before = this().count(VECTOR);
        let start = now();
        start_timer(VECTOR.into(), ticks(length));
        sti();
        wait_until(1000, || taken(before) != 0);
        let passed = now() - start;
        cli();
        equal!(t, taken(before), 1, "interrupts of a timer of {length} us");
        // 2 % for the clocks' calibration.
        let (low, high) = (us(length) * 98 / 100, us(length) + us(length) / 10 + clock::SLACK);
        check!(t, (low..high).contains(&passed), "a timer of {length} us took {} us", passed / 10);
        equal!(t, read(Reg::CURRENT_COUNT), 0, "count of an expired timer");
        sti();
        clock::delay_us(length.min(3000));
        cli();
        equal!(t, taken(before), 1, "interrupts of a one-shot timer after a while");
    }
}

fn divisors(t: &Checks) {
    for (code, divisor) in [(0b1011, 1), (0b0000, 2), (0b0011, 16), (0b1010, 128)] {
        let before = this().count(VECTOR);
        write(Reg::LVT_TIMER, VECTOR.into());
        write(Reg::DIVIDE, code);
        equal!(t, read(Reg::DIVIDE), code, "divide register");
        let start = now();
        write(Reg::INITIAL_COUNT, ticks(4000) / divisor);
        sti();
        wait_until(1000, || taken(before) != 0);
        let passed = now() - start;
        cli();
        let (low, high) = (us(3920), us(4400) + clock::SLACK);
        check!(
            t,
            (low..high).contains(&passed),
            "4000 us by divisor {divisor} took {} us",
            passed / 10
        );
    }
}

fn masked(t: &Checks) {
    let before = this().count(VECTOR);
    start_timer(MASKED | u32::from(VECTOR), ticks(1000));
    let first = read(Reg::CURRENT_COUNT);
    sti();
    clock::delay_us(300);
    let second = read(Reg::CURRENT_COUNT);
    check!(
        t,
        second < first && first <= ticks(1000),
        "count of a masked timer goes from {first} to {second}"
    );
    clock::delay_us(3000);
    cli();
    equal!(
        t,
        (taken(before), read(Reg::CURRENT_COUNT)),
        (0, 0),
        "interrupts, count of a masked timer"
    );
}

fn stopped(t: &Checks) {
    let before = this().count(VECTOR);
    start_timer(VECTOR.into(), ticks(60_000));
    write(Reg::INITIAL_COUNT, 0);
    equal!(t, read(Reg::CURRENT_COUNT), 0, "count of a stopped timer");
    sti();
    clock::delay_us(70_000);
    cli();
    equal!(t, taken(before), 0, "interrupts of a stopped timer");
}

fn periodic(t: &Checks) {
    const PERIOD: u64 = 2000;
    let before = this().count(VECTOR);
    let start = now();
    start_timer(PERIODIC | u32::from(VECTOR), ticks(PERIOD));
    sti();
    wait_until(2000, || taken(before) >= 20);
    let passed = now() - start;
    cli();
    let (low, high) = (us(PERIOD) * 20 * 98 / 100, us(PERIOD) * 20 * 11 / 10 + clock::SLACK);
    check!(t, (low..high).contains(&passed), "20 periods of {PERIOD} us took {} us", passed / 10);
    let count = read(Reg::CURRENT_COUNT);
    check!(t, count <= ticks(PERIOD), "count of a periodic timer is {count}");
    write(Reg::LVT_TIMER, MASKED);
    write(Reg::INITIAL_COUNT, 0);
    sti();
    cpu::pause();
    cli();
    let before = this().count(VECTOR);
    sti();
    clock::delay_us(3 * PERIOD);
    cli();
    equal!(t, taken(before), 0, "interrupts after a periodic timer was stopped");
}

/// A new count replaces the old one; the vector is that of the moment of expiry.
fn changed(t: &Checks) {
    let before = (this().count(VECTOR), this().count(VECTOR + 1));
    start_timer(VECTOR.into(), ticks(500_000));
    write(Reg::INITIAL_COUNT, ticks(100_000));
    write(Reg::LVT_TIMER, u32::from(VECTOR) + 1);
    sti();
    wait_until(1000, || this().count(VECTOR + 1) != before.1);
    cli();
    let after = (this().count(VECTOR), this().count(VECTOR + 1));
    equal!(
        t,
        (after.0 - before.0, after.1 - before.1),
        (0, 1),
        "interrupts by the old vector, by the new one"
    );
}
