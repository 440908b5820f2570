//! Plays an emulator for the harness's own tests: connects where QEMU would, and follows a scenario.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().collect();
    let scenario = words.get(1).map(String::as_str).unwrap_or_default();
    if scenario == "refuses" {
        eprintln!("fake-qemu: no such option");
        return ExitCode::from(1);
    }
    let (Some(shell), Some(qmp)) = (connect(&words, "shell"), connect(&words, "qmp")) else {
        return ExitCode::from(2);
    };
    if scenario == "finds-no-disk" {
        drop((shell, qmp));
        eprintln!("fake-qemu: could not open the disk");
        return ExitCode::from(1);
    }
    greet(&qmp);
    println!("booting");
    match scenario {
        "boots" => boots(shell, &qmp),
        "dies" => {
            println!("last words");
            return ExitCode::from(3);
        }
        "reboots" => reboots(&shell),
        _ => loop {
            std::thread::park();
        },
    }
    ExitCode::SUCCESS
}

fn connect(words: &[String], name: &str) -> Option<UnixStream> {
    let prefix = format!("socket,id={name},path=");
    UnixStream::connect(words.iter().find_map(|word| word.strip_prefix(&prefix))?).ok()
}

fn greet(mut qmp: &UnixStream) {
    let _ = qmp.write_all(b"{\"QMP\": {}}\n");
    let _ = BufReader::new(qmp).read_line(&mut String::new());
    let _ = qmp.write_all(b"{\"return\": {}}\n");
}

/// A machine whose shell is the host's own; its end is the machine's.
fn boots(mut shell: UnixStream, mut qmp: &UnixStream) {
    let _ = shell.write_all(b"zemin-test-shell ready first\n");
    let Ok(output) = shell.try_clone() else { return };
    let _ = Command::new("sh").stdin(OwnedFd::from(shell)).stdout(OwnedFd::from(output)).status();
    let _ =
        qmp.write_all(b"{\"event\": \"SHUTDOWN\", \"data\": {\"reason\": \"guest-shutdown\"}}\n");
}

/// A machine that restarts whatever it is asked.
fn reboots(mut shell: &UnixStream) {
    let mut lines = BufReader::new(shell);
    loop {
        let _ = shell.write_all(b"zemin-test-shell ready again\n");
        if !matches!(lines.read_line(&mut String::new()), Ok(1..)) {
            return;
        }
    }
}
