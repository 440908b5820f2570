//! Starting the other LPs.
#![expect(unsafe_code, reason = "places code where a startup interrupt begins")]

use crate::log::{Level, log};
use crate::lp::{self, Lp};
use crate::mem::{PAGE, phys, space};
use crate::{interrupts, time};
use arch_x86::cpu;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// What the trampoline loads on its way up: one LP starts at a time.
pub static AP_ROOT: AtomicU64 = AtomicU64::new(0);
/// See [`AP_ROOT`].
pub static AP_STACK: AtomicU64 = AtomicU64::new(0);
/// See [`AP_ROOT`].
pub static AP_LP: AtomicPtr<Lp> = AtomicPtr::new(core::ptr::null_mut());

/// Page below 1 MiB that the trampoline borrows; its content is put back before the parent starts.
const TRAMPOLINE: u64 = 0x8000;
/// How long an LP may take to come up.
const START_TIMEOUT_US: u64 = 1_000_000;

unsafe extern "C" {
    static trampoline_start: u8;
    static trampoline_end: u8;
}

/// Starts every LP of `apic_ids` but the calling one, up to `limit` in total. Those that do not answer are left out.
pub fn start_others(apic_ids: impl Iterator<Item = u32>, limit: usize) {
    let own = lp::current().apic_id;
    let mut saved = [0u8; PAGE as usize];
    phys::read(TRAMPOLINE, &mut saved);
    let (from, to) = (&raw const trampoline_start, &raw const trampoline_end);
    // SAFETY: the trampoline is code inside the image.
    let code = unsafe { core::slice::from_raw_parts(from, to as usize - from as usize) };
    for apic_id in apic_ids.filter(|&id| id != own) {
        if lp::count() as usize >= limit {
            log!(Level::Info, "LP with APIC id {apic_id} stays off (lps={limit})");
            continue;
        }
        // The far jump is patched in place, so every start gets a fresh copy.
        phys::write(TRAMPOLINE, code);
        start(apic_id);
    }
    phys::write(TRAMPOLINE, &saved);
}

fn start(apic_id: u32) {
    let Some((lp, stack)) = lp::create(apic_id).and_then(|lp| Some((lp, space::map_stack(lp.index, 0)?))) else {
        log!(Level::Error, "no memory for the LP with APIC id {apic_id}; it stays off");
        return;
    };
    AP_ROOT.store(space::root(), Ordering::Relaxed);
    AP_STACK.store(stack, Ordering::Relaxed);
    AP_LP.store(core::ptr::from_ref(lp).cast_mut(), Ordering::Release);
    interrupts::start_lp(apic_id, (TRAMPOLINE / PAGE) as u8, wait_us);
    for _ in 0..START_TIMEOUT_US / 10 {
        if lp.online.load(Ordering::Acquire) {
            return;
        }
        wait_us(10);
    }
    super::crash_or_refuse_lp(apic_id);
}

fn wait_us(us: u64) {
    let end = cpu::rdtsc() + time::CLOCKS.get().tsc_hz / 1_000_000 * us;
    while cpu::rdtsc() < end {
        cpu::pause();
    }
}

/// Where another LP arrives, on its own stack and in the hypervisor's address space.
pub extern "C" fn ap_main(lp: *const Lp) -> ! {
    // SAFETY: `start` put it there, and it lives for ever.
    let lp: &'static Lp = unsafe { &*lp };
    super::init_lp(lp);
    lp.online.store(true, Ordering::Release);
    super::wait_for_parent();
    crate::run::run()
}
