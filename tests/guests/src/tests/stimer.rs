//! Synthetic timers, as interrupts and as messages.

use super::stimer_messages;
use guests::clock::{self, ms, now, us, wait_until};
use guests::cpu::{cli, rdmsr, sti, wrmsr};
use guests::report::Checks;
use guests::tables::{cpu, this};
use guests::{check, equal, smp};
use hvdef::msr as hv;

pub const ENABLE: u64 = 1;
pub const PERIODIC: u64 = 1 << 1;
pub const LAZY: u64 = 1 << 2;
pub const AUTO: u64 = 1 << 3;
const VECTOR: u8 = 0x6D;

/// Configuration: an interrupt with `vector`.
const fn direct(vector: u8) -> u64 {
    (vector as u64) << 4 | 1 << 12
}

pub fn config(timer: u32) -> u32 {
    hv::STIMER0_CONFIG + 2 * timer
}

pub fn count(timer: u32) -> u32 {
    hv::STIMER0_COUNT + 2 * timer
}

/// All of it.
pub fn run(t: &Checks) {
    let features = guests::cpu::cpuid(0x4000_0003, 0);
    if features[0] & 1 << 3 == 0 || features[3] & 1 << 19 == 0 {
        return t.skip("no synthetic timers with direct mode");
    }
    one_shot(t);
    in_the_past(t);
    enabling(t);
    stopping(t);
    periodic(t);
    short_period(t);
    all_processors(t);
    stimer_messages::run(t);
}

fn taken(before: u32) -> u32 {
    this().count(VECTOR) - before
}

pub fn stop(timer: u32) {
    wrmsr(count(timer), 0);
    wrmsr(config(timer), 0);
}

fn one_shot(t: &Checks) {
    for timer in 0..4 {
        for length in [300, 5000] {
            let before = this().count(VECTOR);
            wrmsr(config(timer), direct(VECTOR) | AUTO);
            let due = now() + us(length);
            wrmsr(count(timer), due);
            check!(
                t,
                rdmsr(config(timer)) & ENABLE != 0 || now() >= due,
                "timer {timer}: auto-enable did not enable"
            );
            sti();
            wait_until(2000, || taken(before) != 0);
            let at = now();
            cli();
            equal!(t, taken(before), 1, "timer {timer}: interrupts after {length} us");
            check!(t, at >= due, "timer {timer}: {} units early", due.saturating_sub(at));
            check!(t, at < due + clock::SLACK, "timer {timer}: {} us late", (at - due) / 10);
            equal!(t, rdmsr(config(timer)) & ENABLE, 0, "timer {timer}: enabled after it expired");
            equal!(t, rdmsr(count(timer)), due, "timer {timer}: count after it expired");
        }
        stop(timer);
    }
}

fn in_the_past(t: &Checks) {
    for due in [1, now() - ms(1), now()] {
        let before = this().count(VECTOR);
        wrmsr(config(0), direct(VECTOR) | AUTO);
        wrmsr(count(0), due);
        sti();
        wait_until(100, || taken(before) != 0);
        cli();
        equal!(t, taken(before), 1, "interrupts of a timer due at {due}");
    }
}

/// Enabling by the configuration; what enables nothing.
fn enabling(t: &Checks) {
    let before = this().count(VECTOR);
    stop(0);
    wrmsr(count(0), now() + ms(1));
    wrmsr(config(0), direct(VECTOR));
    sti();
    clock::delay_us(5000);
    cli();
    equal!(t, taken(before), 0, "interrupts of a timer that is not enabled");
    wrmsr(count(0), now() + ms(1));
    wrmsr(config(0), direct(VECTOR) | ENABLE);
    sti();
    wait_until(2000, || taken(before) != 0);
    cli();
    equal!(t, taken(before), 1, "interrupts of a timer enabled by its configuration");
    // Neither direct nor with a SINT: nowhere to go.
    wrmsr(config(0), ENABLE | AUTO);
    equal!(t, rdmsr(config(0)) & ENABLE, 0, "enabled without a target");
    wrmsr(count(0), now());
    equal!(t, rdmsr(config(0)) & ENABLE, 0, "auto-enabled without a target");
    stop(0);
}

fn stopping(t: &Checks) {
    let before = this().count(VECTOR);
    for by_count in [true, false] {
        wrmsr(config(0), direct(VECTOR) | AUTO);
        wrmsr(count(0), now() + ms(60));
        if by_count {
            wrmsr(count(0), 0);
        } else {
            wrmsr(config(0), direct(VECTOR));
        }
        equal!(t, rdmsr(config(0)) & ENABLE, 0, "enabled after it was stopped ({by_count})");
    }
    sti();
    clock::delay_us(70_000);
    cli();
    equal!(t, taken(before), 0, "interrupts of stopped timers");
    // A later time replaces an earlier one.
    wrmsr(config(0), direct(VECTOR) | AUTO);
    wrmsr(count(0), now() + ms(50));
    let due = now() + ms(100);
    wrmsr(count(0), due);
    sti();
    wait_until(2000, || taken(before) != 0);
    let at = now();
    cli();
    check!(t, at >= due, "a timer that was put off came {} units early", due.saturating_sub(at));
    stop(0);
}

fn periodic(t: &Checks) {
    for (timer, flags) in [(0, 0), (1, LAZY), (3, 0)] {
        let before = this().count(VECTOR);
        let start = now();
        wrmsr(config(timer), direct(VECTOR) | PERIODIC | AUTO | flags);
        wrmsr(count(timer), ms(4));
        sti();
        wait_until(10_000, || taken(before) >= 15);
        let passed = now() - start;
        let enabled = rdmsr(config(timer)) & ENABLE;
        wrmsr(config(timer), 0);
        cli();
        equal!(t, enabled, ENABLE, "periodic timer {timer}: still enabled");
        let (low, high) = (ms(4) * 15 - ms(4), ms(4) * 15 + clock::SLACK);
        check!(
            t,
            (low..high).contains(&passed),
            "periodic timer {timer}: 15 periods of 4 ms took {} us",
            passed / 10
        );
        let after = this().count(VECTOR);
        sti();
        clock::delay_us(12_000);
        cli();
        check!(
            t,
            this().count(VECTOR) - after <= 1,
            "periodic timer {timer} goes on after it was stopped"
        );
    }
}

/// What the guest does beside a timer with a period of next to nothing.
const ROUNDS: u32 = 100;

/// A period of next to nothing must leave the guest some time of its own.
fn short_period(t: &Checks) {
    for period in [1, 100] {
        let before = this().count(VECTOR);
        wrmsr(config(2), direct(VECTOR) | PERIODIC | AUTO);
        wrmsr(count(2), period);
        sti();
        let mut rounds = 0u32;
        // How fast depends on the machine; that it gets there does not.
        let end = now() + ms(10_000);
        while (rounds < ROUNDS || taken(before) == 0) && now() < end {
            rounds += 1;
        }
        wrmsr(config(2), 0);
        cli();
        check!(
            t,
            taken(before) > 0 && rounds >= ROUNDS,
            "period {period}: {} interrupts, {rounds} rounds",
            taken(before)
        );
        stop(2);
    }
}

/// Each processor has its own.
fn all_processors(t: &Checks) {
    let job = |_| {
        wrmsr(config(0), direct(VECTOR) | AUTO);
        for _ in 0..5 {
            let before = this().count(VECTOR);
            wrmsr(count(0), now() + ms(2));
            assert!(wait_until(2000, || this().count(VECTOR) != before), "no interrupt");
        }
        stop(0);
    };
    let before: [u32; 16] = core::array::from_fn(|i| cpu(i).count(VECTOR));
    smp::others().for_each(|index| smp::begin(index, job, 0));
    for index in smp::others() {
        equal!(t, smp::finish(index, 5000), Ok(()), "timers of processor {index}");
        equal!(t, cpu(index).count(VECTOR) - before[index], 5, "interrupts of processor {index}");
    }
    equal!(t, taken(before[0]), 0, "interrupts of the others' timers here");
}
