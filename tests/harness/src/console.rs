//! The text of a serial line as it grows, and waiting for something to appear in it.

use std::fs::File;
use std::io::{Read, Write as _};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use regex::Regex;

/// Why nothing was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitError {
    /// The limit passed.
    TimedOut,
    /// The line was closed: nothing more can come.
    Closed,
}

/// One serial line's text. Carriage returns and terminal control sequences are left out.
#[derive(Default)]
pub struct Console {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    text: String,
    /// A waiter has seen the text up to here.
    cursor: usize,
    closed: bool,
    cleaner: Cleaner,
}

impl Console {
    /// Takes in what came over the line.
    pub fn push(&self, bytes: &[u8]) {
        let mut state = self.lock();
        let State { text, cleaner, .. } = &mut *state;
        bytes.iter().for_each(|byte| cleaner.push(*byte, text));
        self.changed.notify_all();
    }

    /// Nothing more will come.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Takes in all that `source` gives until its end, and copies the raw bytes to `log`.
    pub fn follow(&self, mut source: impl Read, mut log: File) {
        let mut buffer = [0; 4096];
        while let Ok(read) = source.read(&mut buffer) {
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
            let _ = log.write_all(bytes);
            self.push(bytes);
        }
        self.close();
    }

    /// All text so far.
    pub fn text(&self) -> String {
        self.lock().text.clone()
    }

    /// The last `lines` lines.
    pub fn tail(&self, lines: usize) -> String {
        let state = self.lock();
        let all: Vec<_> = state.text.lines().collect();
        all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
    }

    /// Waits until `pattern` matches in the text after the previous match, and returns what its first
    /// group (or all of it, if it has no group) matched. Text that is there already counts.
    pub fn wait_for(&self, pattern: &Regex, limit: Duration) -> Result<String, WaitError> {
        self.wait(limit, |text| {
            let captures = pattern.captures(text)?;
            let whole = captures.get(0)?;
            let wanted = captures.get(1).unwrap_or(whole);
            Some((whole.end(), wanted.as_str().to_owned()))
        })
    }

    /// Waits until `find`, given the text after the previous match, returns where its find ends and a value.
    pub fn wait<T>(
        &self,
        limit: Duration,
        find: impl Fn(&str) -> Option<(usize, T)>,
    ) -> Result<T, WaitError> {
        let deadline = Instant::now() + limit;
        let mut state = self.lock();
        loop {
            let unseen = state.text.get(state.cursor..).unwrap_or_default();
            if let Some((end, value)) = find(unseen) {
                state.cursor += end;
                return Ok(value);
            }
            if state.closed {
                return Err(WaitError::Closed);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(WaitError::TimedOut);
            }
            state =
                self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A panic elsewhere leaves the text usable, so a poisoned lock is no reason to stop.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leaves out carriage returns and escape sequences (ECMA-48: CSI, OSC and two-byte ones), and puts UTF-8
/// back together across reads.
#[derive(Default)]
struct Cleaner {
    mode: Mode,
    pending: Vec<u8>,
}

#[derive(Default)]
enum Mode {
    #[default]
    Text,
    Escape,
    Csi,
    Osc,
}

impl Cleaner {
    fn push(&mut self, byte: u8, text: &mut String) {
        self.mode = match (std::mem::take(&mut self.mode), byte) {
            (Mode::Text, 0x1B) => Mode::Escape,
            (Mode::Text, b'\r' | 0) => Mode::Text,
            (Mode::Text, _) => {
                self.byte(byte, text);
                Mode::Text
            }
            (Mode::Escape, b'[') => Mode::Csi,
            (Mode::Escape, b']') => Mode::Osc,
            (Mode::Escape, 0x20..=0x2F) => Mode::Escape,
            (Mode::Escape, _) => Mode::Text,
            (Mode::Csi, 0x40..=0x7E) => Mode::Text,
            (Mode::Csi, _) => Mode::Csi,
            (Mode::Osc, 0x07) => Mode::Text,
            (Mode::Osc, 0x1B) => Mode::Escape,
            (Mode::Osc, _) => Mode::Osc,
        };
    }

    fn byte(&mut self, byte: u8, text: &mut String) {
        self.pending.push(byte);
        match std::str::from_utf8(&self.pending) {
            Ok(whole) => text.push_str(whole),
            // Not yet a whole character.
            Err(error) if error.error_len().is_none() => return,
            Err(_) => text.push(char::REPLACEMENT_CHARACTER),
        }
        self.pending.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn pattern(text: &str) -> Regex {
        Regex::new(text).expect("a pattern")
    }

    #[test]
    fn control_sequences_are_left_out() {
        let console = Console::default();
        console.push(b"\x1b[0;32mOK\x1b[0m\r\n\x1b]3008;start=1\x1b\\\x1b(Bdone \xc3");
        console.push(b"\xa9 \xff\n");
        assert_eq!(console.text(), "OK\ndone \u{e9} \u{fffd}\n");
    }

    #[test]
    fn match_returns_the_group_and_moves_on() {
        let console = Console::default();
        console.push(b"cpu 1 up\ncpu 2 up\n");
        assert_eq!(console.wait_for(&pattern(r"cpu (\d+) up"), LONG), Ok("1".to_owned()));
        assert_eq!(console.wait_for(&pattern(r"cpu \d+ up"), LONG), Ok("cpu 2 up".to_owned()));
        assert_eq!(console.wait_for(&pattern("cpu"), Duration::ZERO), Err(WaitError::TimedOut));
    }

    #[test]
    fn text_that_comes_later_wakes_the_waiter() {
        let console = Arc::new(Console::default());
        let writer = Arc::clone(&console);
        let thread = std::thread::spawn(move || {
            writer.push(b"log");
            writer.push(b"in: ");
        });
        assert_eq!(console.wait_for(&pattern("login: "), LONG), Ok("login: ".to_owned()));
        thread.join().expect("the writer ends");
    }

    #[test]
    fn closed_line_ends_the_wait_at_once() {
        let console = Console::default();
        console.push(b"last words\n");
        console.close();
        assert_eq!(console.wait_for(&pattern("words"), LONG), Ok("words".to_owned()));
        assert_eq!(console.wait_for(&pattern("more"), LONG), Err(WaitError::Closed));
    }

    #[test]
    fn tail_gives_the_last_lines() {
        let console = Console::default();
        console.push(b"1\n2\n3\n");
        assert_eq!(console.tail(2), "2\n3");
        assert_eq!(console.tail(9), "1\n2\n3");
    }
}
