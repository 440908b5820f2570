//! The harness against an emulator that is a small program: what it does when machines behave, and when not.

use std::path::Path;
use std::time::{Duration, Instant};

use harness::{Artefacts, Error, Machine, Result, Running};

const LONG: Duration = Duration::from_secs(60);

fn play(scenario: &str) -> (tempfile::TempDir, Result<Running>) {
    let out = tempfile::tempdir().expect("a temporary directory");
    let file = |name: &str| {
        let path = out.path().join(name);
        std::fs::write(&path, "").expect("written");
        path
    };
    let artefacts = Artefacts {
        qemu: vec![env!("CARGO_BIN_EXE_fake-qemu").to_owned(), scenario.to_owned()],
        qemu_environment: Default::default(),
        out: out.path().to_owned(),
        hypervisor: file("zemin"),
        kernel: file("vmlinuz"),
        rootfs: file("rootfs.img"),
        guests: out.path().to_owned(),
        busybox: file("busybox"),
        toolbox: out.path().to_owned(),
    };
    let running = Machine::new().name(scenario).boot_with(&artefacts);
    (out, running)
}

#[test]
fn shell_returns_output_and_status() {
    let (_out, machine) = play("boots");
    let mut machine = machine.expect("boots");
    machine.wait_for("booting", LONG).expect("it says so");
    assert_eq!(machine.shell("echo 1; echo 2 >&2").expect("ran").success().expect("0"), "1\n2\n");
    let output = machine.shell("echo no; exit 7").expect("ran");
    assert_eq!((output.status, output.text.as_str()), (7, "no\n"));
    assert!(output.success().expect_err("7 is a failure").to_string().contains("exited with 7"));
}

#[test]
fn long_output_arrives_whole() {
    let (_out, machine) = play("boots");
    let mut machine = machine.expect("boots");
    let text = machine.shell("seq 1 20000").expect("ran").success().expect("0");
    assert_eq!(text.lines().count(), 20_000);
    assert_eq!(text.lines().last(), Some("20000"));
}

#[test]
fn end_of_the_machine_is_told_with_its_reason() {
    let (_out, machine) = play("boots");
    let mut machine = machine.expect("boots");
    machine.start("kill $PPID").expect("typed");
    let exit = machine.wait_exit(LONG).expect("ends");
    assert!(exit.status.success());
    assert_eq!(exit.reason.as_deref(), Some("guest-shutdown"));
}

#[test]
fn death_ends_a_wait_at_once_and_shows_the_last_words() {
    let (out, machine) = play("dies");
    let start = Instant::now();
    let mut machine = machine.expect("starts");
    let error = machine.wait_for("login:", Duration::from_secs(3600)).expect_err("it dies");
    assert!(start.elapsed() < LONG, "waited for the limit");
    assert!(matches!(error, Error::Ended { .. }), "{error}");
    assert!(error.to_string().contains("last words"), "{error}");
    assert!(Path::new(&out.path().join("test-logs/dies/console.log")).exists());
}

#[test]
fn refused_command_line_shows_the_emulators_complaint() {
    let (_out, machine) = play("refuses");
    let error = machine.err().expect("it does not start");
    assert!(error.to_string().contains("no such option"), "{error}");
}

#[test]
fn missing_disk_shows_the_emulators_complaint() {
    let (_out, machine) = play("finds-no-disk");
    let error = machine.err().expect("it does not start");
    assert!(error.to_string().contains("could not open the disk"), "{error}");
}

#[test]
fn limit_is_kept() {
    let (_out, machine) = play("hangs");
    let mut machine = machine.expect("starts");
    let error = machine.wait_for("login:", Duration::from_millis(50)).expect_err("it hangs");
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    assert!(error.to_string().contains("booting"), "{error}");
}

#[test]
fn reboot_during_a_command_is_an_error_of_its_own() {
    let (_out, machine) = play("reboots");
    let mut machine = machine.expect("starts");
    let error = machine.shell("true").expect_err("it reboots");
    assert!(matches!(error, Error::ShellRestarted(_)), "{error}");
}

#[test]
fn dropping_a_machine_ends_the_emulator() {
    let (out, machine) = play("hangs");
    drop(machine.expect("starts"));
    let command =
        std::fs::read_to_string(out.path().join("test-logs/hangs/qemu.command")).expect("kept");
    assert!(command.contains("fake-qemu hangs -machine q35"), "{command}");
    let mut list = std::process::Command::new("sh");
    let listing = list
        .args(["-c", "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '"])
        .output()
        .expect("listed");
    let socket = command
        .split("id=qmp,path=")
        .nth(1)
        .expect("there")
        .split_whitespace()
        .next()
        .expect("there");
    assert!(!String::from_utf8_lossy(&listing.stdout).contains(socket), "it is still there");
}
