//! Interrupts between processors, by the APIC and by hypercall.

use super::Job;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use guests::apic::{self, Reg, mode};
use guests::clock::{self, wait_until};
use guests::cpu::{cli, rdmsr, sti};
use guests::report::Checks;
use guests::rng::Rng;
use guests::tables::{cpu, this};
use guests::trap::{self, NMI};
use guests::{boot, check, equal, hypercall, line, smp};
use hvdef::{HvStatus, msr as hv};

const VECTOR: u8 = 0x61;

/// All of it.
pub fn run(t: &Checks) {
    one_target(t);
    shorthands(t);
    logical(t);
    nmi(t);
    ping_pong(t);
    everybody_to_everybody(t);
    restart(t);
    if hypercall::is_hyperv() {
        by_hypercall(t);
        by_hypercall_ex(t);
        refused(t);
    }
}

fn counts(vector: u8) -> [u32; 16] {
    core::array::from_fn(|index| cpu(index).count(vector))
}

/// Notes a failure unless exactly the processors of `expected` took one interrupt each since `before`.
fn arrived(
    t: &Checks,
    vector: u8,
    before: [u32; 16],
    expected: u64,
    what: core::fmt::Arguments<'_>,
) {
    sti();
    let taken = || {
        let now = counts(vector);
        (0..smp::count()).fold(0u64, |set, i| set | u64::from(now[i] != before[i]) << i)
    };
    wait_until(2000, || taken() == expected);
    // Nobody else may follow.
    clock::delay_us(500);
    cli();
    equal!(t, taken(), expected, "{what}: set of processors that took it");
    let now = counts(vector);
    let twice = (0..smp::count()).any(|i| now[i] - before[i] > 1);
    check!(t, !twice, "{what}: somebody took it more than once");
}

fn apic_id(index: usize) -> u32 {
    cpu(index).apic_id.load(Ordering::Relaxed)
}

fn all() -> u64 {
    (1 << smp::count()) - 1
}

fn one_target(t: &Checks) {
    for index in 0..smp::count() {
        let before = counts(VECTOR);
        apic::send(apic_id(index), VECTOR);
        arrived(t, VECTOR, before, 1 << index, format_args!("fixed, to processor {index}"));
        let before = counts(VECTOR);
        // Lowest priority to one target is that target.
        if index != 0 {
            apic::command(apic_id(index), mode::LOWEST | u32::from(VECTOR));
            arrived(
                t,
                VECTOR,
                before,
                1 << index,
                format_args!("lowest priority, to processor {index}"),
            );
        }
    }
    let before = counts(VECTOR);
    apic::send(0xFE, VECTOR);
    arrived(t, VECTOR, before, 0, format_args!("fixed, to an APIC id that nobody has"));
}

fn shorthands(t: &Checks) {
    let cases = [
        (mode::SELF, 1, "self"),
        (mode::ALL, all(), "all"),
        (mode::OTHERS, all() & !1, "all but self"),
    ];
    for (shorthand, expected, name) in cases {
        let before = counts(VECTOR);
        apic::command(0, shorthand | u32::from(VECTOR));
        arrived(t, VECTOR, before, expected, format_args!("shorthand {name}"));
    }
    let before = counts(VECTOR);
    let everybody = if apic::is_x2apic() { u32::MAX } else { 0xFF };
    apic::send(everybody, VECTOR);
    arrived(t, VECTOR, before, all(), format_args!("destination all ones"));
}

fn logical(t: &Checks) {
    if apic::is_x2apic() {
        // Cluster 0: one bit for each of the first sixteen.
        for set in [1, 2, 3, all().min(0xFFFF)] {
            let members = (0..smp::count()).filter(|&i| set & 1 << i != 0);
            let expected = members.clone().fold(0, |sum, i| sum | 1 << i);
            let destination = members.fold(0, |sum, i| sum | 1 << apic_id(i));
            let before = counts(VECTOR);
            apic::command(destination, mode::LOGICAL | u32::from(VECTOR));
            arrived(
                t,
                VECTOR,
                before,
                expected,
                format_args!("logical destination {destination:#x}"),
            );
        }
        return;
    }
    let set_up = |bit| {
        apic::write(Reg::DFR, u32::MAX);
        apic::write(Reg::LDR, (bit as u32) << 24);
    };
    set_up(1);
    for index in smp::others().take(7) {
        equal!(t, smp::run(index, 1000, set_up, 1 << index), Ok(()), "LDR of processor {index}");
    }
    for set in [1, 2, 3, all() & 0xFF] {
        let before = counts(VECTOR);
        apic::command(set as u32, mode::LOGICAL | u32::from(VECTOR));
        arrived(t, VECTOR, before, set & all(), format_args!("flat logical destination {set:#x}"));
    }
}

fn nmi(t: &Checks) {
    for index in smp::others() {
        let before = counts(NMI);
        apic::command(apic_id(index), mode::NMI);
        arrived(t, NMI, before, 1 << index, format_args!("NMI to processor {index}"));
    }
    let before = counts(NMI);
    apic::command(0, mode::NMI | mode::OTHERS);
    arrived(t, NMI, before, all() & !1, format_args!("NMI to all but self"));
    let before = counts(NMI);
    apic::command(apic_id(0), mode::NMI);
    arrived(t, NMI, before, 1, format_args!("NMI to oneself, by APIC id"));
    for index in smp::others() {
        nmi_while_busy(t, index);
        nested_nmi(t, index);
    }
}

/// An NMI comes to a processor that computes with interrupts closed and has no other reason to leave the guest.
fn nmi_while_busy(t: &Checks, index: usize) {
    let before = cpu(index).count(NMI);
    let busy = |until| {
        cli();
        while u64::from(this().count(NMI)) < until && !RELEASE.load(Ordering::SeqCst) {
            guests::cpu::pause();
        }
    };
    RELEASE.store(false, Ordering::SeqCst);
    smp::begin(index, busy, u64::from(before) + 1);
    clock::delay_us(5000);
    apic::command(apic_id(index), mode::NMI);
    let came = wait_until(2000, || cpu(index).count(NMI) != before);
    check!(t, came, "NMI to processor {index}, busy and closed");
    RELEASE.store(true, Ordering::SeqCst);
    equal!(t, smp::finish(index, 2000), Ok(()), "processor {index} after its NMI");
}

/// Lets the NMI handler go on.
static RELEASE: AtomicBool = AtomicBool::new(false);

/// While one is handled, one more waits.
fn nested_nmi(t: &Checks, index: usize) {
    let before = cpu(index).count(NMI);
    let taken = || cpu(index).count(NMI) - before;
    RELEASE.store(false, Ordering::SeqCst);
    // Meanwhile it leaves the guest, and asks for interrupts.
    trap::set_handler(NMI, |_| {
        wait_until(5000, || {
            apic::send_self(VECTOR);
            RELEASE.load(Ordering::SeqCst)
        });
    });
    apic::command(apic_id(index), mode::NMI);
    wait_until(2000, || taken() != 0);
    apic::command(apic_id(index), mode::NMI);
    apic::command(apic_id(index), mode::NMI);
    clock::delay_us(3000);
    equal!(t, taken(), 1, "NMIs taken inside an NMI, processor {index}");
    RELEASE.store(true, Ordering::SeqCst);
    wait_until(2000, || taken() == 2);
    clock::delay_us(10_000);
    equal!(t, taken(), 2, "NMIs after three requests, processor {index}");
    trap::clear_handler(NMI);
    if taken() != 2 {
        // One inside the other on the same stack: it may never come out.
        check!(t, smp::start(index), "processor {index} does not start again");
    }
}

static BALL: AtomicU32 = AtomicU32::new(0);

/// To and fro: each interrupt answers the last.
fn ping_pong(t: &Checks) {
    const BACK: u8 = 0x62;
    trap::set_handler(VECTOR, |_| {
        apic::eoi();
        apic::send(cpu(0).apic_id.load(Ordering::Relaxed), BACK);
    });
    trap::set_handler(BACK, |_| {
        apic::eoi();
        BALL.fetch_add(1, Ordering::SeqCst);
    });
    for index in smp::others() {
        let start = clock::now();
        for round in 0..500 {
            let before = BALL.load(Ordering::SeqCst);
            apic::send(apic_id(index), VECTOR);
            sti();
            let back = wait_until(500, || BALL.load(Ordering::SeqCst) != before);
            cli();
            if !check!(t, back, "processor {index}: no answer in round {round}") {
                break;
            }
        }
        line!("  processor {index}: {} ns to and fro", (clock::now() - start) / 5);
    }
    trap::clear_handler(VECTOR);
    trap::clear_handler(BACK);
}

/// Everybody sends to random others for a while: no lost wake-ups, nobody stuck.
fn everybody_to_everybody(t: &Checks) {
    let job = |seed: u64| {
        let mut rng = Rng::new(seed);
        for _ in 0..500 {
            let target = rng.below(smp::count() as u64) as usize;
            let vector = 0x70 + rng.below(4) as u8;
            if rng.one_in(8) {
                apic::command(0, mode::ALL | u32::from(vector))
            } else {
                apic::send(apic_id(target), vector)
            }
        }
    };
    let seed = boot::args().seed;
    smp::others().for_each(|index| smp::begin(index, job, seed * 100 + index as u64));
    sti();
    job(seed);
    for index in smp::others() {
        equal!(t, smp::finish(index, 20_000), Ok(()), "processor {index} in the crowd");
    }
    clock::delay_us(1000);
    cli();
    for vector in 0x70..0x74 {
        equal!(
            t,
            (apic::requested(vector), apic::in_service(vector)),
            (false, false),
            "vector {vector:#x} at the end"
        );
    }
    for index in smp::others() {
        let quiet =
            |_| (0..8).for_each(|i| assert!(apic::read(Reg(Reg::ISR.0 + i)) == 0, "in service"));
        equal!(t, smp::run(index, 1000, quiet, 0), Ok(()), "APIC of processor {index} at the end");
    }
}

/// INIT and startup: from idle, from a busy loop, with interrupts closed.
fn restart(t: &Checks) {
    let states: [Job; 3] = [
        ("idle", |_| {}),
        ("busy", |_| {
            loop {
                guests::cpu::pause();
            }
        }),
        ("closed", |_| {
            cli();
            loop {
                guests::cpu::pause();
            }
        }),
    ];
    for index in smp::others() {
        for (name, state) in states {
            smp::begin(index, state, 0);
            clock::delay_us(2000);
            // A startup alone means nothing to a processor that runs.
            apic::command(apic_id(index), mode::STARTUP | 0x9);
            check!(t, smp::start(index), "processor {index} did not restart, {name}");
            equal!(
                t,
                smp::run(index, 1000, |_| {}, 0),
                Ok(()),
                "processor {index}, restarted, {name}"
            );
        }
    }
    // All at once.
    for index in smp::others() {
        apic::command(apic_id(index), mode::INIT);
    }
    clock::delay_us(200);
    let before = counts(VECTOR);
    apic::command(0, mode::OTHERS | u32::from(VECTOR));
    clock::delay_us(2000);
    equal!(t, counts(VECTOR), before, "interrupts taken between INIT and startup");
    for index in smp::others() {
        check!(t, smp::start(index), "processor {index} did not come back after a common INIT");
    }
}

static VP_OF: [AtomicU64; 16] = [const { AtomicU64::new(0) }; 16];

/// VP indices, which hypercalls name, of the processors in `set`.
fn vps(set: u64) -> u64 {
    VP_OF[0].store(rdmsr(hv::VP_INDEX), Ordering::SeqCst);
    for index in smp::others() {
        let note = |_| VP_OF[this().number()].store(rdmsr(hv::VP_INDEX), Ordering::SeqCst);
        let _ = smp::run(index, 1000, note, 0);
    }
    (0..smp::count())
        .filter(|i| set & 1 << i != 0)
        .fold(0, |sum, i| sum | 1 << VP_OF[i].load(Ordering::SeqCst))
}

const SEND_IPI: u64 = 0x0B | hypercall::FAST;
const SEND_IPI_EX: u64 = 0x15;

fn sets() -> [u64; 4] {
    [1, 2, all(), all() & !1]
}

fn by_hypercall(t: &Checks) {
    for set in sets() {
        let mask = vps(set);
        let before = counts(VECTOR);
        let answer = hypercall::call(SEND_IPI, VECTOR.into(), mask);
        check!(t, answer.is_success(), "SEND_IPI to {mask:#x}: {answer:x?}");
        arrived(t, VECTOR, before, set, format_args!("SEND_IPI to {mask:#x}"));
        let before = counts(VECTOR);
        let answer = hypercall::with_input(0x0B, &[VECTOR.into(), mask]);
        check!(t, answer.is_success(), "SEND_IPI by memory to {mask:#x}: {answer:x?}");
        arrived(t, VECTOR, before, set, format_args!("SEND_IPI by memory to {mask:#x}"));
    }
}

fn by_hypercall_ex(t: &Checks) {
    for set in sets() {
        let mask = vps(set);
        let before = counts(VECTOR);
        let answer = hypercall::with_input(SEND_IPI_EX | 1 << 17, &[VECTOR.into(), 0, 1, mask]);
        check!(t, answer.is_success(), "SEND_IPI_EX to {mask:#x}: {answer:x?}");
        arrived(t, VECTOR, before, set, format_args!("SEND_IPI_EX to {mask:#x}"));
    }
    let before = counts(VECTOR);
    let answer = hypercall::with_input(SEND_IPI_EX, &[VECTOR.into(), 1, 0]);
    check!(t, answer.is_success(), "SEND_IPI_EX to all: {answer:x?}");
    arrived(t, VECTOR, before, all(), format_args!("SEND_IPI_EX to all"));
    let before = counts(VECTOR);
    let answer = hypercall::with_input(SEND_IPI_EX, &[VECTOR.into(), 0, 0]);
    check!(t, answer.is_success(), "SEND_IPI_EX to nobody: {answer:x?}");
    arrived(t, VECTOR, before, 0, format_args!("SEND_IPI_EX to nobody"));
}

fn refused(t: &Checks) {
    let before = counts(VECTOR);
    for vector in [0, 0xF, 0x100, 0xFFFF_FFFF] {
        let answer = hypercall::call(SEND_IPI, vector, 1);
        equal!(t, answer.status(), HvStatus::INVALID_PARAMETER, "SEND_IPI with vector {vector:#x}");
        let answer = hypercall::with_input(SEND_IPI_EX | 1 << 17, &[vector, 0, 1, 1]);
        equal!(
            t,
            answer.status(),
            HvStatus::INVALID_PARAMETER,
            "SEND_IPI_EX with vector {vector:#x}"
        );
    }
    let answer = hypercall::with_input(SEND_IPI_EX | 1 << 17, &[VECTOR.into(), 7, 1, 1]);
    check!(t, !answer.is_success(), "SEND_IPI_EX with VP set format 7: {answer:x?}");
    let answer = hypercall::with_input(SEND_IPI_EX | 1 << 17, &[VECTOR.into(), 0, 3, 1, 1]);
    equal!(
        t,
        answer.status(),
        HvStatus::INVALID_HYPERCALL_INPUT,
        "SEND_IPI_EX with fewer banks than its mask has"
    );
    let answer = hypercall::call(SEND_IPI | 1 << 32, VECTOR.into(), 1);
    equal!(t, answer.status(), HvStatus::INVALID_HYPERCALL_INPUT, "SEND_IPI with a rep count");
    equal!(t, counts(VECTOR), before, "interrupts from refused calls");
}
