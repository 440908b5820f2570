use super::*;

fn socket() -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control");
    listen(&path, &Arc::default()).unwrap();
    (directory, path)
}

fn ask(path: &Path, request: &str) -> String {
    let mut client = UnixStream::connect(path).unwrap();
    client.write_all(request.as_bytes()).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn who_traces_is_told_nothing_while_there_is_no_vm() {
    let (_directory, path) = socket();
    for _ in 0..2 {
        assert_eq!(ask(&path, "trace\n"), "");
    }
}

#[test]
fn a_disk_comes_and_goes_by_requests() {
    let (directory, path) = socket();
    let image = directory.path().join("a b.img");
    std::fs::File::create(&image).unwrap().set_len(1 << 20).unwrap();
    let image = image.display();
    assert_eq!(ask(&path, &format!("attach - {image}\n")), "0\nok\n");
    assert_eq!(ask(&path, &format!("attach-dvd 5 {image}\n")), "5\nok\n");
    assert_eq!(ask(&path, "disks\n"), format!("0 disk {image}\n5 dvd {image}\nok\n"));
    assert_eq!(ask(&path, "eject 5\n"), "ok\n");
    assert_eq!(ask(&path, "detach 0\n"), "ok\n");
    assert_eq!(ask(&path, "disks\n"), "5 dvd\nok\n");
    assert_eq!(ask(&path, "resume"), "ok\n");
}

#[test]
fn a_controller_comes_and_goes_by_requests() {
    let (_directory, path) = socket();
    assert_eq!(ask(&path, "attach-controller\n"), "1\nok\n");
    assert_eq!(ask(&path, "attach-dvd 1:7\n"), "1:7\nok\n");
    assert_eq!(ask(&path, "controllers\n"), "0 0\n1 1\nok\n");
    assert_eq!(ask(&path, "detach-controller 1\n"), "ok\n");
    assert_eq!(ask(&path, "disks\n"), "ok\n");
}

#[test]
fn what_cannot_be_done_is_said_in_one_line() {
    let (_directory, path) = socket();
    for (request, words) in [
        ("", "does not know"),
        ("attach x /nowhere.img", "is no LUN"),
        ("attach 64 /nowhere.img", "no LUN 64"),
        ("attach - /nowhere.img", "cannot use /nowhere.img as a disk"),
        ("attach-dvd - /nowhere.iso", "cannot use /nowhere.iso as a DVD"),
        ("attach - ", "needs a path"),
        ("detach 7", "nothing is attached as LUN 7"),
        ("detach-controller 0", "always there"),
        ("detach-controller 2", "no controller 2"),
        ("detach-controller x", "invalid digit"),
        ("attach-dvd 2:-", "no controller 2"),
        ("insert 7", "which medium?"),
        ("eject 7", "nothing is attached"),
    ] {
        let answer = ask(&path, &format!("{request}\n"));
        assert!(answer.starts_with("error ") && answer.contains(words), "{request}: {answer}");
        assert_eq!(answer.lines().count(), 1);
    }
    let endless = "x".repeat(REQUEST_MAX as usize);
    assert!(ask(&path, &endless).starts_with("error "));
}
