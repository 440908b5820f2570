//! Looking into a running VM from outside: every disk command that was answered, one line for each:
//!
//! ```text
//! CHANNEL LUN OPCODE BYTES RECEIVED SUBMITTED COMPLETED ANSWERED
//! ```
//!
//! Numbers are decimal; times are nanoseconds of CLOCK_MONOTONIC, 0 where a command was not. Commands of the first
//! SCSI controller are told. Nobody who looks, nothing is recorded.

use crate::storage::Storage;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use storvsp::controller::Controller;
use storvsp::trace::Stations;

/// Between two looks at what was recorded.
const PERIOD: Duration = Duration::from_millis(100);

/// What was recorded is there once: one client after the other.
static ONE: Mutex<()> = Mutex::new(());

/// Until the client goes.
pub fn tell(mut client: UnixStream, storage: &Storage) -> std::io::Result<()> {
    let _alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    client.set_read_timeout(Some(PERIOD))?;
    client.set_write_timeout(Some(Duration::from_secs(1)))?;
    let mut seen: Option<Arc<Controller>> = None;
    let mut result = Ok(());
    while result.is_ok() && !has_gone(&mut client) {
        let controller = storage.controller();
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
}
