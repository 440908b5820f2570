//! Definitions and locks, without a hypervisor.

use super::config::{Config, Name};
use super::store::Store;
use super::{line, list, show};
use std::io::Read;
use std::os::unix::net::UnixStream;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn config() -> Config {
    Config {
        cpus: 2,
        memory: "1G".into(),
        hugepages: true,
        kernel: Some("/boot/vmlinuz".into()),
        initrd: Some("/boot/initrd".into()),
        cmdline: "root=/dev/sda console=ttyS0".into(),
        disks: vec!["/d/a.vhdx".into(), "/d/b.iso,ro".into()],
        ide_disks: vec!["/d/c.vhd".into()],
        dvds: vec!["".into()],
        on_no_space: Some("wait".into()),
    }
}

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::at(&directory.path().join("d"), &directory.path().join("r"));
    (directory, store)
}

#[test]
fn names_can_be_files_and_hosts() {
    for good in ["web", "web-1", "0"] {
        assert!(good.parse::<Name>().is_ok(), "{good}");
    }
    let long = "a".repeat(41);
    for bad in ["", "-a", "Web", "a/b", "..", "a b", long.as_str()] {
        assert!(bad.parse::<Name>().is_err(), "{bad}");
    }
}

#[test]
fn a_definition_comes_back_from_its_file_as_it_was() {
    assert_eq!(Config::parse(&config().text().unwrap()).unwrap(), config());
    let error =
        Config::parse("cpus = 1\nmemory = \"1G\"\nkernel = \"/k\"\ncmdline = \"\"\ncolour = 1\n");
    assert!(error.unwrap_err().to_string().contains("colour"));
}

#[test]
fn without_a_kernel_the_worker_looks_for_one() {
    let own = Config { kernel: None, initrd: None, ..config() };
    let text = own.text().unwrap();
    assert!(!text.contains("kernel"), "{text}");
    assert_eq!(Config::parse(&text).unwrap(), own);
    assert!(own.arguments(&name("web")).join(" ").starts_with("--name web --cmdline"));
}

#[test]
fn the_worker_gets_what_the_definition_says() {
    let words = config().arguments(&name("web")).join(" ");
    assert!(
        words.starts_with("--name web --kernel /boot/vmlinuz --initrd /boot/initrd"),
        "{words}"
    );
    assert!(
        words.ends_with(
            "--disk /d/a.vhdx --disk /d/b.iso,ro --ide-disk /d/c.vhd --dvd  --on-no-space wait"
        ),
        "{words}"
    );
}

#[test]
fn a_name_is_used_once_and_forgotten_when_deleted() {
    let (_directory, store) = store();
    assert!(store.names().unwrap().is_empty());
    store.add(&name("b"), &config()).unwrap();
    store.add(&name("a"), &config()).unwrap();
    assert!(store.add(&name("a"), &config()).unwrap_err().to_string().contains("already"));
    assert_eq!(store.names().unwrap(), [name("a"), name("b")]);
    assert_eq!(store.load(&name("a")).unwrap(), config());
    store.remove(&name("a")).unwrap();
    assert!(store.remove(&name("a")).unwrap_err().to_string().contains("no VM a"));
    assert_eq!(store.names().unwrap(), [name("b")]);
}

#[test]
fn a_vm_runs_as_long_as_its_lock_is_held() {
    let (_directory, store) = store();
    store.add(&name("a"), &config()).unwrap();
    assert_eq!(store.worker(&name("a")), None);
    let mut lock = store.lock(&name("a")).unwrap();
    lock.note(4711).unwrap();
    assert_eq!(store.worker(&name("a")), Some(4711));
    assert!(store.lock(&name("a")).unwrap_err().to_string().contains("is running"));
    assert!(store.remove(&name("a")).is_err(), "what runs is not forgotten");
    assert!(line(&store, &name("a")).running);
    drop(lock);
    assert_eq!(store.worker(&name("a")), None);
}

#[test]
fn a_broken_definition_is_listed_as_such() {
    let (directory, store) = store();
    store.add(&name("a"), &config()).unwrap();
    std::fs::write(directory.path().join("d/b.toml"), "nonsense").unwrap();
    let mut text = Vec::new();
    list(&store, false, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.lines().any(|line| line.starts_with("a ") && line.contains("off")), "{text}");
    assert!(text.lines().any(|line| line.starts_with("b ") && line.contains("broken")), "{text}");
    let mut text = Vec::new();
    show(&store, &name("a"), &mut text).unwrap();
    assert!(String::from_utf8(text).unwrap().contains("memory = \"1G\""));
}

#[test]
fn the_console_is_left_with_ctrl_bracket() {
    let (ours, mut guests) = UnixStream::pair().unwrap();
    super::console::send_keys(&mut &b"ls\r\x1Drm -rf /\r"[..], ours);
    let mut got = Vec::new();
    guests.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"ls\r");
}
