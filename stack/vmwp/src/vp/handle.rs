//! What is done about each kind of exit.

use super::hypercall;
use crate::control::Outcome;
use crate::emulator::{Bus, EmulationError, Emulator};
use crate::machine::Machine;
use hvdef::register::ExceptionEvent;
use thiserror::Error;
use vid::exit::{Access, CpuidExit, Exit, IoPortExit, MemoryExit, MsrExit};
use vid::{RegisterName, RegisterValue, VidError, Vp};

const PAGE_FAULT: u16 = 14;

/// Why a VP cannot go on.
#[derive(Debug, Error)]
pub enum Stop {
    /// The guest did what no processor survives.
    #[error("{0}")]
    Crash(String),
    /// The hypervisor or the system failed us.
    #[error(transparent)]
    Failure(#[from] VidError),
}

impl Stop {
    /// What this means for the VM, with the VP's registers where they tell something.
    pub fn into_outcome(self, vp: &dyn Vp) -> Outcome {
        match self {
            Self::Failure(error) => Outcome::Failure(format!("{:#}", anyhow::Error::from(error))),
            Self::Crash(what) => {
                Outcome::Crash(format!("VP {}: {what}{}", vp.index().0, registers(vp)))
            }
        }
    }
}

/// The registers that tell where a guest died.
fn registers(vp: &dyn Vp) -> String {
    let Ok(cpu) = vp.cpu_state() else { return String::new() };
    let rsp = cpu.gpr[4];
    format!(
        " (rip {:#x} rsp {rsp:#x} rflags {:#x} cr0 {:#x} cr3 {:#x} cr4 {:#x} efer {:#x})",
        cpu.rip, cpu.rflags, cpu.cr0, cpu.cr3, cpu.cr4, cpu.efer
    )
}

/// Deals with `exit`; afterwards the VP can be run again.
pub fn exit(vp: &dyn Vp, machine: &Machine, exit: Exit) -> Result<(), Stop> {
    match exit {
        Exit::IoPort(io) => io_port(vp, machine, &io),
        Exit::Memory(access) => memory(vp, machine, &access),
        Exit::ApicEoi { vector } => Ok(machine.chipset().interrupts().end_of_interrupt(vector)?),
        Exit::Hypercall(call) => Ok(hypercall::answer(vp, machine, &call)?),
        Exit::Msr(access) => Ok(msr(vp, &access)?),
        Exit::Cpuid(question) => Ok(cpuid(vp, &question)?),
        Exit::Interrupted => Ok(()),
        Exit::SintDeliverable { .. } => {
            machine.vmbus().deliverable();
            Ok(())
        }
        Exit::TripleFault(_) => Err(Stop::Crash("triple fault".into())),
        Exit::Exception { vector, error_code, .. } => {
            Err(Stop::Crash(format!("exception {vector}, error code {error_code:#x}")))
        }
        Exit::UnsupportedFeature { feature } => {
            Err(Stop::Crash(format!("feature {feature} is not virtualized")))
        }
        Exit::InvalidRegister { .. } => Err(Stop::Crash("registers no processor accepts".into())),
        exit @ (Exit::Halt(_) | Exit::Unknown(_) | Exit::Malformed(_)) => {
            let what = format!("understand exit {exit:?} of VP {}", vp.index().0);
            Err(VidError::os(what, std::io::ErrorKind::Unsupported.into()).into())
        }
    }
}

fn io_port(vp: &dyn Vp, machine: &Machine, io: &IoPortExit) -> Result<(), Stop> {
    if io.string || io.context.instruction_length == 0 {
        return emulate(vp, machine, io.instruction.as_slice());
    }
    let next = io.context.next_rip();
    if io.is_write {
        machine.port_out(io.port, io.size, io.rax as u32);
        return Ok(vp.resume_at(next, None)?);
    }
    let value = u64::from(machine.port_in(io.port, io.size));
    // As everywhere: 32-bit results clear the upper half, smaller ones leave the rest.
    let rax = match io.size {
        1 => io.rax & !0xFF | value & 0xFF,
        2 => io.rax & !0xFFFF | value & 0xFFFF,
        _ => value,
    };
    Ok(vp.resume_at(next, Some(rax))?)
}

fn memory(vp: &dyn Vp, machine: &Machine, access: &MemoryExit) -> Result<(), Stop> {
    if access.access == Access::Execute {
        return Err(Stop::Crash(format!("there is no code at {:#x}", access.gpa)));
    }
    emulate(vp, machine, access.instruction.as_slice())
}

fn emulate(vp: &dyn Vp, machine: &Machine, known: &[u8]) -> Result<(), Stop> {
    match Emulator::step(vp.cpu_state()?, known, machine) {
        Ok(after) => Ok(vp.set_general(&after)?),
        Err(EmulationError::PageFault { linear, error_code }) => {
            Ok(inject_page_fault(vp, linear, error_code)?)
        }
        Err(EmulationError::Device(error)) => Err(error.into()),
        Err(error) => Err(Stop::Crash(error.to_string())),
    }
}

/// The guest's tables say that the page is missing: the guest hears it as from the processor.
fn inject_page_fault(vp: &dyn Vp, linear: u64, error_code: u32) -> Result<(), VidError> {
    let event = ExceptionEvent::new()
        .with_pending(true)
        .with_deliver_error_code(true)
        .with_vector(PAGE_FAULT)
        .with_error_code(error_code)
        .with_parameter(linear);
    let value = RegisterValue::from_u128(event.into_bits());
    vp.set_registers(&[(RegisterName::PENDING_EVENT0, value)])
}

/// RDMSR, WRMSR and CPUID have two bytes.
fn behind(rip: u64) -> (RegisterName, RegisterValue) {
    (RegisterName::RIP, rip.wrapping_add(2).into())
}

/// No MSR is ours: reads are zero, writes are lost, as the partition's property has it for the hypervisor's.
fn msr(vp: &dyn Vp, access: &MsrExit) -> Result<(), VidError> {
    tracing::debug!(msr = access.msr, written = access.written, "MSR that nobody knows");
    let mut registers = vec![behind(access.context.rip)];
    if access.written.is_none() {
        registers.push((RegisterName::RAX, 0.into()));
        registers.push((RegisterName::RDX, 0.into()));
    }
    vp.set_registers(&registers)
}

/// What the hypervisor would have answered is right.
fn cpuid(vp: &dyn Vp, question: &CpuidExit) -> Result<(), VidError> {
    let names = [RegisterName::RAX, RegisterName::RBX, RegisterName::RCX, RegisterName::RDX];
    let answer = names.into_iter().zip(question.default.map(|value| u64::from(value).into()));
    let registers: Vec<_> = answer.chain([behind(question.context.rip)]).collect();
    vp.set_registers(&registers)
}
