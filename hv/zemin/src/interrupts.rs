//! Physical interrupts: the hypervisor owns every local APIC and passes on what is not its own.
//!
//! Device interrupts arrive with the very vector that the parent chose, on the LP of the VP it chose: the parent's VP *n*
//! lives on LP *n*, so (LP, vector) names one device interrupt. Edge interrupts are completed at once. A level-triggered
//! one stays in service until the parent's VP completes its virtual twin; because virtual and physical vectors are the
//! same, their priorities nest the same way, and the physical completion always hits the right vector.

use crate::lp::{self, Lp};
use crate::sync::Once;
use crate::vp::Request;
use arch_x86::apic::{Ipi, LocalApic};
use arch_x86::cpu;
use core::sync::atomic::Ordering;
use zemindef::counters::Counter;

/// The hypervisor's own vectors: the highest priority class, above all of the devices'.
mod vector {
    pub const TIMER: u8 = 0xF0;
    pub const KICK: u8 = 0xF1;
    pub const ERROR: u8 = 0xFE;
    pub const SPURIOUS: u8 = 0xFF;
}

/// Vectors a device interrupt may have: below are exceptions, above is the hypervisor.
pub const DEVICE_VECTORS: core::ops::RangeInclusive<u8> = 0x20..=0xEF;

/// Longest time in a guest, in time-stamp counter ticks: some tenths of a second.
const LONGEST_TURN: u64 = 1 << 28;

/// The local APIC of whichever LP asks.
pub static APIC: Once<LocalApic> = Once::new();

/// Enables the calling LP's APIC and its timer.
#[expect(unsafe_code, reason = "vouches for the mapping of the APIC")]
pub fn init_lp() {
    let apic = *APIC.get();
    // SAFETY: boot chose the mode by what the processor offers and mapped the registers.
    unsafe { apic.enable(vector::SPURIOUS, vector::ERROR) };
    apic.prepare_timer(vector::TIMER);
}

/// An interrupt taken by the calling LP, in one of the run loop's windows.
pub fn handle(vector: u8) {
    let lp = lp::current();
    lp.attention.store(true, Ordering::Relaxed);
    match vector {
        vector::TIMER => {
            lp.timer_deadline.set(u64::MAX);
            lp.count(Counter::PhysicalTimer);
            APIC.get().end_of_interrupt();
        }
        vector::KICK => {
            lp.count(Counter::PhysicalIpi);
            APIC.get().end_of_interrupt();
        }
        vector::SPURIOUS => lp.count(Counter::PhysicalSpurious),
        vector::ERROR => {
            let status = APIC.get().error_status();
            crate::log::log!(
                crate::log::Level::Warn,
                "LP {}: local APIC error {status:#x}",
                lp.index
            );
            APIC.get().end_of_interrupt();
        }
        _ => on_device(lp, vector),
    }
}

/// An interrupt from a device, which is the parent's.
fn on_device(lp: &'static Lp, vector: u8) {
    let level = is_set(&lp.level_vectors, vector);
    if level {
        lp.count(Counter::PhysicalLevel);
        let mut owed = lp.owed_eoi.get();
        set(&mut owed, vector, true);
        lp.owed_eoi.set(owed);
    } else {
        // Also one that is no longer mapped: the parent may have moved it a moment ago and still serves the old vector.
        lp.count(if lp.device_vectors[usize::from(vector)].load(Ordering::Relaxed) != 0 {
            Counter::PhysicalDevice
        } else {
            Counter::PhysicalUnmapped
        });
        APIC.get().end_of_interrupt();
    }
    if let Some(vp) = lp.root_vp.get() {
        vp.post_interrupt(vector, level);
    }
}

/// The parent's VP on this LP completed `vector`: completes the physical interrupt if that waited for it.
pub fn complete(lp: &Lp, vector: u8) {
    let mut owed = lp.owed_eoi.get();
    if owed[usize::from(vector / 64)] & 1 << (vector % 64) != 0 {
        set(&mut owed, vector, false);
        lp.owed_eoi.set(owed);
        APIC.get().end_of_interrupt();
    }
}

/// Declares `vector` a device interrupt on `lp`.
pub fn map_device(lp: &Lp, vector: u8, level: bool) {
    let (word, bit) = (usize::from(vector / 64), 1 << (vector % 64));
    if level {
        lp.level_vectors[word].fetch_or(bit, Ordering::Relaxed);
    } else {
        lp.level_vectors[word].fetch_and(!bit, Ordering::Relaxed);
    }
    lp.device_vectors[usize::from(vector)].fetch_add(1, Ordering::Release);
}

/// Takes one declaration back. `false` if there was none. The trigger mode is kept: an interrupt may be under way.
pub fn unmap_device(lp: &Lp, vector: u8) -> bool {
    let less_one = |count: u16| count.checked_sub(1);
    lp.device_vectors[usize::from(vector)]
        .fetch_update(Ordering::AcqRel, Ordering::Relaxed, less_one)
        .is_ok()
}

/// Makes another LP leave its guest or wake up.
pub fn send_kick(apic_id: u32) {
    lp::current().count(Counter::IpiPhysical);
    APIC.get().send(apic_id, Ipi::Fixed(vector::KICK));
}

/// Stops every other LP for good, by NMI.
pub fn stop_other_lps() {
    let Some(apic) = APIC.try_get() else { return };
    let this = lp::try_current().map(|lp| lp.index);
    for lp in lp::all().filter(|lp| Some(lp.index) != this && lp.online.load(Ordering::Acquire)) {
        apic.send(lp.apic_id, Ipi::Nmi);
    }
}

/// Starts the LP with this APIC id at page `page` below 1 MiB: INIT, then two startup interrupts.
pub fn start_lp(apic_id: u32, page: u8, wait_us: impl Fn(u64)) {
    let apic = APIC.get();
    apic.send(apic_id, Ipi::Init);
    wait_us(10_000);
    for _ in 0..2 {
        apic.send(apic_id, Ipi::Startup(page));
        wait_us(200);
    }
}

/// An NMI that no LP sent: the machine's, so the parent's on this LP.
pub fn on_machine_nmi() {
    if let Some(vp) = lp::try_current().and_then(|lp| lp.root_vp.get()) {
        vp.request(Request::Nmi);
    }
}

/// Sets the physical timer for an LP that enters a guest. Even without a deadline it comes back some day: an interrupt from
/// another LP may have been lost on its way, and its sender does not repeat it.
pub fn set_guest_timer(lp: &Lp, deadline: u64) {
    set_timer(lp, deadline);
    if lp.timer_deadline.get() == u64::MAX {
        set_timer(lp, cpu::rdtsc().saturating_add(LONGEST_TURN));
    }
}

/// Sets the physical timer to fire at time-stamp counter value `deadline`, or never for `u64::MAX`.
///
/// One that is set to that already, and should have fired, is set anew: its interrupt may have been lost on its way.
pub fn set_timer(lp: &Lp, deadline: u64) {
    // A timer that fires early costs one look at the clock, stopping it costs a register write.
    if deadline == u64::MAX {
        return;
    }
    let now = cpu::rdtsc();
    if lp.timer_deadline.get() == deadline && now < deadline {
        return;
    }
    lp.timer_deadline.set(deadline);
    lp.count(Counter::TimerPrograms);
    let ticks = crate::time::CLOCKS.get().apic_ticks(deadline.saturating_sub(now));
    APIC.get().start_timer(ticks);
}

fn is_set(bits: &[core::sync::atomic::AtomicU64; 4], vector: u8) -> bool {
    bits[usize::from(vector / 64)].load(Ordering::Relaxed) & 1 << (vector % 64) != 0
}

fn set(bits: &mut [u64; 4], vector: u8, value: bool) {
    let word = &mut bits[usize::from(vector / 64)];
    *word = *word & !(1 << (vector % 64)) | u64::from(value) << (vector % 64);
}
