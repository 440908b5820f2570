//! Model-specific registers of a child.

use super::msr::{self, Fault};
use crate::lp::{self, Lp};
use crate::vp::{Activity, State, Vp};
use arch_x86::msr as physical;
use arch_x86::vcpu::SystemReg;
use core::sync::atomic::Ordering;
use hvdef::msr as hv;

/// The register that the back end keeps under this number.
fn kept(index: u32) -> Option<SystemReg> {
    Some(match index {
        physical::PAT => SystemReg::Pat,
        0x174 => SystemReg::SysenterCs,
        0x175 => SystemReg::SysenterEsp,
        0x176 => SystemReg::SysenterEip,
        0xC000_0081 => SystemReg::Star,
        0xC000_0082 => SystemReg::Lstar,
        0xC000_0083 => SystemReg::Cstar,
        0xC000_0084 => SystemReg::Sfmask,
        0xC000_0102 => SystemReg::KernelGsBase,
        _ => return None,
    })
}

/// Whether a register reads 0 and ignores writes: firmware's and platform's, which Linux touches everywhere.
fn is_empty(index: u32) -> bool {
    matches!(
        index,
        0x8B            // microcode revision
        | 0x1A0         // miscellaneous enable
        | 0x1D9         // debug control
        | 0x17          // platform id
        | 0xC001_0015   // hardware configuration
        | 0xC001_001F   // northbridge configuration
        | 0xC001_0055   // interrupt pending
        | 0xC001_1020   // load-store configuration
        | 0xC001_1022   // data cache configuration
        | 0xC001_1028   // floating-point configuration
        | 0xC001_1029   // decode configuration
        | 0xC001_0064 // P-state 0
    )
}

/// The hypervisor's own.
const SYNTHETIC_FIRST: u32 = 0x4000_0000;
const SYNTHETIC_LAST: u32 = 0x4000_FFFF;
/// TSC_AUX.
const TSC_AUX: u32 = 0xC000_0103;
/// MTRRs there are: 8 variable ranges, fixed ranges, write combining.
const MTRRS: u64 = 0x508;

/// Registers whose refusal, of a value or in a mode or without a right, is meant.
fn is_known(index: u32) -> bool {
    index == physical::EFER
        || index == physical::APIC_BASE
        || (physical::X2APIC_FIRST..=physical::X2APIC_LAST).contains(&index)
        || (SYNTHETIC_FIRST..=SYNTHETIC_LAST).contains(&index)
}

/// Reads an MSR for the guest.
pub fn read(vp: &Vp, state: &mut State, index: u32) -> Result<u64, Fault> {
    let done = match index {
        physical::APIC_BASE | physical::X2APIC_FIRST..=physical::X2APIC_LAST => {
            msr::read(vp, state, index)
        }
        SYNTHETIC_FIRST..=SYNTHETIC_LAST if !vp.partition.may_access_msr(index) => Err(Fault),
        hv::GUEST_IDLE => {
            // The instruction is over first. What waits already ends it at once.
            state.activity = Activity::Idle;
            Ok(0)
        }
        SYNTHETIC_FIRST..=SYNTHETIC_LAST => msr::read(vp, state, index),
        physical::TSC => Ok(state.clock().tsc()),
        _ => own(vp, state, index),
    };
    match done {
        Err(Fault) if ignores_unknown(vp, index) => Ok(0),
        done => done,
    }
}

/// Reads an MSR for a VMM, whatever rights the guest has. Its clocks are the partition's, which stand still while it is
/// frozen.
pub fn get(vp: &Vp, state: &mut State, index: u32) -> Result<u64, Fault> {
    match index {
        physical::TSC => Ok(vp.partition.clock.tsc()),
        hv::TIME_REF_COUNT => Ok(vp.partition.clock.now()),
        _ => own(vp, state, index),
    }
}

/// Whether an access that is refused has no effect instead of raising #GP.
fn ignores_unknown(vp: &Vp, index: u32) -> bool {
    vp.partition.ignores_unknown_msrs.load(Ordering::Relaxed) && !is_known(index)
}

/// Reads what a processor of the guest's keeps.
fn own(vp: &Vp, state: &mut State, index: u32) -> Result<u64, Fault> {
    if let Some(register) = kept(index) {
        return Ok(state.vcpu.system(register));
    }
    match index {
        TSC_AUX => Ok(state.tsc_aux),
        physical::MTRR_CAP => Ok(MTRRS),
        _ if is_empty(index) => Ok(0),
        physical::MTRR_FIRST..=physical::MTRR_DEF_TYPE => {
            state.mtrrs.get(index).copied().ok_or(Fault)
        }
        physical::VM_CR => Err(Fault),
        _ => msr::read(vp, state, index),
    }
}

/// Writes an MSR for the guest.
pub fn write(
    lp: &'static Lp,
    vp: &'static Vp,
    state: &mut State,
    index: u32,
    value: u64,
) -> Result<(), Fault> {
    let done = match index {
        physical::APIC_BASE | physical::X2APIC_FIRST..=physical::X2APIC_LAST => {
            msr::write(lp, vp, state, index, value)
        }
        SYNTHETIC_FIRST..=SYNTHETIC_LAST if !vp.partition.may_access_msr(index) => Err(Fault),
        SYNTHETIC_FIRST..=SYNTHETIC_LAST => set_synthetic(lp, vp, state, index, value),
        _ => set_own(lp, vp, state, index, value),
    };
    match done {
        Err(Fault) if ignores_unknown(vp, index) => Ok(()),
        done => done,
    }
}

/// Writes an MSR for a VMM, whatever rights the guest has.
pub fn set(vp: &'static Vp, state: &mut State, index: u32, value: u64) -> Result<(), Fault> {
    state.follow_clock(&vp.partition.clock);
    match index {
        SYNTHETIC_FIRST..=SYNTHETIC_LAST => set_synthetic(lp::current(), vp, state, index, value),
        _ => set_own(lp::current(), vp, state, index, value),
    }
}

fn set_synthetic(
    lp: &'static Lp,
    vp: &'static Vp,
    state: &mut State,
    index: u32,
    value: u64,
) -> Result<(), Fault> {
    match index {
        // What guests write at every sleep, and at every tick, is not looked for among all the others.
        hv::STIMER0_CONFIG..=hv::STIMER3_COUNT => state.write_synic_msr(lp, vp, index, value),
        hv::RESET => Err(Fault),
        hv::HYPERCALL | hv::REFERENCE_TSC | hv::VP_ASSIST_PAGE => {
            super::overlay::write(vp, state, index, value)
        }
        hv::SIMP | hv::SIEFP => {
            super::overlay::check(value)?;
            state.write_synic_msr(lp, vp, index, value)?;
            super::overlay::synic_page(vp, state, index, value)
        }
        _ => msr::write(lp, vp, state, index, value),
    }
}

/// Writes what a processor of the guest's keeps.
fn set_own(
    lp: &'static Lp,
    vp: &'static Vp,
    state: &mut State,
    index: u32,
    value: u64,
) -> Result<(), Fault> {
    if let Some(register) = kept(index) {
        state.vcpu.set_system(register, value);
        return Ok(());
    }
    match index {
        physical::TSC => {
            vp.partition.set_tsc(value);
            state.follow_clock(&vp.partition.clock);
            Ok(())
        }
        TSC_AUX => {
            state.set_tsc_aux(value);
            Ok(())
        }
        _ if is_empty(index) => Ok(()),
        physical::MTRR_FIRST..=physical::MTRR_DEF_TYPE => {
            *state.mtrrs.get(index).ok_or(Fault)? = value;
            Ok(())
        }
        physical::SYSCFG => Err(Fault),
        _ => msr::write(lp, vp, state, index, value),
    }
}
