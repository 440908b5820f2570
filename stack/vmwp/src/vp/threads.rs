//! The VPs' threads, and how they are called back from the driver.

use super::run;
use crate::machine::Machine;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use vid::Vp;
use vmm_sys_util::signal::{Killable, SIGRTMIN, register_signal_handler};

/// The signal that interrupts a VP's run, counted from the first real-time signal.
const KICK: i32 = 0;

/// How long a thread that was kicked may take to notice before it is kicked again.
const PATIENCE: Duration = Duration::from_millis(2);

/// Makes the kick harmless: it interrupts, and does nothing else.
fn install_kick_handler() -> io::Result<()> {
    extern "C" fn interrupt(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}
    register_signal_handler(SIGRTMIN() + KICK, interrupt).map_err(io::Error::from)
}

/// The threads of a VM's processors. Dropping it does not stop them: see [`Self::stop`].
pub struct VpThreads(Vec<JoinHandle<()>>);

impl VpThreads {
    /// Starts a thread for each VP. If one cannot be started those that were end with the run.
    pub fn start(vps: Vec<Box<dyn Vp>>, machine: &Arc<Machine>) -> io::Result<Self> {
        install_kick_handler()?;
        let start = |vp: Box<dyn Vp>| {
            let machine = Arc::clone(machine);
            let name = format!("vp{}", vp.index().0);
            Builder::new().name(name).spawn(move || run(vp, &machine))
        };
        Ok(Self(vps.into_iter().map(start).collect::<io::Result<_>>()?))
    }

    /// Calls every thread back; returns when all have left. The run has ended.
    ///
    /// A kick between a thread's look at the end of the run and its entry into the driver is lost, hence the repetition.
    pub fn stop(self) {
        for thread in &self.0 {
            while !thread.is_finished() {
                // Fails if the thread has just left.
                let _ = thread.kill(SIGRTMIN() + KICK);
                std::thread::park_timeout(PATIENCE);
            }
        }
        for thread in self.0 {
            if thread.join().is_err() {
                tracing::error!("a VP's thread panicked");
            }
        }
    }
}
