//! The registers of a VP that VMRUN does not switch: floating-point and vector state, breakpoints, TSC_AUX.
#![expect(unsafe_code, reason = "saves and loads registers of the LP")]

use super::State;
use crate::mem::phys;
use arch_x86::fpu;
use core::sync::atomic::{AtomicU64, Ordering};
use hvdef::register::{RegisterName, RegisterValue};

impl State {
    /// Loads the guest's XCR0. `false`, and nothing done, if the processor would refuse it.
    pub fn set_xcr0(&mut self, value: u64) -> bool {
        let supported = supported_xcr0();
        let avx_without_sse = value & 4 != 0 && value & 2 == 0;
        let avx512 = value & 0xE0;
        let partial_avx512 = avx512 != 0 && (avx512 != 0xE0 || value & 4 == 0);
        if value & 1 == 0 || value & !supported != 0 || avx_without_sse || partial_avx512 {
            return false;
        }
        self.xcr0 = value;
        if self.on_lp {
            // SAFETY: CR4.OSXSAVE is set where XSAVE exists (`supported` is 0 otherwise); the combination was checked.
            unsafe { arch_x86::cpu::xsetbv(value) };
        }
        true
    }

    /// Puts the registers that VMRUN does not switch into memory: the LP turns to another VP.
    pub fn save_extended(&mut self) {
        self.on_lp = false;
        let supported = supported_xcr0();
        self.tsc_aux = tsc_aux::get();
        self.breakpoints = fpu::breakpoints();
        if supported != 0 {
            // SAFETY: the mask is what the processor supports and fits the page; the page is this VP's alone.
            unsafe {
                arch_x86::cpu::xsetbv(supported);
                fpu::save(&mut *phys::pointer(self.extended).cast(), supported);
            }
        }
    }

    /// Loads them again.
    pub fn load_extended(&mut self) {
        self.on_lp = true;
        let supported = supported_xcr0();
        tsc_aux::set(self.tsc_aux);
        fpu::set_breakpoints(self.breakpoints);
        if supported != 0 {
            // SAFETY: as `save_extended`; the page holds what that wrote, or zeros, the initial state.
            unsafe {
                arch_x86::cpu::xsetbv(supported);
                fpu::restore(&*phys::pointer(self.extended).cast(), supported);
                arch_x86::cpu::xsetbv(self.xcr0);
            }
        }
    }

    /// Sets TSC_AUX, wherever it is.
    pub fn set_tsc_aux(&mut self, value: u64) {
        self.tsc_aux = value & 0xFFFF_FFFF;
        if self.on_lp {
            tsc_aux::set(self.tsc_aux);
        }
    }

    /// The page with floating-point and vector state, which is valid while it is not on an LP.
    pub fn extended_area(&mut self) -> &mut [u8] {
        // SAFETY: the page is this VP's alone, and the borrow is that of the VP's state.
        unsafe { core::slice::from_raw_parts_mut(phys::pointer(self.extended), fpu::AREA_SIZE) }
    }

    /// XMM0 to XMM5.
    pub fn xmm_head(&mut self) -> [RegisterValue; 6] {
        if self.on_lp {
            return fpu::xmm_head().map(|[low, high]| RegisterValue { low, high });
        }
        let mut area = xsave_area::Area::new(self.extended_area());
        core::array::from_fn(|index| {
            let name = RegisterName(RegisterName::XMM0.0 + index as u32);
            area.as_mut()
                .and_then(|area| area.get(name))
                .unwrap_or(RegisterValue { low: 0, high: 0 })
        })
    }
}

/// XCR0 bits that both the processor and this release support; 0 without XSAVE.
pub fn supported_xcr0() -> u64 {
    static SUPPORTED: AtomicU64 = AtomicU64::new(UNKNOWN);
    const UNKNOWN: u64 = u64::MAX;
    let known = SUPPORTED.load(Ordering::Relaxed);
    if known != UNKNOWN {
        return known;
    }
    let supported = if arch_x86::cpu::cpuid(1, 0).ecx & 1 << 26 == 0 {
        0
    } else {
        let leaf = arch_x86::cpu::cpuid(0xD, 0);
        (u64::from(leaf.edx) << 32 | u64::from(leaf.eax)) & fpu::SUPPORTED_XCR0
    };
    SUPPORTED.store(supported, Ordering::Relaxed);
    supported
}

/// MSR TSC_AUX, which guests read with RDTSCP and RDPID, so that it is switched with the VP.
mod tsc_aux {
    use arch_x86::{cpu, msr};

    const TSC_AUX: u32 = 0xC000_0103;

    fn exists() -> bool {
        // RDTSCP; every processor with RDPID has it.
        use core::sync::atomic::{AtomicU8, Ordering};
        static EXISTS: AtomicU8 = AtomicU8::new(2);
        if EXISTS.load(Ordering::Relaxed) == 2 {
            EXISTS.store((cpu::cpuid(0x8000_0001, 0).edx >> 27 & 1) as u8, Ordering::Relaxed);
        }
        EXISTS.load(Ordering::Relaxed) == 1
    }

    pub fn get() -> u64 {
        // SAFETY: the register exists, and reading it has no effect.
        if exists() { unsafe { msr::read(TSC_AUX) } } else { 0 }
    }

    pub fn set(value: u64) {
        if exists() {
            // SAFETY: the register exists and means nothing to the hypervisor; bits 63:32, which must be 0, are.
            unsafe { msr::write(TSC_AUX, value & 0xFFFF_FFFF) }
        }
    }
}
