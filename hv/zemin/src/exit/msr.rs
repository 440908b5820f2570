//! Model-specific registers that exit: the virtual APIC, the hypervisor's own, and the few physical ones that the
//! parent may not have to itself.

use super::apic;
use crate::lp::Lp;
use crate::partition::Partition;
use crate::time;
use crate::vp::{State, Vp};
use arch_x86::cpu;
use arch_x86::msr as physical;
use arch_x86::vcpu::SystemReg;
use core::sync::atomic::Ordering;
use hvdef::msr as hv;
use lapic::Effect;

/// The access raises #GP(0).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault;

/// EFER bits that a guest may set.
pub const EFER_ALLOWED: u64 = physical::EFER_SCE
    | physical::EFER_LME
    | physical::EFER_LMA
    | physical::EFER_NXE
    | 1 << 14 // fast FXSAVE
    | 1 << 15; // translation cache extension

/// Reads an MSR.
pub fn read(vp: &Vp, state: &mut State, index: u32) -> Result<u64, Fault> {
    let partition = vp.partition;
    Ok(match index {
        physical::APIC_BASE | physical::X2APIC_FIRST..=physical::X2APIC_LAST => {
            state.settle_skipped_eoi();
            state.reevaluate = true;
            state.apic.read_msr(index, cpu::rdtsc()).map_err(|_| Fault)?
        }
        physical::EFER => state.vcpu.system(SystemReg::Efer),
        // AMD-V is the hypervisor's: as if firmware had disabled and locked it.
        physical::VM_CR => physical::VM_CR_SVMDIS | 1 << 3,
        physical::VM_HSAVE_PA => 0,
        hv::GUEST_OS_ID => partition.guest_os_id.load(Ordering::Relaxed),
        hv::HYPERCALL => partition.hypercall_msr.load(Ordering::Relaxed),
        hv::VP_INDEX => u64::from(vp.index),
        hv::TIME_REF_COUNT => state.reference_at(cpu::rdtsc()),
        hv::REFERENCE_TSC => partition.reference_tsc_msr.load(Ordering::Relaxed),
        hv::TSC_FREQUENCY => time::CLOCKS.get().tsc_hz,
        hv::APIC_FREQUENCY => time::CLOCKS.get().tsc_hz,
        hv::ICR => state.apic.icr(),
        hv::TPR => {
            state.settle_skipped_eoi();
            u64::from(state.apic.tpr())
        }
        hv::VP_ASSIST_PAGE => state.assist_msr,
        hv::CRASH_P0..=hv::CRASH_CTL => read_crash(partition, index)?,
        hv::VP_RUNTIME => crate::sched::run_time(vp),
        _ => return state.read_synic_msr(vp, index),
    })
}

/// Writes an MSR.
pub fn write(
    lp: &'static Lp,
    vp: &'static Vp,
    state: &mut State,
    index: u32,
    value: u64,
) -> Result<(), Fault> {
    let partition = vp.partition;
    match index {
        physical::APIC_BASE | physical::X2APIC_FIRST..=physical::X2APIC_LAST => {
            state.settle_skipped_eoi();
            let effect = state.apic.write_msr(index, value, cpu::rdtsc()).map_err(|_| Fault)?;
            apic::apply(lp, vp, state, effect);
        }
        hv::EOI => {
            state.settle_skipped_eoi();
            let effect = state.apic.write_hv_eoi();
            apic::apply(lp, vp, state, effect);
        }
        hv::ICR => {
            state.settle_skipped_eoi();
            let effect = state.apic.write_icr(value);
            apic::apply(lp, vp, state, effect);
        }
        hv::TPR => {
            state.settle_skipped_eoi();
            state.apic.set_tpr(value as u8);
            apic::apply(lp, vp, state, Effect::None);
        }
        physical::EFER => write_efer(state, value)?,
        // All LPs' counters run together and the parent's is the machine's: it stays as it is.
        physical::TSC => {}
        // Memory types are the firmware's; what the parent writes on its other VPs is what is there already.
        physical::MTRR_FIRST..=physical::MTRR_DEF_TYPE | physical::SYSCFG => {}
        hv::GUEST_OS_ID => partition.guest_os_id.store(value, Ordering::Relaxed),
        hv::HYPERCALL => keep_page(&partition.hypercall_msr, value),
        hv::REFERENCE_TSC => keep_page(&partition.reference_tsc_msr, value),
        hv::VP_ASSIST_PAGE => {
            state.settle_skipped_eoi();
            state.assist_msr = state.assist_msr & !1 | value & 1;
        }
        hv::CRASH_P0..=hv::CRASH_CTL => write_crash(partition, index, value)?,
        hv::RESET if value & 1 != 0 => crate::boot::reset_machine(),
        hv::RESET => {}
        _ => return state.write_synic_msr(lp, vp, index, value),
    }
    Ok(())
}

/// The parent's page MSRs: the hypervisor chose the page, only the enable bit is the parent's.
fn keep_page(msr: &core::sync::atomic::AtomicU64, value: u64) {
    msr.store(msr.load(Ordering::Relaxed) & !1 | value & 1, Ordering::Relaxed);
}

fn write_efer(state: &mut State, value: u64) -> Result<(), Fault> {
    let old = state.efer();
    let paging = state.vcpu.system(SystemReg::Cr0) & cpu::CR0_PG != 0;
    let changes_mode = (value ^ old) & physical::EFER_LME != 0;
    if value & !EFER_ALLOWED != 0 || paging && changes_mode {
        return Err(Fault);
    }
    // Active is the processor's to say.
    let value = value & !physical::EFER_LMA | old & physical::EFER_LMA;
    state.vcpu.set_system(SystemReg::Efer, value);
    Ok(())
}

fn read_crash(partition: &Partition, index: u32) -> Result<u64, Fault> {
    let slot = partition.crash.get((index - hv::CRASH_P0) as usize).ok_or(Fault)?;
    Ok(slot.load(Ordering::Relaxed))
}

/// Keeps the crash parameters; the write of the control register reports them.
fn write_crash(partition: &Partition, index: u32, value: u64) -> Result<(), Fault> {
    let slot = partition.crash.get((index - hv::CRASH_P0) as usize).ok_or(Fault)?;
    if index == hv::CRASH_CTL {
        if value >> 63 != 0 {
            super::crash::report(partition, value);
        }
    } else {
        slot.store(value, Ordering::Relaxed);
    }
    Ok(())
}
