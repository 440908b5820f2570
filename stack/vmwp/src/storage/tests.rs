use super::*;
use std::fs::File;

fn image(directory: &Path, name: &str) -> PathBuf {
    let path = directory.join(name);
    File::create(&path).unwrap().set_len(1 << 20).unwrap();
    path
}

/// A LUN of controller 0.
fn at(lun: u8) -> Address {
    Address { controller: 0, lun }
}

fn slot(lun: u8) -> Slot {
    Slot { controller: 0, lun: Some(lun) }
}

fn disk(path: &Path) -> DiskOption {
    DiskOption { path: path.to_owned(), ..DiskOption::default() }
}

#[test]
fn disks_take_the_lowest_numbers_and_an_image_is_used_once() {
    let directory = tempfile::tempdir().unwrap();
    let (a, b) = (image(directory.path(), "a.img"), image(directory.path(), "b.img"));
    let storage = Storage::default();
    assert_eq!(storage.attach(slot(1), &disk(&a)).unwrap(), at(1));
    assert_eq!(storage.attach(Slot::default(), &disk(&b)).unwrap(), at(0));
    assert!(storage.attach(Slot::default(), &disk(&b)).is_err(), "it is in use");
    assert!(storage.attach(slot(1), &disk(&b)).unwrap_err().to_string().contains("taken"));
    storage.detach(at(0)).unwrap();
    assert_eq!(storage.attach(Slot::default(), &disk(&b)).unwrap(), at(0), "its file was closed");
}

#[test]
fn a_drive_takes_media_and_a_disk_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let (a, iso) = (image(directory.path(), "a.img"), image(directory.path(), "b.iso"));
    let storage = Storage::default();
    storage.attach(Slot::default(), &disk(&a)).unwrap();
    assert_eq!(storage.attach_dvd(Slot::default(), None).unwrap(), at(1));
    storage.change_medium(at(1), Some(&iso), false).unwrap();
    assert_eq!(storage.list()[1], format!("1 dvd {}", iso.display()));
    assert!(storage.change_medium(at(0), Some(&iso), false).is_err());
    assert!(storage.change_medium(at(1), Some(Path::new("/nowhere")), false).is_err());
    assert_eq!(storage.list()[1], format!("1 dvd {}", iso.display()), "the old one stays");
    storage.change_medium(at(1), None, false).unwrap();
    assert_eq!(storage.list()[1], "1 dvd");
}

#[test]
fn there_is_an_end_to_luns() {
    let storage = Storage::default();
    for _ in 0..=LUN_MAX {
        storage.attach_dvd(Slot::default(), None).unwrap();
    }
    assert!(
        storage
            .attach_dvd(Slot::default(), None)
            .unwrap_err()
            .to_string()
            .contains("all LUNs are taken")
    );
}

#[test]
fn controllers_come_and_go_with_what_is_on_them() {
    let directory = tempfile::tempdir().unwrap();
    let (a, b) = (image(directory.path(), "a.img"), image(directory.path(), "b.img"));
    let storage = Storage::default();
    assert_eq!(storage.controllers(), ["0 0"]);
    let there: Slot = "1:-".parse().unwrap();
    assert!(storage.attach(there, &disk(&a)).unwrap_err().to_string().contains("no controller 1"));
    assert_eq!(storage.attach_controller().unwrap(), 1);
    assert_eq!(storage.attach(there, &disk(&a)).unwrap(), Address { controller: 1, lun: 0 });
    assert_eq!(storage.attach(Slot::default(), &disk(&b)).unwrap(), at(0));
    assert_eq!(storage.controllers(), ["0 1", "1 1"]);
    assert_eq!(storage.list()[1], format!("1:0 disk {}", a.display()));
    assert!(storage.detach(Address { controller: 1, lun: 1 }).is_err());
    storage.detach_controller(1).unwrap();
    assert_eq!(storage.attach(Slot::default(), &disk(&a)).unwrap(), at(1), "its file was closed");
    assert!(storage.detach_controller(1).is_err());
    assert!(storage.detach_controller(0).unwrap_err().to_string().contains("always there"));
    for number in 1..SCSI_MAX {
        assert_eq!(storage.attach_controller().unwrap(), number);
    }
    assert!(storage.attach_controller().unwrap_err().to_string().contains("at most 4"));
}
