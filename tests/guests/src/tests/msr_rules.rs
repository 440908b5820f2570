//! Processor MSRs whose rules the hypervisor keeps itself: EFER, AMD-V, APIC.

use super::{faults, works};
use guests::apic::{self, BASE_BSP, BASE_ENABLED, BASE_X2APIC};
use guests::cpu::{msr, rdmsr, wrmsr};
use guests::report::Checks;
use guests::trap::{GP, catch};
use guests::{check, equal, smp};

/// All of it.
pub fn run(t: &Checks) {
    efer(t);
    svm(t);
    apic_base(t);
    if apic::is_x2apic() {
        x2apic_reserved(t);
        x2apic_missing(t);
    } else {
        for index in [0x802, 0x808, 0x830] {
            faults(t, GP, format_args!("read of x2APIC MSR {index:#x} in xAPIC mode"), || {
                rdmsr(index)
            });
            faults(t, GP, format_args!("write of x2APIC MSR {index:#x} in xAPIC mode"), || {
                wrmsr(index, 0)
            });
        }
    }
    kept(t);
}

fn efer(t: &Checks) {
    let before = rdmsr(msr::EFER);
    equal!(t, before & 1 << 12, 0, "EFER.SVME reads");
    equal!(t, before & 0x500, 0x500, "EFER.LME and LMA read");
    let refused = [
        (before | 1 << 12, "SVME"),
        (before ^ 1 << 8, "LME under paging"),
        (before | 1 << 1, "reserved bit 1"),
        (before | 1 << 9, "reserved bit 9"),
        (before | 1 << 20, "reserved bit 20"),
        (before | 1 << 63, "reserved bit 63"),
    ];
    for (value, what) in refused {
        faults(t, GP, format_args!("EFER: {what}"), || wrmsr(msr::EFER, value));
        equal!(t, rdmsr(msr::EFER), before, "EFER after {what} was refused");
    }
    for bit in [0, 11] {
        works(t, format_args!("EFER bit {bit}"), || wrmsr(msr::EFER, before ^ 1 << bit));
        equal!(t, rdmsr(msr::EFER), before ^ 1 << bit, "EFER with bit {bit} changed");
        wrmsr(msr::EFER, before);
    }
}

/// As if firmware had disabled and locked it.
fn svm(t: &Checks) {
    if let Some(control) = works(t, format_args!("read of VM_CR"), || rdmsr(msr::VM_CR)) {
        equal!(t, control & 1 << 4, 1 << 4, "VM_CR.SVMDIS");
        let _ = catch(|| wrmsr(msr::VM_CR, 0));
        equal!(t, rdmsr(msr::VM_CR), control, "VM_CR after a write");
    }
    faults(t, GP, format_args!("write to VM_HSAVE_PA"), || wrmsr(msr::VM_HSAVE_PA, 0x10_0000));
    if let Ok(address) = catch(|| rdmsr(msr::VM_HSAVE_PA)) {
        equal!(t, address, 0, "VM_HSAVE_PA tells an address");
    }
    for index in [0xC001_0115, 0xC001_0116, 0xC001_0118] {
        let _ = catch(|| wrmsr(index, u64::MAX));
    }
}

fn apic_base(t: &Checks) {
    let base = rdmsr(msr::APIC_BASE);
    equal!(t, base & !0xFFF, apic::PAGE, "APIC base: address");
    check!(
        t,
        base & BASE_ENABLED != 0 && base & BASE_BSP != 0,
        "APIC base {base:#x}: enabled, boot processor"
    );
    let refused = [
        (base | 1, "reserved bit 0"),
        (base | 1 << 9, "reserved bit 9"),
        (base | 1 << 55, "address beyond the physical"),
        (base + 0x1000, "another address"),
        (base & !BASE_ENABLED | BASE_X2APIC, "x2APIC mode without enable"),
    ];
    for (value, what) in refused {
        faults(t, GP, format_args!("APIC base: {what}"), || wrmsr(msr::APIC_BASE, value));
        equal!(t, rdmsr(msr::APIC_BASE), base, "APIC base after {what} was refused");
    }
    if base & BASE_X2APIC != 0 {
        faults(t, GP, format_args!("APIC base: from x2APIC to xAPIC mode"), || {
            wrmsr(msr::APIC_BASE, base & !BASE_X2APIC);
        });
    }
    for index in smp::others() {
        let job = |_| assert!(rdmsr(msr::APIC_BASE) & BASE_BSP == 0, "another boot processor");
        equal!(t, smp::run(index, 1000, job, 0), Ok(()), "APIC base on processor {index}");
    }
}

fn x2apic_reserved(t: &Checks) {
    let reserved = [
        (0x808, 0x100, "TPR"),
        (0x80B, 1, "EOI not 0"),
        (0x80F, 1 << 13, "SVR"),
        (0x828, 1, "ESR not 0"),
        (0x830, 1 << 13, "ICR bit 13"),
        (0x830, 1 << 16, "ICR bit 16"),
        (0x830, 1 << 20, "ICR bit 20"),
        (0x832, 1 << 8, "LVT timer bit 8"),
        (0x835, 1 << 11, "LVT LINT0 bit 11"),
        (0x837, 1 << 20, "LVT error bit 20"),
        (0x83E, 1 << 2, "divide bit 2"),
        (0x83F, 0x100, "self IPI bit 8"),
    ];
    for (index, value, what) in reserved {
        faults(t, GP, format_args!("x2APIC: {what}"), || wrmsr(index, value));
    }
    for index in [0x808, 0x80F, 0x832, 0x837, 0x838, 0x83E, 0x83F] {
        let what = format_args!("x2APIC MSR {index:#x}: bit 32");
        match trap_or_value(index) {
            Some(value) => faults(t, GP, what, || wrmsr(index, value | 1 << 32)),
            None => faults(t, GP, what, || wrmsr(index, 1 << 32)),
        }
    }
}

fn trap_or_value(index: u32) -> Option<u64> {
    catch(|| rdmsr(index)).ok()
}

/// Registers that are not there, or only one way.
fn x2apic_missing(t: &Checks) {
    for index in
        [0x800, 0x801, 0x804, 0x807, 0x809, 0x80C, 0x80E, 0x829, 0x831, 0x83A, 0x840, 0x8FF]
    {
        faults(t, GP, format_args!("read of x2APIC MSR {index:#x}"), || rdmsr(index));
        faults(t, GP, format_args!("write of x2APIC MSR {index:#x}"), || wrmsr(index, 0));
    }
    for index in [0x802, 0x803, 0x80A, 0x80D, 0x810, 0x817, 0x818, 0x820, 0x827, 0x839] {
        works(t, format_args!("read of x2APIC MSR {index:#x}"), || rdmsr(index));
        faults(t, GP, format_args!("write of x2APIC MSR {index:#x}"), || wrmsr(index, 0));
    }
    for index in [0x80B, 0x83F] {
        faults(t, GP, format_args!("read of x2APIC MSR {index:#x}"), || rdmsr(index));
    }
}

/// Ordinary MSRs keep what is written to them over exits.
fn kept(t: &Checks) {
    const ADDRESS: u64 = 0xFFFF_8123_4567_8000;
    for index in msr::ADDRESSES {
        let before = rdmsr(index);
        let value = if index == 0xC000_0084 { 0x4_7700 } else { ADDRESS | u64::from(index & 0xF) };
        works(t, format_args!("write to MSR {index:#x}"), || wrmsr(index, value));
        let _ = guests::cpu::cpuid(0, 0);
        equal!(t, rdmsr(index), value, "MSR {index:#x} after an exit");
        wrmsr(index, before);
    }
    let pat = rdmsr(msr::PAT);
    let other = pat.rotate_left(8) & 0x0707_0707_0707_0707;
    wrmsr(msr::PAT, other);
    let _ = guests::cpu::cpuid(0, 0);
    equal!(t, rdmsr(msr::PAT), other, "PAT after an exit");
    wrmsr(msr::PAT, pat);
}
