//! What is known of other hypervisors, and Zemin's goals.
//!
//! Measured once, on the machine that `bench` emulates: QEMU 10.0.2, TCG, q35, CPU `EPYC` with AMD-V and nested paging, one
//! processor, 3.5 GiB, `-icount shift=0,sleep=off`. The guest was Debian trixie's stock cloud kernel 6.12 with 512 MiB
//! and one VP, its parent Debian's stock 6.12. KVM is kvm_amd with QEMU 10.0; Xen is 4.20 with a PVH dom0 and a PVH
//! guest; metal is the same guest straight on the emulated machine. Kernel-mode figures came from a module with a loop of
//! 10,000 and interrupts off. The measured programs were others than `image/bench/init.c`, so a goal that is close to
//! metal is one for the ratio.

/// What a goal means for a child.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// At most so much.
    AtMost(f64),
    /// At most so many times the bare machine's.
    Ratio(f64),
    /// So much as was added to the bare machine's.
    Adds(f64),
    /// None was set.
    None,
}

/// A line of the comparison.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Name of the child's figure.
    pub child: &'static str,
    /// Name of the bare machine's figure; empty if it has none.
    pub metal: &'static str,
    /// What it is.
    pub title: &'static str,
    /// The others', in the table's unit: metal, KVM, Xen.
    pub peers: [Option<f64>; 3],
    /// What Zemin is to reach.
    pub goal: Goal,
    /// Divides the figure for the table.
    pub unit: f64,
}

/// Bytes in the table's unit.
const MIB: f64 = (1u64 << 20) as f64;
/// Instructions in a second.
const SECOND: f64 = 1e9;

const fn row(child: &'static str, title: &'static str, peers: [Option<f64>; 3], goal: Goal) -> Row {
    Row { child, metal: child, title, peers, goal, unit: 1.0 }
}

const NOBODY: [Option<f64>; 3] = [None; 3];

const fn three(metal: f64, kvm: f64, xen: f64) -> [Option<f64>; 3] {
    [Some(metal), Some(kvm), Some(xen)]
}

const fn two(kvm: f64, xen: f64) -> [Option<f64>; 3] {
    [None, Some(kvm), Some(xen)]
}

/// All lines. Of the peers only what others have published or measured is here.
pub const ROWS: [Row; 24] = [
    row("kernel_cpuid", "CPUID, exit round trip", three(35.0, 3060.0, 5264.0), Goal::AtMost(800.0)),
    row("hypercall", "cheapest hypercall", two(3412.0, 6000.0), Goal::AtMost(800.0)),
    row("kernel_rdmsr", "RDMSR APIC_BASE", three(44.0, 3195.0, 5168.0), Goal::AtMost(800.0)),
    row("cpu_loop", "CPU loop, per step", three(12.02, 12.15, 12.08), Goal::Ratio(12.06 / 12.02)),
    row(
        "memory_walk",
        "memory walk 16 MiB, per step",
        three(12.01, 12.15, 12.07),
        Goal::Ratio(12.05 / 12.01),
    ),
    row("getppid", "getppid", three(375.0, 379.0, 378.0), Goal::Ratio(377.0 / 375.0)),
    row(
        "page_fault",
        "page fault, 4 KiB anonymous",
        three(5002.0, 5056.0, 11174.0),
        Goal::Ratio(5030.0 / 5002.0),
    ),
    row("first_touch", "page fault in memory never touched before", NOBODY, Goal::None),
    row(
        "fork_exit",
        "fork + exit",
        three(229_265.0, 229_903.0, 317_368.0),
        Goal::Ratio(229_700.0 / 229_265.0),
    ),
    row(
        "fork_exec",
        "fork + exec",
        three(599_497.0, 710_147.0, 1_040_302.0),
        Goal::Ratio(630_000.0 / 599_497.0),
    ),
    row(
        "sleep_100us_late",
        "sleep of 100 us, lateness",
        three(54_125.0, 60_193.0, 89_589.0),
        Goal::Adds(57_000.0 - 54_125.0),
    ),
    row("timer_idle", "timer due -> after its handler, in HLT", NOBODY, Goal::None),
    row("timer_busy", "timer due -> after its handler, busy", NOBODY, Goal::None),
    row("message", "message child -> worker -> child", NOBODY, Goal::None),
    row("event", "event child -> worker -> child", NOBODY, Goal::None),
    row("intercept", "intercept -> parent's kernel -> child", NOBODY, Goal::None),
    row("switch", "switch between two children, least", NOBODY, Goal::None),
    row("create", "create partition -> first instruction", NOBODY, Goal::None),
    Row {
        metal: "boot_to_init",
        unit: SECOND,
        ..row(
            "linux_start",
            "start command -> guest's init, s",
            three(2.07, 2.37, 3.21),
            Goal::AtMost(1.7 * SECOND),
        )
    },
    Row {
        metal: "",
        unit: SECOND,
        ..row("first_start", "the same with a kernel never met before, s", NOBODY, Goal::None)
    },
    Row {
        metal: "",
        unit: MIB,
        ..row(
            "linux_taken",
            "taken from the parent, less the guest's RAM, MiB",
            // Xen: 0.4 to 5 MiB. KVM: QEMU's resident memory alone.
            two(49.0, 5.0),
            Goal::AtMost(5.0 * MIB),
        )
    },
    Row {
        metal: "",
        unit: MIB,
        ..row("linux_rest", "of it deposits, and the parent's kernel's, MiB", NOBODY, Goal::None)
    },
    Row {
        metal: "",
        unit: MIB,
        ..row("linux_resident", "resident in the worker, its program too, MiB", NOBODY, Goal::None)
    },
    row("cpuid", "CPUID from the guest's user space", NOBODY, Goal::None),
];
