//! `zm trace vm`: a VM's disk commands on their way, with the time at each station.
//!
//! The worker tells, on its control socket, of every command that it has answered while somebody is connected
//! (`stack/vmwp/src/remote.rs` has what it can be asked, `look.rs` the form of a line).

use crate::output::Table;
use crate::vm::{self, Name, Store};
use serde::Serialize;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// One command. Times are nanoseconds of the parent's monotonic clock; 0 where the command was not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Command {
    channel: u16,
    lun: u8,
    opcode: u8,
    name: &'static str,
    bytes: u32,
    received: u64,
    submitted: u64,
    completed: u64,
    answered: u64,
}

impl Command {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let mut number = || words.next()?.parse::<u64>().ok();
        let (channel, lun, opcode) = (number()?, number()?, number()?);
        let (bytes, received, submitted) = (number()?, number()?, number()?);
        let opcode = u8::try_from(opcode).ok()?;
        Some(Self {
            channel: channel.try_into().ok()?,
            lun: lun.try_into().ok()?,
            opcode,
            name: name(opcode),
            bytes: bytes.try_into().ok()?,
            received,
            submitted,
            completed: number()?,
            answered: number()?,
        })
    }
}

/// What the guest asked for (SPC-4, SBC-3).
fn name(opcode: u8) -> &'static str {
    match opcode {
        0x00 => "test unit ready",
        0x08 | 0x28 | 0x88 | 0xA8 => "read",
        0x0A | 0x2A | 0x8A | 0xAA => "write",
        0x12 => "inquiry",
        0x1A | 0x5A => "mode sense",
        0x25 | 0x9E => "read capacity",
        0x35 | 0x91 => "flush",
        0x41 | 0x93 => "write same",
        0x42 => "unmap",
        0xA0 => "report luns",
        _ => "other",
    }
}

/// Shows what is answered for `seconds`.
pub fn run(name: &Name, seconds: u64, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let socket = vm::ask(&Store::system(), name, "trace")?;
    let commands = listen(socket, Duration::from_secs(seconds))?;
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(&commands)?)?;
    } else {
        write!(out, "{}", text(&commands, seconds))?;
    }
    Ok(())
}

fn listen(socket: UnixStream, how_long: Duration) -> anyhow::Result<Vec<Command>> {
    let end = Instant::now() + how_long;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut reader = BufReader::new(socket);
    let (mut commands, mut line) = (Vec::new(), String::new());
    while Instant::now() < end {
        match reader.read_line(&mut line) {
            Ok(0) => break,
            Ok(_) => {
                commands.extend(Command::parse(&line));
                line.clear();
            }
            // What was read of a line stays in it.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(commands)
}

/// A table; times are microseconds since the first command came out of the guest's ring.
fn text(commands: &[Command], seconds: u64) -> String {
    let Some(first) = commands.iter().map(|command| command.received).min() else {
        return format!(
            "No disk command in {seconds} s: what the guest did needed nobody but its processor.\n"
        );
    };
    let micros = |time: u64| format!("{:.1}", time.saturating_sub(first) as f64 / 1000.0);
    let since = |time: u64, before: u64| match (time, before) {
        (0, _) | (_, 0) => "-".to_owned(),
        _ => format!("+{:.1}", time.saturating_sub(before) as f64 / 1000.0),
    };
    let header = ["COMMAND", "LUN", "BYTES", "GUEST RING", "TO KERNEL", "FROM KERNEL", "ANSWERED"];
    let mut table = Table::numbers(header.map(str::to_owned).to_vec());
    for command in commands {
        let from = if command.completed == 0 { command.received } else { command.completed };
        table.row(vec![
            command.name.to_owned(),
            command.lun.to_string(),
            command.bytes.to_string(),
            micros(command.received),
            since(command.submitted, command.received),
            since(command.completed, command.submitted),
            since(command.answered, from),
        ]);
    }
    format!(
        "{}\n{} commands; times in microseconds, each since the station before\n",
        table.render(),
        commands.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_shown_with_the_time_between_stations() {
        let line = "0 0 42 4096 1000000 1010000 1110000 1112500";
        let command = Command::parse(line).unwrap();
        assert_eq!((command.name, command.bytes), ("write", 4096));
        let text = text(&[command], 1);
        let row = text.lines().nth(1).unwrap();
        let words: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(words, ["write", "0", "4096", "0.0", "+10.0", "+100.0", "+2.5"]);
    }

    #[test]
    fn a_command_that_needs_no_disk_skips_those_stations() {
        let command = Command::parse("1 0 18 36 5000 0 0 7000").unwrap();
        let text = text(&[command], 1);
        let words: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(words, ["inquiry", "0", "36", "0.0", "-", "-", "+2.0"]);
    }

    #[test]
    fn nothing_to_show_is_said() {
        assert!(text(&[], 2).contains("No disk command in 2 s"));
    }

    #[test]
    fn lines_that_are_none_are_no_commands() {
        for line in ["", "1 2 3", "0 0 300 1 1 1 1 1", "a b c d e f g h"] {
            assert_eq!(Command::parse(line), None, "{line}");
        }
    }

    #[test]
    fn what_comes_in_pieces_is_put_together() {
        let (ours, mut workers) = UnixStream::pair().unwrap();
        let writer = std::thread::spawn(move || {
            workers.write_all(b"0 0 42 512 1 2").unwrap();
            std::thread::sleep(Duration::from_millis(250));
            workers.write_all(b" 3 4\n").unwrap();
        });
        let commands = listen(ours, Duration::from_secs(20)).unwrap();
        writer.join().unwrap();
        assert_eq!(commands.len(), 1);
        assert_eq!(commands[0].answered, 4);
    }
}
