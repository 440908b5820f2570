//! CPUID: what the parent sees of processor and hypervisor.

use crate::vp::{State, Vp};
use crate::{boot, lp, partition};
use arch_x86::cpu::{self, CR4_OSXSAVE, CR4_PKE, CpuidResult};
use arch_x86::vcpu::{Reg, SystemReg};
use hvdef::cpuid as hv;
use lapic::Mode;
use zemindef::cpuid as zemin;

/// Leaf 1 ECX: MONITOR, which could hold the LP in MWAIT; VMX; x2APIC; TSC deadline timer; OSXSAVE; hypervisor present.
pub(super) mod leaf1 {
    pub const MONITOR: u32 = 1 << 3;
    pub const VMX: u32 = 1 << 5;
    pub const X2APIC: u32 = 1 << 21;
    pub const TSC_DEADLINE: u32 = 1 << 24;
    pub const OSXSAVE: u32 = 1 << 27;
    pub const HYPERVISOR: u32 = 1 << 31;
}
/// Leaves 1 and 0x80000001 EDX: a local APIC.
const APIC: u32 = 1 << 9;
/// Leaf 7 ECX: protection keys enabled by the operating system.
const OSPKE: u32 = 1 << 4;
/// Leaf 0x80000001 ECX: SVM, SKINIT.
const SVM_BITS: u32 = 1 << 2 | 1 << 12;

/// What there is beyond the TLFS.
pub const EXTENSIONS: zemin::Features =
    zemin::Features(zemin::Features::PROPERTIES.0 | zemin::Features::SIGNAL_DOORBELLS.0);

/// Answers CPUID with the leaf in EAX and the subleaf in ECX.
pub fn handle(vp: &Vp, state: &mut State) {
    let (leaf, subleaf) = operands(state);
    let result = match leaf {
        0x4000_0000..=0x4000_FFFF => synthetic(leaf),
        _ => native(vp, state, leaf, subleaf),
    };
    answer(state, result);
}

/// Leaf and subleaf.
pub fn operands(state: &State) -> (u32, u32) {
    (state.vcpu.reg(Reg::Rax) as u32, state.vcpu.reg(Reg::Rcx) as u32)
}

/// Puts an answer into the registers.
pub fn answer(state: &mut State, result: CpuidResult) {
    let regs = state.vcpu.regs();
    regs[Reg::Rax as usize] = u64::from(result.eax);
    regs[Reg::Rbx as usize] = u64::from(result.ebx);
    regs[Reg::Rcx as usize] = u64::from(result.ecx);
    regs[Reg::Rdx as usize] = u64::from(result.edx);
}

/// The processor's own answer, without what the parent does not get.
///
/// The parent's VP never leaves its LP and its XCR0 is loaded, so topology and XSAVE sizes are right as they are.
fn native(vp: &Vp, state: &State, leaf: u32, subleaf: u32) -> CpuidResult {
    let mut result = cpu::cpuid(leaf, subleaf);
    match leaf {
        1 => {
            let osxsave = state.vcpu.system(SystemReg::Cr4) & CR4_OSXSAVE != 0;
            let hidden = leaf1::MONITOR | leaf1::VMX | leaf1::TSC_DEADLINE | leaf1::OSXSAVE;
            result.ecx =
                result.ecx & !hidden | leaf1::HYPERVISOR | if osxsave { leaf1::OSXSAVE } else { 0 };
            // The virtual APIC has the mode whether or not the physical one does.
            if boot::FACTS.get().parent_x2apic {
                result.ecx |= leaf1::X2APIC;
            } else {
                result.ecx &= !leaf1::X2APIC;
            }
            result.ebx = result.ebx & 0x00FF_FFFF | vp.apic_id << 24;
            result.edx = with_apic(state, result.edx);
        }
        5 => result = CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 },
        7 if subleaf == 0 => {
            let pke = state.vcpu.system(SystemReg::Cr4) & CR4_PKE != 0;
            result.ecx = result.ecx & !OSPKE | if pke { OSPKE } else { 0 };
        }
        0x8000_0001 => {
            result.ecx &= !SVM_BITS;
            result.edx = with_apic(state, result.edx);
        }
        0x8000_000A => result = CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 },
        _ => {}
    }
    result
}

/// The features in `edx` without the APIC while that is switched off.
fn with_apic(state: &State, edx: u32) -> u32 {
    if state.apic.mode() == Mode::Disabled { edx & !APIC } else { edx }
}

/// The hypervisor's leaves (TLFS chapter 2, and Zemin's own).
fn synthetic(leaf: u32) -> CpuidResult {
    let answer = |eax, ebx, ecx, edx| CpuidResult { eax, ebx, ecx, edx };
    match leaf {
        hv::VENDOR_AND_MAX => answer(
            hv::IMPLEMENTATION_LIMITS.max(0x4000_000B),
            hv::VENDOR_EBX,
            hv::VENDOR_ECX,
            hv::VENDOR_EDX,
        ),
        hv::INTERFACE => answer(hv::INTERFACE_SIGNATURE, 0, 0, 0),
        // The driver in Linux names 27744 to 27751 as the builds it knows.
        hv::VERSION => answer(27_744, 10 << 16, 0, 0),
        hv::FEATURES => {
            let (privileges, features) = boot::PARENT_FEATURES;
            answer(privileges.eax(), privileges.ebx(), 0, features.into_bits())
        }
        hv::ENLIGHTENMENTS => answer(boot::PARENT_HINTS.into_bits(), u32::MAX, 0, 0),
        hv::IMPLEMENTATION_LIMITS => answer(partition::MAX_VPS as u32, lp::MAX_LPS as u32, 0, 0),
        _ => match zemin::answer(leaf, crate::VERSION, EXTENSIONS) {
            Some([eax, ebx, ecx, edx]) => answer(eax, ebx, ecx, edx),
            None => answer(0, 0, 0, 0),
        },
    }
}
