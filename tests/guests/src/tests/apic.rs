//! The local APIC as one processor sees its own: requests, priorities, end of interrupt, timer, errors.

use super::apic_timer;
use guests::apic::{self as driver, Reg, eoi, in_service, read, requested, send_self, write};
use guests::cpu::{cli, interrupt_window, peek32, poke32, rdmsr, sti, wrmsr};
use guests::report::Checks;
use guests::sync::Place;
use guests::tables::this;
use guests::trap::{self, Frame};
use guests::{check, equal, hypercall, memory};
use hvdef::msr as hv;

/// All of it.
pub fn run(t: &Checks) {
    identity(t);
    request_and_service(t);
    once(t);
    nesting(t);
    task_priority(t);
    every_vector(t);
    apic_timer::run(t);
    // QEMU's own APIC does neither.
    if hypercall::is_hyperv() {
        errors(t);
        software_disable(t);
        hyperv_registers(t);
        assist(t);
    }
}

fn identity(t: &Checks) {
    let version = read(Reg::VERSION);
    check!(t, (0x10..=0x1F).contains(&(version & 0xFF)), "version register is {version:#x}");
    check!(
        t,
        version >> 16 & 0xFF >= 3,
        "version register tells {} LVT entries",
        (version >> 16 & 0xFF) + 1
    );
    if driver::is_x2apic() {
        let id = driver::id();
        equal!(
            t,
            read(Reg::LDR),
            (id & 0xFFF0) << 12 | 1 << (id & 0xF),
            "logical id in x2APIC mode"
        );
    }
    for reg in [Reg::TPR, Reg::PPR, Reg::ESR, Reg(Reg::IRR.0 + 1), Reg(Reg::ISR.0 + 1)] {
        equal!(t, read(reg), 0, "register {:#x} at first", reg.0);
    }
}

/// IRR while closed, ISR while handled, neither afterwards.
fn request_and_service(t: &Checks) {
    static SEEN: core::sync::atomic::AtomicU32 = core::sync::atomic::AtomicU32::new(0);
    const VECTOR: u8 = 0x41;
    trap::set_handler(VECTOR, |_| {
        let ppr = read(Reg::PPR);
        let seen = u32::from(in_service(VECTOR)) | u32::from(requested(VECTOR)) << 1 | ppr << 8;
        SEEN.store(seen | 1 << 31, core::sync::atomic::Ordering::SeqCst);
        eoi();
    });
    send_self(VECTOR);
    equal!(
        t,
        (requested(VECTOR), in_service(VECTOR)),
        (true, false),
        "IRR, ISR with interrupts closed"
    );
    interrupt_window();
    let seen = SEEN.load(core::sync::atomic::Ordering::SeqCst);
    equal!(t, seen, 1 << 31 | 0x40 << 8 | 1, "ISR, IRR, PPR in the handler");
    equal!(t, (requested(VECTOR), in_service(VECTOR)), (false, false), "IRR, ISR afterwards");
    equal!(t, read(Reg::PPR), 0, "PPR afterwards");
    trap::clear_handler(VECTOR);
}

/// Requests of one vector are one request; one more may come while it is handled.
fn once(t: &Checks) {
    const VECTOR: u8 = 0x42;
    let before = this().count(VECTOR);
    (0..5).for_each(|_| send_self(VECTOR));
    interrupt_window();
    equal!(t, this().count(VECTOR) - before, 1, "interrupts from five requests of one vector");
    let before = this().count(VECTOR);
    trap::set_handler(VECTOR, |_| {
        trap::clear_handler(VECTOR);
        send_self(VECTOR);
        send_self(VECTOR);
        eoi();
    });
    send_self(VECTOR);
    interrupt_window();
    interrupt_window();
    equal!(
        t,
        this().count(VECTOR) - before,
        2,
        "interrupts when the handler requests its own vector"
    );
}

/// Order of events, as letters would be too long: vector, then vector | 0x100 for its end.
static ORDER: Place<[u32; 64]> = Place::new([0; 64]);
static EVENTS: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(0);

#[expect(unsafe_code, reason = "a list that handlers append to")]
fn note(event: u32) {
    let index = EVENTS.fetch_add(1, core::sync::atomic::Ordering::SeqCst);
    if index < 64 {
        // SAFETY: inside the list; one processor takes part.
        unsafe { ORDER.get().cast::<u32>().add(index).write_volatile(event) };
    }
}

#[expect(unsafe_code, reason = "a list that handlers append to")]
fn events() -> [u32; 8] {
    // SAFETY: as above.
    core::array::from_fn(|i| unsafe { ORDER.get().cast::<u32>().add(i).read_volatile() })
}

#[expect(unsafe_code, reason = "a list that handlers append to")]
fn forget_events() {
    EVENTS.store(0, core::sync::atomic::Ordering::SeqCst);
    // SAFETY: as above.
    unsafe { ORDER.get().write_volatile([0; 64]) };
}

/// Lets others in, then ends.
fn noting(frame: &mut Frame) {
    note(frame.vector().into());
    sti();
    for _ in 0..8 {
        core::hint::spin_loop();
    }
    cli();
    note(u32::from(frame.vector()) | 0x100);
    eoi();
}

fn nesting(t: &Checks) {
    for vector in [0x31, 0x55, 0x58, 0x71] {
        trap::set_handler(vector, noting);
    }
    forget_events();
    for vector in [0x31, 0x71, 0x55, 0x58] {
        send_self(vector);
    }
    interrupt_window();
    let order = events();
    equal!(
        t,
        order,
        [0x71, 0x171, 0x58, 0x158, 0x55, 0x155, 0x31, 0x131],
        "order of four requests"
    );
    // A handler of low priority is interrupted by a class above, not by its own class.
    forget_events();
    trap::set_handler(0x55, |frame| {
        send_self(0x58);
        send_self(0x71);
        noting(frame);
    });
    send_self(0x55);
    interrupt_window();
    interrupt_window();
    equal!(
        t,
        events()[..6],
        [0x55, 0x71, 0x171, 0x155, 0x58, 0x158],
        "order with requests from a handler"
    );
}

fn task_priority(t: &Checks) {
    let before = this().count(0x51);
    write(Reg::TPR, 0x5F);
    equal!(t, (read(Reg::TPR), read(Reg::PPR)), (0x5F, 0x5F), "TPR, PPR");
    send_self(0x51);
    interrupt_window();
    equal!(
        t,
        (this().count(0x51) - before, requested(0x51)),
        (0, true),
        "vector 0x51 with TPR 0x5F: taken, IRR"
    );
    let higher = this().count(0x61);
    send_self(0x61);
    interrupt_window();
    equal!(t, this().count(0x61) - higher, 1, "vector 0x61 with TPR 0x5F");
    write(Reg::TPR, 0x4F);
    interrupt_window();
    equal!(t, this().count(0x51) - before, 1, "vector 0x51 after TPR went to 0x4F");
    // Lowering it with interrupts open delivers at once.
    write(Reg::TPR, 0xF0);
    send_self(0x51);
    sti();
    write(Reg::TPR, 0);
    guests::cpu::pause();
    cli();
    equal!(
        t,
        this().count(0x51) - before,
        2,
        "vector 0x51 after TPR went to 0 with interrupts open"
    );
}

fn every_vector(t: &Checks) {
    for vector in 16..=0xFEu8 {
        let before = this().count(vector);
        send_self(vector);
        interrupt_window();
        if !equal!(t, this().count(vector) - before, 1, "self IPI with vector {vector:#x}") {
            return;
        }
    }
}

const SEND_ILLEGAL: u32 = 1 << 5;
const ILLEGAL_REGISTER: u32 = 1 << 7;

fn error_status() -> u32 {
    write(Reg::ESR, 0);
    read(Reg::ESR)
}

fn errors(t: &Checks) {
    const VECTOR: u8 = 0x46;
    error_status();
    let before = this().count(VECTOR);
    write(Reg::LVT_ERROR, VECTOR.into());
    send_self(5);
    interrupt_window();
    let taken = this().count(VECTOR) - before;
    equal!(t, error_status() & SEND_ILLEGAL, SEND_ILLEGAL, "ESR after vector 5 was sent");
    equal!(t, error_status(), 0, "ESR when read again");
    equal!(t, taken, 1, "error interrupts");
    if !driver::is_x2apic() {
        let _ = read(Reg(0x01));
        equal!(
            t,
            error_status() & ILLEGAL_REGISTER,
            ILLEGAL_REGISTER,
            "ESR after a register that is not there"
        );
        interrupt_window();
    }
    write(Reg::LVT_ERROR, driver::MASKED);
}

fn software_disable(t: &Checks) {
    write(Reg::LVT_TIMER, 0x47);
    write(Reg::SVR, 0xFF);
    equal!(
        t,
        read(Reg::LVT_TIMER) & driver::MASKED,
        driver::MASKED,
        "LVT timer's mask after the APIC was disabled"
    );
    write(Reg::LVT_TIMER, 0x47);
    equal!(
        t,
        read(Reg::LVT_TIMER) & driver::MASKED,
        driver::MASKED,
        "LVT timer's mask written while disabled"
    );
    write(Reg::SVR, driver::SVR_ENABLED | 0xFF);
    write(Reg::LVT_TIMER, 0x47);
    equal!(t, read(Reg::LVT_TIMER) & driver::MASKED, 0, "LVT timer's mask once enabled");
    write(Reg::LVT_TIMER, driver::MASKED);
}

/// The same registers by the hypervisor's MSRs.
fn hyperv_registers(t: &Checks) {
    const VECTOR: u8 = 0x48;
    let before = this().count(VECTOR);
    trap::set_handler(VECTOR, |_| wrmsr(hv::EOI, 0));
    let id = driver::id();
    let destination = if driver::is_x2apic() { u64::from(id) << 32 } else { u64::from(id) << 56 };
    wrmsr(hv::ICR, destination | u64::from(VECTOR));
    check!(t, requested(VECTOR), "an interrupt sent by the ICR MSR");
    equal!(t, rdmsr(hv::ICR) & !(1 << 12), destination | u64::from(VECTOR), "ICR MSR reads back");
    interrupt_window();
    equal!(
        t,
        (this().count(VECTOR) - before, in_service(VECTOR)),
        (1, false),
        "taken, in service after the EOI MSR"
    );
    wrmsr(hv::TPR, 0x60);
    send_self(VECTOR);
    interrupt_window();
    equal!(t, this().count(VECTOR) - before, 1, "taken with the TPR MSR at 0x60");
    wrmsr(hv::TPR, 0);
    interrupt_window();
    equal!(t, this().count(VECTOR) - before, 2, "taken after the TPR MSR went to 0");
    trap::clear_handler(VECTOR);
}

static ASSIST: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(0);
static SKIPPED: core::sync::atomic::AtomicU32 = core::sync::atomic::AtomicU32::new(0);

/// What Linux does: if the hypervisor says that no end of interrupt is needed, takes the word back and leaves it out.
fn assisted(_: &mut Frame) {
    let page = ASSIST.load(core::sync::atomic::Ordering::SeqCst);
    let word = peek32(page);
    if word & 1 != 0 {
        poke32(page, word & !1);
        SKIPPED.fetch_add(1, core::sync::atomic::Ordering::SeqCst);
    } else {
        wrmsr(hv::EOI, 0);
    }
}

/// End-of-interrupt assist: whether it is left out or not, the APIC's state is the same afterwards.
fn assist(t: &Checks) {
    let value = memory::overlay(rdmsr(hv::VP_ASSIST_PAGE));
    ASSIST.store(value & !0xFFF, core::sync::atomic::Ordering::SeqCst);
    wrmsr(hv::VP_ASSIST_PAGE, value | 1);
    for vector in [0x34, 0x49, 0x4A] {
        trap::set_handler(vector, assisted);
    }
    for round in 0..50 {
        let before = (this().count(0x34), this().count(0x49), this().count(0x4A));
        send_self(0x49);
        interrupt_window();
        if round & 1 == 0 {
            equal!(t, in_service(0x49), false, "in service after its end, round {round}");
        }
        // Of the same class and below: only if the first has really ended.
        send_self(0x49);
        send_self(0x4A);
        send_self(0x34);
        interrupt_window();
        let after = (this().count(0x34), this().count(0x49), this().count(0x4A));
        let taken = (after.0 - before.0, after.1 - before.1, after.2 - before.2);
        if !equal!(t, taken, (1, 2, 1), "taken in round {round}") {
            break;
        }
    }
    equal!(t, peek32(value as u64 & !0xFFF) & 1, 0, "the assist word, nothing in service");
    check!(
        t,
        SKIPPED.load(core::sync::atomic::Ordering::SeqCst) > 0,
        "no end of interrupt could ever be left out"
    );
    wrmsr(hv::VP_ASSIST_PAGE, value & !1);
    equal!(t, read(Reg::PPR), 0, "PPR at the end");
}
