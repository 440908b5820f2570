//! The fake's VP: a table of registers and two slots, one for each direction.

use crate::vp::LocalInterruptPins;
use crate::{CpuState, Exit, RegisterName, RegisterValue, VidError, VidResult, Vp, VpIndex};
use std::collections::HashMap;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long [`Vp::run`] waits for the guest before it pretends that a signal came.
const PATIENCE: Duration = Duration::from_millis(5);

/// What the test and the VP's thread share.
#[derive(Default)]
pub struct Link {
    state: Mutex<LinkState>,
    changed: Condvar,
}

/// The slots and the registers.
#[derive(Default)]
pub struct LinkState {
    /// What the guest did and nobody has picked up.
    pub exit: Option<Exit>,
    /// How often the VP was entered.
    pub entries: u64,
    /// The VP is gone.
    pub gone: bool,
    /// Makes the next run fail.
    pub fail: bool,
    /// Registers that were written.
    pub registers: HashMap<u32, RegisterValue>,
    /// LINT0 and LINT1.
    pub pins: Option<LocalInterruptPins>,
}

impl Link {
    /// The shared state.
    pub fn lock(&self) -> MutexGuard<'_, LinkState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the other side.
    pub fn notify(&self) {
        self.changed.notify_all();
    }

    /// Waits until `done`, or for `time`.
    pub fn wait<'a>(
        &'a self,
        guard: MutexGuard<'a, LinkState>,
        time: Duration,
        mut done: impl FnMut(&LinkState) -> bool,
    ) -> MutexGuard<'a, LinkState> {
        self.changed
            .wait_timeout_while(guard, time, |state| !done(state))
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }
}

/// A VP that does what a [`FakeGuest`](super::FakeGuest) says.
pub struct FakeVp {
    index: VpIndex,
    link: std::sync::Arc<Link>,
}

impl FakeVp {
    /// The VP's end of `link`.
    pub fn new(index: VpIndex, link: std::sync::Arc<Link>) -> Self {
        link.lock().gone = false;
        Self { index, link }
    }
}

impl Drop for FakeVp {
    fn drop(&mut self) {
        self.link.lock().gone = true;
        self.link.notify();
    }
}

impl Vp for FakeVp {
    fn index(&self) -> VpIndex {
        self.index
    }

    fn registers(&self, names: &[RegisterName]) -> VidResult<Vec<RegisterValue>> {
        let state = self.link.lock();
        let get = |name: &RegisterName| state.registers.get(&name.0).copied();
        Ok(names.iter().map(|name| get(name).unwrap_or(0.into())).collect())
    }

    fn set_registers(&self, registers: &[(RegisterName, RegisterValue)]) -> VidResult<()> {
        let written = registers.iter().map(|(name, value)| (name.0, *value));
        self.link.lock().registers.extend(written);
        Ok(())
    }

    fn run(&mut self) -> VidResult<Exit> {
        let mut state = self.link.lock();
        state.entries += 1;
        self.link.notify();
        let mut state = self.link.wait(state, PATIENCE, |state| state.exit.is_some() || state.fail);
        if std::mem::take(&mut state.fail) {
            return Err(VidError::os("run a VP", io::ErrorKind::Other.into()));
        }
        Ok(state.exit.take().unwrap_or(Exit::Interrupted))
    }

    fn cpu_state(&self) -> VidResult<CpuState> {
        Ok(CpuState::from_values(&self.registers(&CpuState::NAMES)?))
    }

    fn set_general(&self, state: &CpuState) -> VidResult<()> {
        self.set_registers(&state.general())
    }

    fn resume_at(&self, rip: u64, rax: Option<u64>) -> VidResult<()> {
        let mut list = vec![(RegisterName::RIP, rip.into())];
        list.extend(rax.map(|rax| (RegisterName::RAX, rax.into())));
        self.set_registers(&list)
    }

    fn set_local_pins(&self, pins: LocalInterruptPins) -> VidResult<()> {
        self.link.lock().pins = Some(pins);
        Ok(())
    }
}
