//! Is there an AMD-V that can run Zemin, and what can it do?
#![expect(unsafe_code, reason = "reads VM_CR")]

use crate::vcpu::{Capabilities, Unsupported};
use crate::{cpu, msr};

/// Examines the calling LP.
pub fn probe() -> Result<Capabilities, Unsupported> {
    let extended = cpu::cpuid(0x8000_0000, 0).eax;
    let features = if extended >= 0x8000_0001 {
        cpu::cpuid(0x8000_0001, 0)
    } else {
        cpu::cpuid(0x8000_0000, 0)
    };
    if extended < 0x8000_000A || features.ecx & 1 << 2 == 0 {
        let vtx = cpu::cpuid(1, 0).ecx & 1 << 5 != 0;
        return Err(if vtx { Unsupported::OnlyVtx } else { Unsupported::NoVirtualization });
    }
    // SAFETY: VM_CR exists on every processor that reports SVM.
    if unsafe { msr::read(msr::VM_CR) } & msr::VM_CR_SVMDIS != 0 {
        return Err(Unsupported::DisabledByFirmware);
    }
    let svm = cpu::cpuid(0x8000_000A, 0);
    if svm.edx & 1 == 0 {
        return Err(Unsupported::NoNestedPaging);
    }
    Ok(Capabilities {
        next_rip: svm.edx & 1 << 3 != 0,
        flush_by_asid: svm.edx & 1 << 6 != 0,
        decode_assists: svm.edx & 1 << 7 != 0,
        pause_filter: svm.edx & 1 << 10 != 0,
        huge_pages: features.edx & 1 << 26 != 0,
        asids: svm.ebx.max(2),
    })
}
