//! Starting the other LPs.
#![expect(unsafe_code, reason = "places code where a startup interrupt begins")]

use super::input::Input;
use crate::log::{Level, log};
use crate::lp::{self, Lp};
use crate::mem::{PAGE, phys, space};
use crate::sync::Once;
use crate::{crash, interrupts, time};
use arch_x86::cpu;
use arch_x86::mtrr::MemoryTypes;
use boot_plan::{End, PhysRange, Search};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

/// What the trampoline loads on its way up: one LP starts at a time.
pub static AP_ROOT: AtomicU64 = AtomicU64::new(0);
/// See [`AP_ROOT`].
pub static AP_STACK: AtomicU64 = AtomicU64::new(0);
/// See [`AP_ROOT`].
pub static AP_LP: AtomicPtr<Lp> = AtomicPtr::new(core::ptr::null_mut());

/// How long an LP may take to come up.
const START_TIMEOUT_US: u64 = 1_000_000;

unsafe extern "C" {
    static trampoline_start: u8;
    static trampoline_end: u8;
}

/// Starts every LP of `apic_ids` but the calling one. The machine is refused if one does not answer.
pub fn start_others(input: &Input, apic_ids: impl Iterator<Item = u32>) {
    let own = lp::current().apic_id;
    let mut others = apic_ids.filter(|&id| id != own).peekable();
    if others.peek().is_none() {
        return;
    }
    let Some(page) = trampoline_page(input) else {
        crash::refuse(format_args!(
            "no free page below 1 MiB to start other LPs from; lps=1 leaves them out"
        ));
    };
    if let Some(types) = MemoryTypes::read() {
        MEMORY_TYPES.set(types);
    }
    let mut saved = [0u8; PAGE as usize];
    phys::read(page, &mut saved);
    for apic_id in others {
        // The far jump is patched in place, so every start gets a fresh copy.
        phys::write(page, trampoline());
        start(apic_id, page);
    }
    phys::write(page, &saved);
}

/// A page below 1 MiB that the trampoline borrows: its content is put back before the parent starts.
fn trampoline_page(input: &Input) -> Option<u64> {
    let within = PhysRange::new(PAGE, 0xA0000);
    let search = Search { len: PAGE, align: PAGE, within, avoid: &input.files(), from: End::Top };
    Some(input.map.find_free(&search)?.start)
}

fn trampoline() -> &'static [u8] {
    let (from, to) = (&raw const trampoline_start, &raw const trampoline_end);
    // SAFETY: the trampoline is code inside the image.
    unsafe { core::slice::from_raw_parts(from, to as usize - from as usize) }
}

fn start(apic_id: u32, page: u64) {
    let Some((lp, stack)) =
        lp::create(apic_id).and_then(|lp| Some((lp, space::map_stack(lp.index, 0)?)))
    else {
        crash::refuse(format_args!("out of memory for the LP with APIC id {apic_id}"));
    };
    AP_ROOT.store(space::root(), Ordering::Relaxed);
    AP_STACK.store(stack, Ordering::Relaxed);
    AP_LP.store(core::ptr::from_ref(lp).cast_mut(), Ordering::Release);
    interrupts::start_lp(apic_id, (page / PAGE) as u8, wait_us);
    for _ in 0..START_TIMEOUT_US / 10 {
        if lp.online.load(Ordering::Acquire) {
            return;
        }
        wait_us(10);
    }
    // It may still come up later, on a stack and a trampoline that others use by then.
    crash::refuse(format_args!(
        "the LP with APIC id {apic_id} does not start; lps={} leaves it out",
        lp.index
    ));
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
    lp.adopt();
    lp::init_control_registers();
    interrupts::init_lp();
    super::enable_virtualization(lp);
    if MEMORY_TYPES.try_get().is_some_and(|types| types.apply()) {
        log!(Level::Debug, "LP {}: memory types made those of the first LP", lp.index);
    }
    lp.online.store(true, Ordering::Release);
    while !RELEASED.load(Ordering::Acquire) {
        // SAFETY: the interrupt table is loaded and no lock is held.
        unsafe { lp.context().idle() };
    }
    crate::run::run()
}

/// Memory types of the first LP, which all others get.
static MEMORY_TYPES: Once<MemoryTypes> = Once::new();

/// The parent's VPs exist.
static RELEASED: AtomicBool = AtomicBool::new(false);

/// Lets the other LPs run the parent's VPs.
pub fn release() {
    RELEASED.store(true, Ordering::Release);
    lp::all().for_each(Lp::kick);
}
