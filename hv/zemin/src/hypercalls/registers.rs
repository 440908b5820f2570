//! Registers of a VP by name (TLFS, "Virtual Processor Registers").

use crate::exit::child_msr;
use crate::exit::msr::EFER_ALLOWED;
use crate::intercepts::{from_segment, interrupt_state, pending, segment};
use crate::vp::{Activity, Request, State, Vp};
use arch_x86::cpu;
use arch_x86::vcpu::{Event, Reg, SegmentName, SystemReg, TableName};
use core::sync::atomic::Ordering;
use hvdef::HvStatus;
use hvdef::msr as hv;
use hvdef::register::{
    ExceptionEvent, InternalActivity, InterruptState, InterruptionType, PendingInterruption,
    RegisterName as N, RegisterValue, TableRegister,
};
use xsave_area::Area;

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
const SYSTEM: [(N, SystemReg); 19] = [
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
    (N::INTERMEDIATE_CR3, SystemReg::Cr3),
    (N::INTERMEDIATE_CR4, SystemReg::Cr4),
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

/// Names of registers that are MSRs of the guest, and their numbers.
const MSRS: [(N, u32); 15] = [
    (N::TSC, 0x10),
    (N::MTRR_CAP, 0xFE),
    (N::DEBUG_CTL, 0x1D9),
    (N::MTRR_DEF_TYPE, 0x2FF),
    (N::TSC_AUX, 0xC000_0103),
    (N::GUEST_OS_ID, hv::GUEST_OS_ID),
    (N::HYPERCALL, hv::HYPERCALL),
    (N::VP_INDEX, hv::VP_INDEX),
    (N::VP_RUNTIME, hv::VP_RUNTIME),
    (N::TIME_REF_COUNT, hv::TIME_REF_COUNT),
    (N::REFERENCE_TSC, hv::REFERENCE_TSC),
    (N::VP_ASSIST_PAGE, hv::VP_ASSIST_PAGE),
    (N::MISC_ENABLE, 0x1A0),
    (N::MTRR_FIX64K_00000, 0x250),
    (N::GUEST_CRASH_CTL, hv::CRASH_CTL),
];

/// The same for rows: first name, how many, first number, and numbers from one to the next.
const MSR_ROWS: [(N, u32, u32, u32); 8] = [
    (N::SINT0, 16, hv::SINT0, 1),
    (N::SCONTROL, 5, hv::SCONTROL, 1),
    (N::STIMER0_CONFIG, 8, hv::STIMER0_CONFIG, 1),
    (N::GUEST_CRASH_P0, 5, hv::CRASH_P0, 1),
    (N::MTRR_PHYS_BASE0, 8, 0x200, 2),
    (N::MTRR_PHYS_MASK0, 8, 0x201, 2),
    (N::MTRR_FIX16K_80000, 2, 0x258, 1),
    (N::MTRR_FIX4K_C0000, 8, 0x268, 1),
];

/// Registers that read 0 and ignore writes: of features that no child has.
const ABSENT: [N; 15] = [
    N::BNDCFGS,
    N::SPEC_CTRL,
    N::U_XSS,
    N::U_CET,
    N::S_CET,
    N::SSP,
    N::PL0_SSP,
    N::PL1_SSP,
    N::PL2_SSP,
    N::PL3_SSP,
    N::INTERRUPT_SSP_TABLE_ADDR,
    N::TSC_ADJUST,
    N::PENDING_EVENT1,
    N::VSM_PARTITION_CONFIG,
    N::VSM_VP_STATUS,
];

fn msr(name: N) -> Option<u32> {
    let single = MSRS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    single.or_else(|| {
        MSR_ROWS.iter().find_map(|&(first, count, number, step)| {
            let place = name.0.checked_sub(first.0).filter(|&place| place < count)?;
            Some(number + place * step)
        })
    })
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
    if let Some(value) = Area::new(state.extended_area()).and_then(|mut area| area.get(name)) {
        return Ok(value);
    }
    if let Some(number) = msr(name) {
        let value = child_msr::get(vp, state, number);
        return value.map(RegisterValue::from).map_err(|_| HvStatus::INVALID_PARAMETER);
    }
    let value = match name {
        N::RIP => state.vcpu.rip(),
        N::RFLAGS => state.vcpu.rflags(),
        // The APIC learns of the guest's own writes later.
        N::CR8 | N::INTERMEDIATE_CR8 => state.vcpu.cr8().into(),
        N::XFEM => state.xcr0,
        N::IDTR => return Ok(table(state, TableName::Idtr)),
        N::GDTR => return Ok(table(state, TableName::Gdtr)),
        N::DR0 | N::DR1 | N::DR2 | N::DR3 => {
            state.breakpoints.get((name.0 - N::DR0.0) as usize).copied().unwrap_or(0)
        }
        N::INITIAL_APIC_ID => vp.apic_id.into(),
        N::APIC_ID => vp.apic_id.into(),
        N::APIC_BASE => state.apic.apic_base(),
        N::INTERNAL_ACTIVITY_STATE => InternalActivity::new()
            .with_startup_suspend(state.activity == Activity::WaitForStartup)
            .with_halt_suspend(state.activity == Activity::Halted)
            .with_idle_suspend(state.activity == Activity::Idle)
            .into_bits(),
        N::PENDING_INTERRUPTION => pending(state.vcpu.pending_event()).into_bits(),
        N::INTERRUPT_STATE => interrupt_state(&state.vcpu).into_bits(),
        // An exception that was asked for waits as an interruption.
        N::PENDING_EVENT0 => 0,
        N::DELIVERABILITY_NOTIFICATIONS => vp.wanted_slots.load(Ordering::Relaxed),
        _ if ABSENT.contains(&name) => 0,
        _ => return Err(HvStatus::INVALID_PARAMETER),
    };
    Ok(value.into())
}

/// Whether a processor could have that value in the register. A combination of registers that it could not have is found
/// at the next entry.
fn can_be(register: SystemReg, value: u64) -> bool {
    match register {
        SystemReg::Cr0 => {
            value >> 32 == 0 && (value & cpu::CR0_NW == 0 || value & cpu::CR0_CD != 0)
        }
        SystemReg::Cr3 => value >> 52 == 0,
        SystemReg::Cr4 => value >> 32 == 0,
        SystemReg::Efer => value & !EFER_ALLOWED == 0,
        _ => true,
    }
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
        if !can_be(register, low) {
            return Err(HvStatus::INVALID_REGISTER_VALUE);
        }
        state.vcpu.set_system(register, low);
        return Ok(());
    }
    if let Some(done) = Area::new(state.extended_area()).and_then(|mut area| area.set(name, value))
    {
        return done.map_err(|_| HvStatus::INVALID_REGISTER_VALUE);
    }
    if let Some(number) = msr(name) {
        return set_msr(vp, state, number, low);
    }
    match name {
        N::RIP => state.vcpu.set_rip(low),
        N::RFLAGS => state.vcpu.set_rflags(low),
        N::CR8 | N::INTERMEDIATE_CR8 => {
            state.apic.set_cr8(low as u8 & 0xF);
            state.vcpu.set_cr8(low as u8 & 0xF);
        }
        N::XFEM if state.set_xcr0(low) => {}
        N::XFEM => return Err(HvStatus::INVALID_REGISTER_VALUE),
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
                _ if activity.idle_suspend() => Activity::Idle,
                _ => Activity::Running,
            };
        }
        N::PENDING_INTERRUPTION => inject(state, PendingInterruption::from_bits(low))?,
        N::PENDING_EVENT0 => inject_exception(state, value)?,
        N::INTERRUPT_STATE => {
            let wanted = InterruptState::from_bits(low);
            state.vcpu.set_interrupt_shadow(wanted.interrupt_shadow());
            state.vcpu.set_in_nmi_handler(wanted.nmi_masked());
            state.reevaluate = true;
        }
        // The VP's index is its APIC id.
        N::INITIAL_APIC_ID | N::APIC_ID if low == u64::from(vp.apic_id) => {}
        N::INITIAL_APIC_ID | N::APIC_ID => return Err(HvStatus::INVALID_REGISTER_VALUE),
        N::DELIVERABILITY_NOTIFICATIONS if low & 0x0000_FFFF_FFFF_FFFF == 0 => {
            vp.wanted_slots.store(low, Ordering::Relaxed);
            vp.request(Request::Deliverable);
        }
        _ if ABSENT.contains(&name) => {}
        _ => return Err(HvStatus::INVALID_PARAMETER),
    }
    vp.publish_address(state.apic.address());
    Ok(())
}

fn table(state: &State, name: TableName) -> RegisterValue {
    let (base, limit) = state.vcpu.table(name);
    TableRegister { padding: [0; 3], limit, base }.into()
}

/// Writes an MSR as the guest would, where the guest could.
fn set_msr(vp: &Vp, state: &mut State, number: u32, value: u64) -> Result<(), HvStatus> {
    if matches!(number, hv::VP_INDEX | hv::VP_RUNTIME | hv::TIME_REF_COUNT | hv::SVERSION) {
        return Ok(());
    }
    let Some(vp) = vp.partition.vp(vp.index) else { return Err(HvStatus::INVALID_VP_INDEX) };
    let done = child_msr::set(vp, state, number, value);
    done.map_err(|_| HvStatus::INVALID_REGISTER_VALUE)
}

/// PENDING_EVENT0: an exception to be delivered at the next entry.
fn inject_exception(state: &mut State, value: RegisterValue) -> Result<(), HvStatus> {
    let event = ExceptionEvent::from_bits(u128::from(value.high) << 64 | u128::from(value.low));
    if !event.pending() {
        return Ok(());
    }
    let vector = u8::try_from(event.vector()).ok().filter(|&vector| vector < 32);
    let vector =
        vector.filter(|_| event.event_type() == 0).ok_or(HvStatus::INVALID_REGISTER_VALUE)?;
    match vector {
        1 => state.vcpu.set_system(SystemReg::Dr6, event.parameter()),
        14 => state.vcpu.set_system(SystemReg::Cr2, event.parameter()),
        _ => {}
    }
    let error_code = event.deliver_error_code().then_some(event.error_code());
    state.vcpu.inject(Event::Exception { vector, error_code });
    Ok(())
}

/// Delivers what the parent wants delivered at the next entry.
fn inject(state: &mut State, pending: PendingInterruption) -> Result<(), HvStatus> {
    if !pending.pending() {
        state.vcpu.drop_event();
        return Ok(());
    }
    let vector = u8::try_from(pending.vector()).map_err(|_| HvStatus::INVALID_REGISTER_VALUE)?;
    state.vcpu.inject(match pending.kind() {
        InterruptionType::INTERRUPT => Event::Interrupt(vector),
        InterruptionType::NMI => Event::Nmi,
        InterruptionType::EXCEPTION if vector < 32 && vector != 2 => Event::Exception {
            vector,
            error_code: pending.deliver_error_code().then_some(pending.error_code()),
        },
        // What an instruction asks for it asks for again.
        _ => return Err(HvStatus::INVALID_REGISTER_VALUE),
    });
    Ok(())
}
