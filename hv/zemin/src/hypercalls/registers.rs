//! Registers of a VP by name (TLFS, "Virtual Processor Registers").

use crate::intercepts::{from_segment, segment};
use crate::vp::{Activity, Request, State, Vp};
use arch_x86::cpu;
use arch_x86::vcpu::{Event, Reg, SegmentName, SystemReg, TableName};
use core::sync::atomic::Ordering;
use hvdef::HvStatus;
use hvdef::register::{
    InternalActivity, PendingInterruption, RegisterName as N, RegisterValue, TableRegister,
};

/// General-purpose registers in the order of their names.
const GENERAL: [Reg; 16] = [
    Reg::Rax,
    Reg::Rcx,
    Reg::Rdx,
    Reg::Rbx,
    Reg::Rsp,
    Reg::Rbp,
    Reg::Rsi,
    Reg::Rdi,
    Reg::R8,
    Reg::R9,
    Reg::R10,
    Reg::R11,
    Reg::R12,
    Reg::R13,
    Reg::R14,
    Reg::R15,
];

/// Segment registers in the order of their names.
const SEGMENTS: [SegmentName; 8] = [
    SegmentName::Es,
    SegmentName::Cs,
    SegmentName::Ss,
    SegmentName::Ds,
    SegmentName::Fs,
    SegmentName::Gs,
    SegmentName::Ldtr,
    SegmentName::Tr,
];

/// Names of registers that the back end keeps.
const SYSTEM: [(N, SystemReg); 17] = [
    (N::CR0, SystemReg::Cr0),
    (N::CR2, SystemReg::Cr2),
    (N::CR3, SystemReg::Cr3),
    (N::CR4, SystemReg::Cr4),
    (N::DR6, SystemReg::Dr6),
    (N::DR7, SystemReg::Dr7),
    (N::EFER, SystemReg::Efer),
    (N::PAT, SystemReg::Pat),
    (N::STAR, SystemReg::Star),
    (N::LSTAR, SystemReg::Lstar),
    (N::CSTAR, SystemReg::Cstar),
    (N::SFMASK, SystemReg::Sfmask),
    (N::KERNEL_GS_BASE, SystemReg::KernelGsBase),
    (N::SYSENTER_CS, SystemReg::SysenterCs),
    (N::SYSENTER_EIP, SystemReg::SysenterEip),
    (N::SYSENTER_ESP, SystemReg::SysenterEsp),
    (N::INTERMEDIATE_CR0, SystemReg::Cr0),
];

fn general(name: N) -> Option<Reg> {
    GENERAL.get(name.0.wrapping_sub(N::RAX.0) as usize).copied()
}

fn segment_name(name: N) -> Option<SegmentName> {
    SEGMENTS.get(name.0.wrapping_sub(N::ES.0) as usize).copied()
}

fn system(name: N) -> Option<SystemReg> {
    SYSTEM.iter().find(|(known, _)| *known == name).map(|(_, register)| *register)
}

/// Reads a register.
pub fn get(vp: &Vp, state: &mut State, name: N) -> Result<RegisterValue, HvStatus> {
    if let Some(reg) = general(name) {
        return Ok(state.vcpu.reg(reg).into());
    }
    if let Some(name) = segment_name(name) {
        return Ok(segment(state.vcpu.segment(name)).into());
    }
    if let Some(register) = system(name) {
        return Ok(state.vcpu.system(register).into());
    }
    let value = match name {
        N::RIP => state.vcpu.rip(),
        N::RFLAGS => state.vcpu.rflags(),
        N::CR8 => state.apic.cr8().into(),
        N::XFEM => state.xcr0,
        N::IDTR => return Ok(table(state, TableName::Idtr)),
        N::GDTR => return Ok(table(state, TableName::Gdtr)),
        N::DR0 | N::DR1 | N::DR2 | N::DR3 => {
            state.breakpoints.get((name.0 - N::DR0.0) as usize).copied().unwrap_or(0)
        }
        N::TSC => cpu::rdtsc(),
        N::APIC_BASE => state.apic.apic_base(),
        N::INTERNAL_ACTIVITY_STATE => InternalActivity::new()
            .with_startup_suspend(state.activity == Activity::WaitForStartup)
            .with_halt_suspend(state.activity == Activity::Halted)
            .into_bits(),
        N::PENDING_INTERRUPTION | N::INTERRUPT_STATE => 0,
        N::VP_INDEX => vp.index.into(),
        N::GUEST_OS_ID => vp.partition.guest_os_id.load(Ordering::Relaxed),
        N::HYPERCALL => vp.partition.hypercall_msr.load(Ordering::Relaxed),
        N::MTRR_CAP | N::MTRR_DEF_TYPE | N::TSC_AUX => 0,
        _ => return Err(HvStatus::INVALID_PARAMETER),
    };
    Ok(value.into())
}

/// Writes a register. What the processor would refuse ends the VP at its next entry, not the hypervisor.
pub fn set(vp: &Vp, state: &mut State, name: N, value: RegisterValue) -> Result<(), HvStatus> {
    let low = value.low;
    if let Some(reg) = general(name) {
        state.vcpu.set_reg(reg, low);
        return Ok(());
    }
    if let Some(name) = segment_name(name) {
        state.vcpu.set_segment(name, from_segment(value.as_segment()));
        return Ok(());
    }
    if let Some(register) = system(name) {
        state.vcpu.set_system(register, low);
        return Ok(());
    }
    match name {
        N::RIP => state.vcpu.set_rip(low),
        N::RFLAGS => state.vcpu.set_rflags(low),
        N::CR8 => {
            state.apic.set_cr8(low as u8 & 0xF);
            state.vcpu.set_cr8(low as u8 & 0xF);
        }
        N::XFEM => state.xcr0 = low & arch_x86::fpu::SUPPORTED_XCR0 | 1,
        N::IDTR | N::GDTR => {
            let kind = if name == N::IDTR { TableName::Idtr } else { TableName::Gdtr };
            let register = value.as_table();
            state.vcpu.set_table(kind, register.base, register.limit);
        }
        N::DR0 | N::DR1 | N::DR2 | N::DR3 => {
            if let Some(slot) = state.breakpoints.get_mut((name.0 - N::DR0.0) as usize) {
                *slot = low;
            }
        }
        N::APIC_BASE => {
            state.apic.set_apic_base(low).map_err(|_| HvStatus::INVALID_REGISTER_VALUE)?
        }
        N::INTERNAL_ACTIVITY_STATE => {
            let activity = InternalActivity::from_bits(low);
            state.activity = match activity {
                _ if activity.startup_suspend() => Activity::WaitForStartup,
                _ if activity.halt_suspend() => Activity::Halted,
                _ => Activity::Running,
            };
        }
        N::PENDING_INTERRUPTION => inject(state, PendingInterruption::from_bits(low))?,
        N::TSC | N::TSC_AUX | N::MTRR_DEF_TYPE | N::INTERRUPT_STATE => {}
        N::DELIVERABILITY_NOTIFICATIONS if low & 0x0000_FFFF_FFFF_FFFF == 0 => {
            vp.wanted_slots.store(low, Ordering::Relaxed);
            vp.request(Request::Deliverable);
        }
        N::GUEST_OS_ID => vp.partition.guest_os_id.store(low, Ordering::Relaxed),
        _ => return Err(HvStatus::INVALID_PARAMETER),
    }
    vp.publish_address(state.apic.address());
    Ok(())
}

fn table(state: &State, name: TableName) -> RegisterValue {
    let (base, limit) = state.vcpu.table(name);
    TableRegister { padding: [0; 3], limit, base }.into()
}

/// Delivers what the parent wants delivered at the next entry.
fn inject(state: &mut State, pending: PendingInterruption) -> Result<(), HvStatus> {
    if !pending.pending() {
        return Ok(());
    }
    let vector = u8::try_from(pending.vector()).map_err(|_| HvStatus::INVALID_REGISTER_VALUE)?;
    state.vcpu.inject(match pending.interruption_type() {
        0 => Event::Interrupt(vector),
        2 => Event::Nmi,
        _ => Event::Exception {
            vector,
            error_code: pending.deliver_error_code().then_some(pending.error_code()),
        },
    });
    Ok(())
}
