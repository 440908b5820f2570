//! Hypercalls that the hypervisor leaves to the worker: messages to VMBus, and signals for which there is no doorbell.
//!
//! RIP is still at the VMCALL or VMMCALL: the answer goes into the registers, and RIP behind it.

use crate::machine::Machine;
use hvdef::hypercall::synic::{PostMessage, SignalEvent};
use hvdef::hypercall::{HypercallCode, HypercallInput, HypercallOutput};
use vid::exit::HypercallExit;
use vid::{CpuState, Gpr, HvStatus, VidResult, Vp};
use zerocopy::FromBytes;

/// VMCALL and VMMCALL.
const CALL_LENGTH: u64 = 3;

/// The parameters of a call, wherever the guest's mode has them.
struct Call {
    control: HypercallInput,
    /// GPA of the input, or the input itself.
    input: u64,
    /// The rest of the input of a fast call.
    more: u64,
}

impl Call {
    fn of(cpu: &CpuState, exit: &HypercallExit) -> Self {
        let pair = |high, low| cpu.get(high) << 32 | cpu.get(low) & 0xFFFF_FFFF;
        let (control, input, more) = if exit.is_64_bit {
            (exit.control, exit.input, exit.output)
        } else {
            (pair(Gpr::Rdx, Gpr::Rax), pair(Gpr::Rbx, Gpr::Rcx), pair(Gpr::Rdi, Gpr::Rsi))
        };
        Self { control: HypercallInput::from_bits(control), input, more }
    }

    /// The input, of which a fast call has 16 bytes.
    fn read<T: FromBytes>(&self, machine: &Machine) -> Result<T, HvStatus> {
        if self.control.is_fast() {
            let both = [self.input.to_le_bytes(), self.more.to_le_bytes()].concat();
            let value = T::read_from_prefix(&both).map(|(value, _)| value);
            return value.map_err(|_| HvStatus::INVALID_HYPERCALL_INPUT);
        }
        let mut bytes = vec![0; size_of::<T>()];
        let is_aligned = self.input.is_multiple_of(8);
        let in_page = (self.input & 0xFFF) + bytes.len() as u64 <= 0x1000;
        if !is_aligned || !in_page {
            return Err(HvStatus::INVALID_ALIGNMENT);
        }
        if !machine.read_ram(self.input, &mut bytes) {
            return Err(HvStatus::INVALID_HYPERCALL_INPUT);
        }
        T::read_from_bytes(&bytes).map_err(|_| HvStatus::INVALID_HYPERCALL_INPUT)
    }
}

/// Answers a call and moves RIP behind it.
pub fn answer(vp: &dyn Vp, machine: &Machine, exit: &HypercallExit) -> VidResult<()> {
    let mut cpu = vp.cpu_state()?;
    let call = Call::of(&cpu, exit);
    let status = serve(machine, &call).err().unwrap_or(HvStatus::SUCCESS);
    let output = HypercallOutput::of(status, 0).into_bits();
    if exit.is_64_bit {
        cpu.set(Gpr::Rax, output);
    } else {
        cpu.set(Gpr::Rax, output & 0xFFFF_FFFF);
        cpu.set(Gpr::Rdx, output >> 32);
    }
    cpu.rip = cpu.rip.wrapping_add(CALL_LENGTH);
    vp.set_general(&cpu)
}

fn serve(machine: &Machine, call: &Call) -> Result<(), HvStatus> {
    let status = match call.control.code() {
        HypercallCode::POST_MESSAGE => {
            let message: PostMessage = call.read(machine)?;
            let size = message.payload_size as usize;
            let payload = message.payload.get(..size).ok_or(HvStatus::INVALID_PARAMETER)?;
            let connection = message.connection_id.into_bits();
            machine.vmbus().post_message(connection, message.message_type, payload)
        }
        HypercallCode::SIGNAL_EVENT => {
            let event: SignalEvent = call.read(machine)?;
            machine.vmbus().signal_event(event.connection_id.into_bits(), event.flag_number)
        }
        code => {
            tracing::debug!(?code, "hypercall that nobody answers");
            HvStatus::INVALID_HYPERCALL_CODE
        }
    };
    if status == HvStatus::SUCCESS { Ok(()) } else { Err(status) }
}
