use super::*;
use crate::args::{Args, Command};
use clap::Parser;

/// What `zm disk …` prints in a directory, and its exit status; errors as text.
fn zm(directory: &Path, line: &str) -> Result<(String, bool), String> {
    let words =
        line.split_whitespace().map(|word| match word.contains('.') && !word.contains("..") {
            true => directory.join(word).display().to_string(),
            false => word.to_owned(),
        });
    let words = ["zm".to_owned(), "disk".to_owned()].into_iter().chain(words);
    let args = Args::try_parse_from(words).map_err(|error| error.to_string())?;
    let Command::Disk { command } = args.command else { panic!("{line}") };
    let mut out = Vec::new();
    let code = run(&command, &mut out).map_err(|error| format!("{error:#}"))?;
    Ok((String::from_utf8(out).unwrap(), code == ExitCode::SUCCESS))
}

fn says(directory: &Path, line: &str, expected: &str) {
    let (text, success) = zm(directory, line).unwrap_or_else(|error| panic!("{line}: {error}"));
    assert!(success && text.contains(expected), "{line}: {text}");
}

fn refuses(directory: &Path, line: &str, expected: &str) {
    let error = zm(directory, line).unwrap_err();
    assert!(error.contains(expected), "{line}: {error}");
}

#[test]
fn a_disk_lives_through_all_commands() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    says(dir, "create a.vhdx --size 100M", "dynamic VHDX, 100.0 MiB, 0 of 4 blocks of 32.0 MiB");
    says(dir, "resize a.vhdx +28M", "128.0 MiB");
    says(dir, "convert a.vhdx b.vhd --fixed", "fixed VHD, 128.0 MiB");
    says(dir, "convert b.vhd c.img", "raw, 128.0 MiB");
    says(dir, "compact a.vhdx", "a.vhdx: takes");
    says(dir, "check a.vhdx", "sound");
    says(dir, "check --repair b.vhd", "sound");
    says(dir, "create child.vhdx --parent a.vhdx", "differencing VHDX, 128.0 MiB");
    says(dir, "info child.vhdx", "parent              .\\a.vhdx");
    says(dir, "info a.vhdx --json", "\"size\":134217728");
}

#[test]
fn what_cannot_be_done_is_said_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    says(dir, "create a.vhdx --size 64M", "64.0 MiB");
    refuses(dir, "create a.vhdx --size 64M", "a.vhdx: creating");
    refuses(dir, "create b.qcow2 --size 64M", "does not say which format");
    refuses(dir, "create b.vhd --size 3T", "up to 2040 GiB");
    refuses(dir, "create b.vhdx --size 1000", "not whole sectors");
    refuses(dir, "create b.vhdx", "--size");
    refuses(dir, "resize a.vhdx 32M", "say --shrink if you mean it");
    says(dir, "resize a.vhdx 32M --shrink", "32.0 MiB");
    refuses(dir, "compact missing.vhdx", "missing.vhdx: opening: No such file");
    let files: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["a.vhdx"]);
}

#[test]
fn a_damaged_image_is_told_and_repaired() {
    use std::os::unix::fs::FileExt;
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    says(dir, "create a.vhdx --size 64M", "64.0 MiB");
    let file = std::fs::File::options().write(true).open(dir.join("a.vhdx")).unwrap();
    file.write_all_at(b"x", 192 * 1024).unwrap();
    drop(file);
    let (text, sound) = zm(dir, "check a.vhdx").unwrap();
    assert!(!sound && text.contains("VHDX region table at byte 0x30000"), "{text}");
    says(dir, "check --repair a.vhdx", "repaired: VHDX region table");
    says(dir, "check a.vhdx", "sound");
    let file = std::fs::File::options().write(true).open(dir.join("a.vhdx")).unwrap();
    file.write_all_at(b"x", 64 * 1024).unwrap();
    file.write_all_at(b"x", 128 * 1024).unwrap();
    refuses(dir, "check a.vhdx", "VHDX header at byte 0x10000: its signature is not \"head\"");
}
