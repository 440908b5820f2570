//! Starting and ending a VM's worker process.

use super::config::Name;
use super::store::{Store, tail};
use anyhow::{Context, bail};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a worker may take until its console is there, or to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// The worker's program: beside this one, or wherever the system finds it.
fn program() -> PathBuf {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name("vmwp"));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from("vmwp"))
}

/// Starts a VM. It runs when this returns.
pub fn start(store: &Store, name: &Name) -> anyhow::Result<()> {
    let config = store.load(name)?;
    let mut lock = store.lock(name)?;
    let log =
        File::create(store.log(name)).with_context(|| store.log(name).display().to_string())?;
    // The worker keeps the lock for as long as it lives, however it ends.
    fcntl_setfd(lock.file(), FdFlags::empty())?;
    let mut command = Command::new(program());
    command
        .args(config.arguments(name))
        .args(["--console".to_owned(), format!("socket:{}", store.console(name).display())])
        .arg("--control")
        .arg(store.control(name))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Not with those that a Ctrl-C on this terminal ends.
        .process_group(0);
    let mut child =
        command.spawn().with_context(|| format!("cannot start {}", program().display()))?;
    lock.note(child.id())?;
    await_console(store, name, &mut child)
}

fn await_console(store: &Store, name: &Name, child: &mut Child) -> anyhow::Result<()> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if let Some(status) = child.try_wait()? {
            bail!("{name} did not start ({status}):\n{}", tail(&store.log(name), 10));
        }
        if UnixStream::connect(store.console(name)).is_ok() {
            return Ok(());
        }
        sleep(PAUSE);
    }
    bail!(
        "{name} has no console after {PATIENCE:?}; its messages are in {}",
        store.log(name).display()
    )
}

/// Cuts a VM's power, and returns when it is off.
pub fn stop(store: &Store, name: &Name) -> anyhow::Result<()> {
    store.load(name)?;
    let Some(pid) = store.worker(name).and_then(Pid::from_raw) else {
        bail!("{name} is not running");
    };
    for signal in [Signal::TERM, Signal::KILL] {
        match kill_process(pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(error).context(format!("cannot end process {pid:?}")),
        }
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if store.worker(name).is_none() {
                return Ok(());
            }
            sleep(PAUSE);
        }
    }
    bail!("{name} does not end; its worker is process {}", pid.as_raw_nonzero())
}
