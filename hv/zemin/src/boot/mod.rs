//! From the boot loader to the parent's first instruction.
//!
//! ```text
//! entry.S ─► input    what the loader left: memory map, modules, options
//!            firmware ACPI: processors, timers, how to end it all
//!            layout   a pool of frames, the hypervisor's own address space
//!            smp      the other LPs
//!            parent   the parent partition, a VP on every LP
//!            kernel   the parent's kernel and initrd in their places
//! ```
//!
//! Anything wrong with the machine or with what the user gave ends in one line on the console ([`crash::refuse`]).
#![expect(unsafe_code, reason = "entry from the boot loader; switches AMD-V on")]

mod build_id;
mod features;
mod firmware;
mod input;
mod kernel;
mod layout;
mod machine;
mod parent;
mod smp;

use crate::log::{Level, log};
use crate::lp::{self, Lp};
use crate::mem::{frames, space};
use crate::sync::Once;
use crate::{crash, interrupts, run, time, trap};
use arch_x86::apic::{self, LocalApic};
use arch_x86::cpu;
use arch_x86::vcpu::Capabilities;
pub use build_id::{BuildId, build_id};
pub use features::{PARENT_FEATURES, PARENT_HINTS, cpu_features};
pub use machine::{power_off, reset_machine, set_sleep_types};
use page_table::PageSize;
pub use parent::{SharedPages, VpPage, hypercall_page};

core::arch::global_asm!(
    include_str!("entry.S"),
    boot_main = sym boot_main,
    ap_main = sym smp::ap_main,
    ap_root = sym smp::AP_ROOT,
    ap_stack = sym smp::AP_STACK,
    ap_lp = sym smp::AP_LP,
    options(att_syntax)
);

/// What was found out at boot and stays true.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// What AMD-V can do.
    pub capabilities: Capabilities,
    /// RAM of the machine in bytes, as firmware reports it.
    pub ram_total: u64,
    /// The parent is offered x2APIC mode.
    pub parent_x2apic: bool,
    /// End of what the parent's second-level tables map from the start; above, they grow on demand.
    pub premapped_end: u64,
}

/// Set once, before the parent starts.
pub static FACTS: Once<Facts> = Once::new();

/// The largest leaf of the parent's second-level tables.
pub fn largest_parent_page() -> PageSize {
    if FACTS.get().capabilities.huge_pages { PageSize::Huge } else { PageSize::Large }
}

/// Where the loader's entry code arrives, on the boot stack and with the boot tables.
extern "C" fn boot_main(magic: u32, info: u32) -> ! {
    if boot(magic, info) {
        run::run()
    }
    cpu::halt_forever()
}

/// Everything up to the parent's first instruction. What it needs of the stack, which is a good part, is free when it returns:
/// the calling LP stays on the boot stack. Whether that one runs guests from now on.
#[inline(never)]
fn boot(magic: u32, info: u32) -> bool {
    trap::init();
    let input = input::load(magic, info.into());
    log!(Level::Info, "Zemin {} build {}", crate::VERSION, BuildId(&build_id()));
    input::report_options(&input);
    let capabilities = match arch_x86::svm::probe() {
        Ok(capabilities) => capabilities,
        Err(why) => crash::refuse(format_args!("{why}")),
    };
    // Before the tables: a file that reaches out of RAM may have overwritten them.
    input.check_files();
    let firmware = firmware::load(&input, apic_id());
    let pool = layout::prepare(&input, firmware.enabled_lps());
    start_lps(capabilities, &input, &firmware);
    let facts = FACTS.set(Facts {
        capabilities,
        ram_total: input.ram_total(),
        parent_x2apic: input.options.x2apic,
        premapped_end: layout::premapped_end(&input),
    });
    let Some(partition) = parent::create(facts) else {
        crash::refuse(format_args!("out of memory while the parent partition was created"));
    };
    let start = kernel::load(&input, &firmware, pool);
    parent::set_entry(partition, start);
    let (total, free) = frames::counts();
    log!(
        Level::Info,
        "{} LPs; {} KiB of {} KiB pool free; the parent starts",
        lp::count(),
        free * 4,
        total * 4
    );
    crate::log::quiet_console();
    smp::release();
    firmware.uses_own
}

/// Brings up the calling LP, then the others.
fn start_lps(capabilities: Capabilities, input: &input::Input, firmware: &firmware::Firmware) {
    let apic = if apic::has_x2apic() {
        LocalApic::X2
    } else {
        match space::map_device(apic::physical_base()) {
            Some(address) => LocalApic::Mmio(address),
            None => crash::refuse(format_args!("out of memory while the local APIC was mapped")),
        }
    };
    interrupts::APIC.set(apic);
    CAPABILITIES.set(capabilities);
    let create = if firmware.uses_own { lp::create } else { lp::create_unlisted };
    let Some(lp) = create(apic_id()) else {
        crash::refuse(format_args!("out of memory for the first LP"));
    };
    lp.adopt();
    lp::init_control_registers();
    interrupts::init_lp();
    match time::calibrate(apic, firmware.time_standard()) {
        Some(clocks) => {
            log!(
                Level::Info,
                "time-stamp counter {} kHz, APIC timer {} kHz",
                clocks.tsc_hz / 1000,
                clocks.apic_hz / 1000
            );
            time::CLOCKS.set(clocks);
        }
        None => crash::refuse(format_args!(
            "the timer to calibrate against ({:?}) does not tick",
            firmware.time_standard()
        )),
    }
    // A processor that runs no guest stays as it is, see docs/debugging.md on why that is wanted of it.
    if firmware.uses_own {
        enable_virtualization(lp);
    }
    smp::start_others(input, firmware.apic_ids());
}

static CAPABILITIES: Once<Capabilities> = Once::new();

/// The calling LP's APIC id as CPUID tells it: 32 bits wide where that leaf exists.
fn apic_id() -> u32 {
    let has_topology = cpu::cpuid(0, 0).eax >= 0xB && cpu::cpuid(0xB, 0).ebx != 0;
    if has_topology { cpu::cpuid(0xB, 0).edx } else { cpu::cpuid(1, 0).ebx >> 24 }
}

/// Switches AMD-V on for the calling LP.
fn enable_virtualization(lp: &Lp) {
    let (Some(save), Some(host)) = (frames::alloc(), frames::alloc()) else {
        crash::refuse(format_args!("out of memory for LP {}", lp.index));
    };
    // SAFETY: the processor was probed; the frames are fresh; descriptor tables and GS are final after `adopt`.
    unsafe { lp.context().enable(*CAPABILITIES.get(), save, host) };
}
