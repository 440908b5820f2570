//! Hypercalls that the hypervisor leaves to the worker.
//!
//! They come only if an intercept for them was installed, which nothing does yet: there is no VMBus server here that
//! could take a guest's messages. What comes all the same is answered as a machine without VMBus answers.

use hvdef::hypercall::{HypercallCode, HypercallInput, HypercallOutput};
use vid::exit::HypercallExit;
use vid::{Gpr, HvStatus, VidResult, Vp};

/// VMCALL and VMMCALL.
const CALL_LENGTH: u64 = 3;

/// Answers `call` and moves RIP behind it.
pub fn answer(vp: &dyn Vp, call: &HypercallExit) -> VidResult<()> {
    let mut cpu = vp.cpu_state()?;
    let control = if call.is_64_bit {
        call.control
    } else {
        cpu.get(Gpr::Rdx) << 32 | cpu.get(Gpr::Rax) & 0xFFFF_FFFF
    };
    let code = HypercallInput::from_bits(control).code();
    let output = HypercallOutput::of(status(code), 0).into_bits();
    tracing::debug!(vp = vp.index().0, ?code, "hypercall that nobody answers");
    if call.is_64_bit {
        cpu.set(Gpr::Rax, output);
    } else {
        cpu.set(Gpr::Rax, output & 0xFFFF_FFFF);
        cpu.set(Gpr::Rdx, output >> 32);
    }
    cpu.rip = cpu.rip.wrapping_add(CALL_LENGTH);
    vp.set_general(&cpu)
}

fn status(code: HypercallCode) -> HvStatus {
    match code {
        HypercallCode::POST_MESSAGE | HypercallCode::SIGNAL_EVENT => {
            HvStatus::INVALID_CONNECTION_ID
        }
        _ => HvStatus::INVALID_HYPERCALL_CODE,
    }
}
