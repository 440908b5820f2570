//! From the boot loader to the parent's first instruction.
#![expect(unsafe_code, reason = "entry from the boot loader")]

mod machine;
mod parent;
mod smp;
mod tmpplan;

use crate::log::{Level, log};
use crate::lp::{self, Lp};
use crate::mem::{PAGE, frames, phys, space};
use crate::time::{self, Standard};
use crate::{console, crash, interrupts, trap};
use arch_x86::apic::{self, LocalApic};
use arch_x86::vcpu::Capabilities;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
pub use machine::{power_off, reset_machine, set_sleep_types};
use machine::{POWER, PowerRegisters};
pub use parent::{SHARED, SharedPages, VpPage};
use page_table::PageSize;
use tmpplan as plan;

core::arch::global_asm!(
    include_str!("entry.S"),
    boot_main = sym boot_main,
    ap_main = sym smp::ap_main,
    ap_root = sym smp::AP_ROOT,
    ap_stack = sym smp::AP_STACK,
    ap_lp = sym smp::AP_LP,
    options(att_syntax)
);

/// Features of the parent, CPUID 0x40000003.
pub const PARENT_FEATURES: (u32, u32, u32, u32) = (
    1 << 0 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 9 | 1 << 11 | 1 << 4,
    1 << 0 | 1 << 1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 12,
    0,
    1 << 8 | 1 << 10 | 1 << 19,
);
/// Hints for the parent, CPUID 0x40000004.
pub const PARENT_HINTS: u32 = 1 << 2 | 1 << 3 | 1 << 9 | 1 << 10 | 1 << 11;

static X2APIC: AtomicBool = AtomicBool::new(false);
static HUGE: AtomicBool = AtomicBool::new(false);
static PREMAPPED: AtomicU64 = AtomicU64::new(0);
static PARENT_READY: AtomicBool = AtomicBool::new(false);
static CAPABILITIES: crate::sync::Once<Capabilities> = crate::sync::Once::new();

pub fn parent_has_x2apic() -> bool {
    X2APIC.load(Ordering::Relaxed)
}
pub fn largest_parent_page() -> PageSize {
    if HUGE.load(Ordering::Relaxed) { PageSize::Huge } else { PageSize::Large }
}
pub fn premapped_end() -> u64 {
    PREMAPPED.load(Ordering::Relaxed)
}
pub fn cpu_features() -> zemindef::info::CpuFeatures {
    zemindef::info::CpuFeatures::NONE
}
pub fn ram_total() -> u64 {
    0
}
pub fn build_id() -> [u8; 20] {
    [0; 20]
}
pub struct BuildId<'a>(pub &'a [u8; 20]);
impl core::fmt::Display for BuildId<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

extern "C" fn boot_main(_magic: u32, info: u32) -> ! {
    console::init(0x3F8, 115_200);
    trap::init();
    log!(Level::Info, "Zemin starts");
    let info = u64::from(info);
    let capabilities = match arch_x86::svm::probe() {
        Ok(c) => *CAPABILITIES.set(c),
        Err(why) => crash::refuse(format_args!("{why}")),
    };
    log!(Level::Info, "{capabilities:?}");
    let (map, n) = plan::mmap(info);
    let map = &map[..n];
    let acpi = plan::acpi();
    let top = map.iter().filter(|m| m.kind == 1 && m.start < 1 << 32).map(|m| m.start + m.len).max().unwrap();
    let end = map.iter().filter(|m| m.kind == 1).map(|m| m.start + m.len).max().unwrap();
    let pool = (top - (2 << 20)) & !((2 << 20) - 1);
    frames::init(pool, 2 << 20);
    let mut direct = phys::Ranges::new();
    direct.push(0, 1 << 20);
    for m in map {
        if m.kind == 1 || m.start < 1 << 32 && m.kind != 2 {
            direct.push(m.start & !(PAGE - 1), (m.start + m.len).next_multiple_of(PAGE));
        }
    }
    space::build(&direct).expect("pool");
    space::activate();
    phys::MAPPED.set(direct);
    let apic = if apic::has_x2apic() {
        LocalApic::X2
    } else {
        LocalApic::Mmio(space::map_device(apic::physical_base()).unwrap())
    };
    interrupts::APIC.set(apic);
    POWER.set(PowerRegisters { pm1a_control: acpi.pm1a, pm1b_control: 0, reset: None });
    X2APIC.store(true, Ordering::Relaxed);
    HUGE.store(capabilities.huge_pages, Ordering::Relaxed);
    let bsp = lp::create(arch_x86::cpu::cpuid(1, 0).ebx >> 24).unwrap();
    bsp.adopt();
    lp::init_control_registers();
    interrupts::init_lp();
    let clocks = time::calibrate(apic, Standard::PmTimer { port: acpi.pm_timer }).unwrap();
    log!(Level::Info, "tsc {} apic {}", clocks.tsc_hz, clocks.apic_hz);
    time::CLOCKS.set(clocks);
    init_svm(bsp);
    smp::start_others(acpi.apics[..acpi.n].iter().copied(), 64);
    log!(Level::Info, "{} LPs", lp::count());
    let memory_end = end.max(4 << 30).next_multiple_of(1 << 30);
    PREMAPPED.store(memory_end, Ordering::Relaxed);
    let partition = parent::create(capabilities, memory_end, parent_has_x2apic()).expect("pool");
    let reserved = [space::image_range(), (pool, pool + (2 << 20))];
    let (entry, bp) = plan::load(info, map, &reserved, acpi.rsdp, pool);
    parent::set_entry(partition.vp(0).unwrap(), entry, bp);
    log!(Level::Info, "pool {:?}; starting the parent", frames::counts());
    PARENT_READY.store(true, Ordering::Release);
    lp::all().for_each(Lp::kick);
    crate::run::run()
}

fn init_svm(lp: &Lp) {
    let (Some(save), Some(host)) = (frames::alloc(), frames::alloc()) else {
        crash::refuse(format_args!("no memory for LP {}", lp.index));
    };
    // SAFETY: probed; fresh frames; tables and GS are final.
    unsafe { lp.context().enable(*CAPABILITIES.get(), save, host) };
}

pub fn init_lp(lp: &'static Lp) {
    lp.adopt();
    lp::init_control_registers();
    interrupts::init_lp();
    init_svm(lp);
}

pub fn wait_for_parent() {
    let lp = lp::current();
    while !PARENT_READY.load(Ordering::Acquire) {
        // SAFETY: table loaded, no lock held.
        unsafe { lp.context().idle() };
    }
}

pub fn crash_or_refuse_lp(apic_id: u32) -> ! {
    crash::refuse(format_args!("the LP with APIC id {apic_id} does not start"))
}
