//! Looking into a running VM from outside: the control socket.
//!
//! Whoever connects is told, as long as the connection lasts, of every disk command that was answered, one line for each:
//!
//! ```text
//! CHANNEL LUN OPCODE BYTES RECEIVED SUBMITTED COMPLETED ANSWERED
//! ```
//!
//! Numbers are decimal; times are nanoseconds of CLOCK_MONOTONIC, 0 where a command was not. Nobody who looks, nothing is
//! recorded.

use anyhow::Context;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;
use storvsp::controller::Controller;
use storvsp::trace::Stations;

/// Between two looks at what was recorded.
const PERIOD: Duration = Duration::from_millis(100);

/// The controller of the VM that runs: another one after every reset.
static CURRENT: Mutex<Weak<Controller>> = Mutex::new(Weak::new());

fn current() -> MutexGuard<'static, Weak<Controller>> {
    CURRENT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The VM has this controller from now on.
pub fn at(controller: &Arc<Controller>) {
    *current() = Arc::downgrade(controller);
}

/// Listens at `path`, in place of a socket that an earlier worker left.
pub fn listen(path: &Path) -> anyhow::Result<()> {
    let place = || format!("the control socket {}", path.display());
    if UnixStream::connect(path).is_err() {
        let _ = std::fs::remove_file(path);
    }
    let listener = UnixListener::bind(path).with_context(place)?;
    let serve = move || {
        for client in listener.incoming().flatten() {
            let _ = tell(client);
        }
    };
    thread::Builder::new().name("control".into()).spawn(serve).with_context(place)?;
    Ok(())
}

/// Until the client goes.
fn tell(mut client: UnixStream) -> std::io::Result<()> {
    client.set_read_timeout(Some(PERIOD))?;
    client.set_write_timeout(Some(Duration::from_secs(1)))?;
    let mut seen: Option<Arc<Controller>> = None;
    let mut result = Ok(());
    while result.is_ok() && !has_gone(&mut client) {
        let controller = current().upgrade();
        if let Some(controller) = &controller {
            controller.trace(true);
            let lines: String = controller.take_trace().iter().map(line).collect();
            result = client.write_all(lines.as_bytes());
        }
        seen = controller.or(seen);
    }
    if let Some(controller) = seen {
        controller.trace(false);
        drop(controller.take_trace());
    }
    result
}

/// Waits for one period, or for the end of the connection.
fn has_gone(client: &mut UnixStream) -> bool {
    match client.read(&mut [0; 64]) {
        Ok(count) => count == 0,
        Err(error) => !matches!(
            error.kind(),
            std::io::ErrorKind::WouldBlock
                | std::io::ErrorKind::TimedOut
                | std::io::ErrorKind::Interrupted
        ),
    }
}

fn line(s: &Stations) -> String {
    format!(
        "{} {} {} {} {} {} {} {}\n",
        s.channel, s.lun, s.opcode, s.length, s.received, s.submitted, s.completed, s.answered
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_stations_in_order() {
        let stations = Stations {
            lun: 1,
            opcode: 0x2A,
            length: 4096,
            received: 10,
            submitted: 20,
            completed: 30,
            answered: 40,
            ..Stations::default()
        };
        assert_eq!(line(&stations), "0 1 42 4096 10 20 30 40\n");
    }

    #[test]
    fn one_client_after_the_other_is_served() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control");
        listen(&path).unwrap();
        for _ in 0..2 {
            let mut client = UnixStream::connect(&path).unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
            let mut text = String::new();
            client.read_to_string(&mut text).unwrap();
            assert_eq!(text, "", "there is no VM");
        }
    }
}
