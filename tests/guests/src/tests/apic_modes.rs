//! The APIC's modes: off, xAPIC, x2APIC, and the way from one to the next.

use guests::apic::{self, BASE_ENABLED, BASE_X2APIC, Reg, send_self};
use guests::cpu::{cpuid, interrupt_window, msr, peek32, rdmsr, wrmsr};
use guests::report::Checks;
use guests::tables::this;
use guests::trap::GP;
use guests::{check, equal};

use super::{faults, works};

/// All of it.
pub fn run(t: &Checks) {
    if cpuid(1, 0)[2] & 1 << 21 == 0 {
        let base = rdmsr(msr::APIC_BASE);
        faults(t, GP, format_args!("x2APIC mode, which is not offered"), || {
            wrmsr(msr::APIC_BASE, base | BASE_X2APIC)
        });
        return;
    }
    let start = rdmsr(msr::APIC_BASE);
    let was_x2apic = start & BASE_X2APIC != 0;
    let off = start & !(BASE_ENABLED | BASE_X2APIC);
    works(t, format_args!("APIC off"), || wrmsr(msr::APIC_BASE, off));
    equal!(t, cpuid(1, 0)[3] & 1 << 9, 0, "CPUID's APIC bit with the APIC off");
    faults(t, GP, format_args!("from off to x2APIC mode"), || {
        wrmsr(msr::APIC_BASE, off | BASE_ENABLED | BASE_X2APIC)
    });
    faults(t, GP, format_args!("x2APIC registers with the APIC off"), || rdmsr(0x802));
    works(t, format_args!("xAPIC mode"), || wrmsr(msr::APIC_BASE, off | BASE_ENABLED));
    equal!(t, cpuid(1, 0)[3] & 1 << 9, 1 << 9, "CPUID's APIC bit with the APIC on");
    apic::set_x2apic(false);
    in_mode(t, "xAPIC");
    equal!(
        t,
        peek32(apic::PAGE + 0x20) >> 24,
        this().apic_id.load(core::sync::atomic::Ordering::Relaxed),
        "id in the register page"
    );
    faults(t, GP, format_args!("x2APIC registers in xAPIC mode"), || rdmsr(0x802));
    works(t, format_args!("from xAPIC to x2APIC mode"), || {
        wrmsr(msr::APIC_BASE, off | BASE_ENABLED | BASE_X2APIC)
    });
    apic::set_x2apic(true);
    in_mode(t, "x2APIC");
    faults(t, GP, format_args!("from x2APIC to xAPIC mode"), || {
        wrmsr(msr::APIC_BASE, off | BASE_ENABLED)
    });
    if !was_x2apic {
        wrmsr(msr::APIC_BASE, off);
        wrmsr(msr::APIC_BASE, off | BASE_ENABLED);
        apic::set_x2apic(false);
    }
    apic::quiet();
}

/// The page shows nothing in x2APIC mode, and interrupts work in both.
fn in_mode(t: &Checks, name: &str) {
    apic::quiet();
    let before = this().count(0x5C);
    send_self(0x5C);
    interrupt_window();
    equal!(t, this().count(0x5C) - before, 1, "interrupts in {name} mode");
    check!(t, apic::read(Reg::VERSION) & 0xF0 == 0x10, "version in {name} mode");
}
