//! QEMU's machine protocol: JSON objects, one a line (QEMU's `docs/interop/qmp-spec`).

use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::console::{Console, WaitError};
use crate::error::{Error, Result};
use crate::limit;

/// A connection to the emulator's monitor.
pub struct Qmp {
    stream: UnixStream,
    answers: Mutex<Receiver<Value>>,
    /// One line per event: its JSON text.
    events: Arc<Console>,
}

impl Qmp {
    /// Negotiates on a fresh connection.
    pub(crate) fn new(stream: UnixStream) -> Result<Self> {
        let reader = stream.try_clone().map_err(Error::io("the monitor's connection"))?;
        let (sender, receiver) = channel();
        let events = Arc::new(Console::default());
        let sink = Arc::clone(&events);
        std::thread::spawn(move || listen(BufReader::new(reader), &sender, &sink));
        let qmp = Self { stream, answers: Mutex::new(receiver), events };
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Runs a command and returns its answer.
    pub fn execute(&self, command: &str, arguments: Value) -> Result<Value> {
        self.execute_within(command, arguments, limit::MONITOR)
    }

    fn execute_within(&self, command: &str, arguments: Value, limit: Duration) -> Result<Value> {
        let refused = |why: String| Error::Monitor { command: command.to_owned(), why };
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let line = format!("{}\n", json!({ "execute": command, "arguments": arguments }));
        (&self.stream).write_all(line.as_bytes()).map_err(|error| refused(error.to_string()))?;
        let answer = answers.recv_timeout(limit::scaled(limit));
        let mut answer = answer.map_err(|_| refused("the emulator does not answer".to_owned()))?;
        match answer.get_mut("return") {
            Some(value) => Ok(value.take()),
            None => Err(refused(answer.to_string())),
        }
    }

    /// Runs a command of the human monitor (`info registers`, `xp /4gx 0x1000`) and returns what it prints.
    pub fn human(&self, command: &str) -> Result<String> {
        self.human_within(command, limit::MONITOR)
    }

    /// The same for an emulator that may not answer any more.
    pub fn human_within(&self, command: &str, limit: Duration) -> Result<String> {
        let arguments = json!({ "command-line": command });
        let answer = self.execute_within("human-monitor-command", arguments, limit)?;
        Ok(answer.as_str().unwrap_or_default().replace('\r', ""))
    }

    /// `count` bytes of the machine's memory from physical address `address`.
    pub fn physical_memory(&self, address: u64, count: usize) -> Result<Vec<u8>> {
        Ok(parse_dump(&self.human(&format!("xp /{count}xb {address:#x}"))?))
    }

    /// Presses the reset button.
    pub fn system_reset(&self) -> Result<()> {
        self.execute("system_reset", json!({})).map(drop)
    }

    /// Presses the power button (ACPI).
    pub fn power_button(&self) -> Result<()> {
        self.execute("system_powerdown", json!({})).map(drop)
    }

    /// Writes a picture of the screen (PNG) to `path`; the machine needs a VGA card.
    pub fn screendump(&self, path: &std::path::Path) -> Result<()> {
        self.execute("screendump", json!({ "filename": path, "format": "png" })).map(drop)
    }

    /// Ends the emulator.
    pub fn quit(&self) -> Result<()> {
        self.execute("quit", json!({})).map(drop)
    }

    /// Waits for the next event called `name` and returns its data.
    pub fn wait_event(&self, name: &str, limit: Duration) -> Result<Value, WaitError> {
        self.events.wait(limit::scaled(limit), |text| find_event(name, text))
    }

    /// Why the machine shut down, if it did: `guest-shutdown`, `guest-reset`, `host-qmp-quit`, ….
    pub fn shutdown_reason(&self) -> Option<String> {
        let (_, data) = find_event("SHUTDOWN", &self.events.text())?;
        Some(data.get("reason")?.as_str()?.to_owned())
    }
}

fn find_event(name: &str, text: &str) -> Option<(usize, Value)> {
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        end += line.len();
        let event: Value = serde_json::from_str(line).ok()?;
        if event.get("event").and_then(Value::as_str) == Some(name) {
            return Some((end, event.get("data").cloned().unwrap_or_default()));
        }
    }
    None
}

/// Sorts what the emulator says: answers here, events there. The greeting is neither.
fn listen(reader: impl BufRead, answers: &Sender<Value>, events: &Console) {
    for line in reader.lines().map_while(std::io::Result::ok) {
        let Ok(value) = serde_json::from_str::<Value>(&line) else { continue };
        if value.get("event").is_some() {
            events.push(format!("{value}\n").as_bytes());
        } else if value.get("return").is_some() || value.get("error").is_some() {
            let _ = answers.send(value);
        }
    }
    events.close();
}

/// The bytes in the monitor's dump: lines of `address: 0x12 0x34`.
fn parse_dump(text: &str) -> Vec<u8> {
    let values = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .flat_map(|(_, rest)| rest.split_whitespace());
    values.filter_map(|word| u8::from_str_radix(word.strip_prefix("0x")?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fake(answers: &'static str) -> Result<Qmp> {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        std::thread::spawn(move || {
            let mut lines = BufReader::new(theirs.try_clone().expect("cloned")).lines();
            (&theirs).write_all(b"{\"QMP\": {}}\n").expect("greeted");
            for answer in answers.lines() {
                if lines.next().is_none() {
                    return;
                }
                let text = answer.replace('|', "\n") + "\n";
                (&theirs).write_all(text.as_bytes()).expect("answered");
            }
        });
        Qmp::new(ours)
    }

    #[test]
    fn answers_and_events_are_told_apart() {
        let qmp = fake("{\"return\":{}}\n{\"event\":\"RESET\",\"data\":{\"guest\":true}}|{\"return\":\"00000: 0x12 0xff\\r\\n\"}")
            .expect("negotiated");
        assert_eq!(qmp.physical_memory(0, 2).expect("read"), [0x12, 0xFF]);
        let event = qmp.wait_event("RESET", Duration::from_secs(60)).expect("came");
        assert_eq!(event.get("guest"), Some(&Value::Bool(true)));
    }

    #[test]
    fn refusal_carries_the_emulators_words() {
        let qmp = fake("{\"return\":{}}\n{\"error\":{\"desc\":\"no such command\"}}")
            .expect("negotiated");
        let error = qmp.execute("nonsense", json!({})).expect_err("refused");
        assert!(error.to_string().contains("no such command"), "{error}");
    }

    #[test]
    fn lost_connection_is_an_error_at_once() {
        let qmp = fake("{\"return\":{}}").expect("negotiated");
        assert!(qmp.execute("stop", json!({})).is_err());
        assert_eq!(qmp.wait_event("STOP", Duration::from_secs(60)), Err(WaitError::Closed));
    }

    #[test]
    fn shutdown_reason_is_kept() {
        let qmp = fake("{\"return\":{}}\n{\"event\":\"SHUTDOWN\",\"data\":{\"reason\":\"guest-reset\"}}|{\"return\":{}}")
            .expect("negotiated");
        qmp.execute("quit", json!({})).expect("answered");
        assert_eq!(qmp.shutdown_reason().as_deref(), Some("guest-reset"));
    }
}
