use super::*;
use std::fs::File;

fn image(directory: &Path, name: &str) -> PathBuf {
    let path = directory.join(name);
    File::create(&path).unwrap().set_len(1 << 20).unwrap();
    path
}

fn disk(path: &Path) -> DiskOption {
    DiskOption { path: path.to_owned(), ..DiskOption::default() }
}

#[test]
fn disks_take_the_lowest_numbers_and_an_image_is_used_once() {
    let directory = tempfile::tempdir().unwrap();
    let (a, b) = (image(directory.path(), "a.img"), image(directory.path(), "b.img"));
    let storage = Storage::default();
    assert_eq!(storage.attach(Some(1), &disk(&a)).unwrap(), 1);
    assert_eq!(storage.attach(None, &disk(&b)).unwrap(), 0);
    assert!(storage.attach(None, &disk(&b)).is_err(), "it is in use");
    assert!(storage.attach(Some(1), &disk(&b)).unwrap_err().to_string().contains("taken"));
    storage.detach(0).unwrap();
    assert_eq!(storage.attach(None, &disk(&b)).unwrap(), 0, "its file was closed");
}

#[test]
fn a_drive_takes_media_and_a_disk_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let (a, iso) = (image(directory.path(), "a.img"), image(directory.path(), "b.iso"));
    let storage = Storage::default();
    storage.attach(None, &disk(&a)).unwrap();
    assert_eq!(storage.attach_dvd(None, None).unwrap(), 1);
    storage.change_medium(1, Some(&iso), false).unwrap();
    assert_eq!(storage.list()[1], format!("1 dvd {}", iso.display()));
    assert!(storage.change_medium(0, Some(&iso), false).is_err());
    assert!(storage.change_medium(1, Some(Path::new("/nowhere")), false).is_err());
    assert_eq!(storage.list()[1], format!("1 dvd {}", iso.display()), "the old one stays");
    storage.change_medium(1, None, false).unwrap();
    assert_eq!(storage.list()[1], "1 dvd");
}

#[test]
fn there_is_an_end_to_luns() {
    let storage = Storage::default();
    for _ in 0..=LUN_MAX {
        storage.attach_dvd(None, None).unwrap();
    }
    assert!(storage.attach_dvd(None, None).unwrap_err().to_string().contains("all LUNs are taken"));
}
