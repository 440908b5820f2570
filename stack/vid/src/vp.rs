//! A virtual processor, as the thread that runs it sees it.

use crate::{CpuState, Exit, RegisterName, RegisterValue, VidResult, VpIndex};

/// Local interrupt pins, as their local vector table entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalInterruptPins {
    /// LINT0.
    pub lint0: u32,
    /// LINT1.
    pub lint1: u32,
}

/// A VP. Owned by the thread that runs it; all registers are those of the stopped VP.
pub trait Vp: Send {
    /// Which one.
    fn index(&self) -> VpIndex;

    /// Reads registers by name, in order.
    fn registers(&self, names: &[RegisterName]) -> VidResult<Vec<RegisterValue>>;

    /// Writes registers by name, in order.
    fn set_registers(&self, registers: &[(RegisterName, RegisterValue)]) -> VidResult<()>;

    /// Runs the VP until something for the worker to do.
    ///
    /// A signal to the thread ends it with [`Exit::Interrupted`]; one that came before the call does not, so whoever
    /// sends signals repeats them until the thread has noticed.
    fn run(&mut self) -> VidResult<Exit>;

    /// Everything an emulator needs.
    fn cpu_state(&self) -> VidResult<CpuState>;

    /// Writes back the general-purpose registers, RIP and RFLAGS of `state`, nothing else.
    fn set_general(&self, state: &CpuState) -> VidResult<()>;

    /// Goes on at `rip`, with RAX changed if `rax` is given. The short way out of most exits.
    fn resume_at(&self, rip: u64, rax: Option<u64>) -> VidResult<()>;

    /// Sets what LINT0 and LINT1 of the local APIC do.
    fn set_local_pins(&self, pins: LocalInterruptPins) -> VidResult<()>;
}
