//! The hypervisor's own MSRs, as the root partition finds them.

use super::{faults, msr_rules, works};
use core::sync::atomic::{AtomicU64, Ordering};
use guests::cpu::{rdmsr, wrmsr};
use guests::memory::{self, Kind, PAGE};
use guests::report::Checks;
use guests::trap::GP;
use guests::{apic, check, cpu, equal, hypercall, smp, user};
use hvdef::msr as hv;

/// All of it.
pub fn run(t: &Checks) {
    values(t);
    pages(t);
    sints(t);
    crash(t);
    vp_index(t);
    read_only(t);
    unknown(t);
    ring_3(t);
    msr_rules::run(t);
}

fn values(t: &Checks) {
    equal!(t, rdmsr(hv::GUEST_OS_ID), hypercall::GUEST_OS_ID, "guest OS id reads back");
    wrmsr(hv::GUEST_OS_ID, 0x8100 << 48 | 0x07_0300 << 16);
    equal!(t, rdmsr(hv::GUEST_OS_ID), 0x8100 << 48 | 0x07_0300 << 16, "guest OS id, changed");
    wrmsr(hv::GUEST_OS_ID, hypercall::GUEST_OS_ID);
    let hz = rdmsr(hv::TSC_FREQUENCY);
    check!(t, (100_000_000..20_000_000_000).contains(&hz), "TSC frequency {hz}");
    let hz = rdmsr(hv::APIC_FREQUENCY);
    check!(t, (1_000_000..20_000_000_000).contains(&hz), "APIC frequency {hz}");
    let before = rdmsr(hv::VP_RUNTIME);
    guests::clock::delay_us(2000);
    let spent = rdmsr(hv::VP_RUNTIME).wrapping_sub(before);
    check!(t, (1..10_000_000).contains(&spent), "VP run time went on by {spent} in 2 ms");
    equal!(t, rdmsr(hv::SVERSION), 1, "SVERSION");
    wrmsr(hv::SCONTROL, 1);
    equal!(t, rdmsr(hv::SCONTROL), 1, "SCONTROL reads back");
    wrmsr(hv::SCONTROL, 0);
    wrmsr(hv::EOM, 0);
    wrmsr(hv::EOI, 0);
    wrmsr(hv::RESET, 0);
    wrmsr(hv::TPR, 0x20);
    equal!(
        t,
        (rdmsr(hv::TPR), apic::read(apic::Reg::TPR)),
        (0x20, 0x20),
        "TPR by its MSR, and the APIC's"
    );
    wrmsr(hv::TPR, 0);
}

/// The hypervisor chose these pages: only the enable bit is the root's.
fn pages(t: &Checks) {
    for index in
        [hv::HYPERCALL, hv::REFERENCE_TSC, hv::VP_ASSIST_PAGE, hv::SIEFP, hv::SIMP, hv::SIRBP]
    {
        let before = rdmsr(index);
        let page = before & !(PAGE - 1);
        check!(t, page != 0, "MSR {index:#x} has no page");
        check!(
            t,
            memory::kind_of(page) != Some(Kind::RAM),
            "MSR {index:#x}: page {page:#x} lies in usable RAM"
        );
        wrmsr(index, before | 1);
        equal!(t, rdmsr(index), before | 1, "MSR {index:#x}, enabled");
        let moved = guests::trap::catch(|| wrmsr(index, (page + PAGE) | 1));
        equal!(
            t,
            rdmsr(index) & !(PAGE - 1),
            page,
            "MSR {index:#x}: the page moved ({:?})",
            moved.is_ok()
        );
        wrmsr(index, before & !1);
        equal!(t, rdmsr(index), before & !1, "MSR {index:#x}, disabled");
        works(t, format_args!("page {page:#x} of MSR {index:#x}"), || cpu::peek(page));
        wrmsr(index, before);
    }
}

fn sints(t: &Checks) {
    for index in hv::SINT0..=hv::SINT15 {
        equal!(t, rdmsr(index), 1 << 16, "SINT MSR {index:#x} at first");
        wrmsr(index, 0x2_00F3);
        equal!(t, rdmsr(index), 0x2_00F3, "SINT MSR {index:#x} reads back");
        faults(t, GP, format_args!("SINT MSR {index:#x}: vector 15, not masked"), || {
            wrmsr(index, 15)
        });
        equal!(t, rdmsr(index), 0x2_00F3, "SINT MSR {index:#x} after a refused write");
        wrmsr(index, 1 << 16);
    }
    for timer in 0..4 {
        let (config, count) = (hv::STIMER0_CONFIG + 2 * timer, hv::STIMER0_COUNT + 2 * timer);
        wrmsr(config, 0x1ED8);
        equal!(t, rdmsr(config), 0x1ED8, "timer {timer}: configuration reads back");
        wrmsr(config, 0);
        wrmsr(count, 0x1234_5678_9ABC);
        equal!(
            t,
            (rdmsr(config), rdmsr(count)),
            (0, 0x1234_5678_9ABC),
            "timer {timer}: count reads back"
        );
        wrmsr(count, 0);
    }
}

fn crash(t: &Checks) {
    for index in hv::CRASH_P0..=hv::CRASH_P4 {
        wrmsr(index, u64::from(index) << 32 | 0x5A);
        equal!(t, rdmsr(index), u64::from(index) << 32 | 0x5A, "crash MSR {index:#x} reads back");
        wrmsr(index, 0);
    }
    equal!(t, rdmsr(hv::CRASH_CTL) >> 62, 3, "crash control: notify, message");
}

static SEEN: AtomicU64 = AtomicU64::new(0);

fn vp_index(t: &Checks) {
    SEEN.store(1 << rdmsr(hv::VP_INDEX), Ordering::SeqCst);
    let note = |_| {
        let index = rdmsr(hv::VP_INDEX);
        // Two with the same index, or one out of range, show as a missing bit.
        SEEN.fetch_or(1u64.checked_shl(index as u32).unwrap_or(0), Ordering::SeqCst);
    };
    for index in smp::others() {
        equal!(t, smp::run(index, 1000, note, 0), Ok(()), "VP index on processor {index}");
    }
    equal!(t, SEEN.load(Ordering::SeqCst), (1 << smp::count()) - 1, "set of VP indices");
}

fn read_only(t: &Checks) {
    let read_only = [
        hv::VP_INDEX,
        hv::VP_RUNTIME,
        hv::TIME_REF_COUNT,
        hv::TSC_FREQUENCY,
        hv::APIC_FREQUENCY,
        hv::SVERSION,
    ];
    for index in read_only {
        faults(t, GP, format_args!("write to MSR {index:#x}"), || wrmsr(index, 0));
    }
    faults(t, GP, format_args!("read of the EOI MSR"), || rdmsr(hv::EOI));
}

/// Numbers that nobody has, and those of features that are not offered.
fn unknown(t: &Checks) {
    let unknown = [
        0x4000_0004,
        0x4000_0024,
        0x4000_0050,
        0x4000_0074,
        0x4000_0086,
        0x4000_00A0,
        0x4000_00B8,
        0x4000_00FF,
        hv::REENLIGHTENMENT_CONTROL,
        0x4000_0109,
        hv::TSC_INVARIANT_CONTROL,
        0x4000_0200,
        0x4000_1000,
        0x4000_1001,
        0x4000_1090,
        0x4000_FFFF,
        0x4B56_4D00,
        0x4000_0000 - 1,
    ];
    for index in unknown {
        faults(t, GP, format_args!("read of MSR {index:#x}"), || rdmsr(index));
        faults(t, GP, format_args!("write to MSR {index:#x}"), || wrmsr(index, 0));
    }
}

fn ring_3(t: &Checks) {
    for (code, what) in [([0x0F, 0x32, 0xCC], "RDMSR"), ([0x0F, 0x30, 0xCC], "WRMSR")] {
        for index in [hv::TIME_REF_COUNT, hv::EOI, 0x802, cpu::msr::EFER] {
            let trap = user::run(&code, [0, 0, index.into(), 0], 0);
            let got = (trap.vector, trap.error, trap.rip);
            equal!(t, got, (GP, Some(0), user::code_address()), "{what} of {index:#x} in ring 3");
        }
    }
}
