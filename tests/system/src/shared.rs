//! Machines that several tests look at: a boot is dear, most questions are cheap.

use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use harness::{Machine, Running};

/// The one that is running. Only one, so that each has the host to itself.
static RUNNING: Mutex<Option<(String, Running)>> = Mutex::new(None);

/// Lets `test` look at the machine called `name`, which `machine` describes. A test leaves it as it found it; after one
/// that failed, the next boots it anew.
pub fn on(
    name: &str,
    machine: impl FnOnce() -> Result<Machine>,
    test: impl FnOnce(&mut Running) -> Result<()>,
) -> Result<()> {
    let mut slot = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = slot.take().filter(|(running, _)| running == name);
    let mut running = match kept {
        Some((_, running)) => running,
        None => machine()?.name(format!("shared-{name}")).boot()?,
    };
    test(&mut running)?;
    *slot = Some((name.to_owned(), running));
    Ok(())
}

/// Ends what is running.
pub(crate) fn end() {
    drop(RUNNING.lock().unwrap_or_else(PoisonError::into_inner).take());
}
