//! The test's side of a fake VP: what a guest would do, as calls that return when the guest would go on.

use super::vp::Link;
use crate::exit::{Access, Context, InstructionBytes, IoPortExit, MemoryExit};
use crate::vp::LocalInterruptPins;
use crate::{CpuState, Exit, RegisterName, RegisterValue};
use std::sync::Arc;
use std::time::Duration;

/// How long a test waits for the code under test.
const PATIENCE: Duration = Duration::from_secs(10);

/// Plays the guest on one VP.
pub struct FakeGuest {
    link: Arc<Link>,
}

impl FakeGuest {
    /// The test's end of `link`.
    pub fn new(link: Arc<Link>) -> Self {
        Self { link }
    }

    /// A register's value.
    pub fn register(&self, name: RegisterName) -> RegisterValue {
        self.link.lock().registers.get(&name.0).copied().unwrap_or(0.into())
    }

    /// Changes a register, as the guest's own code would.
    pub fn set_register(&self, name: RegisterName, value: RegisterValue) {
        self.link.lock().registers.insert(name.0, value);
    }

    /// The registers an emulator sees.
    pub fn cpu_state(&self) -> CpuState {
        CpuState::from_values(&CpuState::NAMES.map(|name| self.register(name)))
    }

    /// What LINT0 and LINT1 were set to.
    pub fn local_pins(&self) -> Option<LocalInterruptPins> {
        self.link.lock().pins
    }

    /// Stops the VP with `exit`; returns when the VP is entered again. `false` if it is gone instead.
    ///
    /// Panics if nothing happens for ten seconds.
    pub fn exit(&self, exit: Exit) -> bool {
        let mut state = self.link.lock();
        state.exit = Some(exit);
        self.link.notify();
        let mut state = self.link.wait(state, PATIENCE, |state| state.exit.is_none() || state.gone);
        let picked_up = state.entries;
        assert!(state.exit.is_none() || state.gone, "nobody runs the VP");
        state = self.link.wait(state, PATIENCE, |state| state.entries > picked_up || state.gone);
        assert!(state.entries > picked_up || state.gone, "the VP is not entered again");
        !state.gone
    }

    /// Makes the next entry of the VP fail.
    pub fn fail_next_run(&self) {
        self.link.lock().fail = true;
        self.link.notify();
    }

    /// Whether the VP runs within ten seconds.
    pub fn is_entered(&self) -> bool {
        let state = self.link.lock();
        let state = self.link.wait(state, PATIENCE, |state| state.entries > 0);
        state.entries > 0
    }

    fn context(&self, length: u8) -> Context {
        Context {
            vp_index: 0,
            instruction_length: length,
            rip: self.register(RegisterName::RIP).low,
            rflags: self.register(RegisterName::RFLAGS).low,
            interruption_pending: false,
        }
    }

    fn io(&self, port: u16, size: u8, is_write: bool) -> bool {
        self.exit(Exit::IoPort(IoPortExit {
            context: self.context(1),
            port,
            size,
            is_write,
            string: false,
            rep: false,
            rax: self.register(RegisterName::RAX).low,
            instruction: InstructionBytes::new(&[]),
        }))
    }

    /// OUT of `size` bytes; `false` if the VP is gone after it.
    pub fn output(&self, port: u16, size: u8, value: u32) -> bool {
        self.set_register(RegisterName::RAX, u64::from(value).into());
        self.io(port, size, true)
    }

    /// IN of `size` bytes; `None` if the VP is gone after it.
    pub fn input(&self, port: u16, size: u8) -> Option<u32> {
        let mask = u32::MAX >> (32 - 8 * u32::from(size));
        self.io(port, size, false).then(|| self.register(RegisterName::RAX).low as u32 & mask)
    }

    /// An access to memory that is not there, by the instruction `bytes` at RIP, which accesses `gpa`.
    pub fn access(&self, access: Access, gpa: u64, bytes: &[u8]) -> bool {
        self.exit(Exit::Memory(MemoryExit {
            context: self.context(0),
            access,
            gpa,
            gva: None,
            instruction: InstructionBytes::new(bytes),
        }))
    }
}
