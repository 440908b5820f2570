//! Images as files: converted, compacted, with parents, and what failures leave behind.

use disk::{CreateOptions, Disk, OpenOptions, Result, compact, convert, create_file, open_file};
use std::path::{Path, PathBuf};

const MIB: u64 = 1 << 20;

struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn create(&self, name: &str, size: u64) {
        let block_size = (!name.ends_with("img")).then_some(2 * MIB);
        let options = CreateOptions { size: Some(size), block_size, ..CreateOptions::default() };
        create_file(&self.path(name), &options).unwrap();
    }

    fn child(&self, name: &str, parent: &str) {
        let parent = Some(self.path(parent));
        create_file(&self.path(name), &CreateOptions { parent, ..CreateOptions::default() })
            .unwrap();
    }

    fn open(&self, name: &str) -> Box<dyn Disk> {
        open_file(&self.path(name), &OpenOptions::default()).unwrap()
    }

    fn read(&self, name: &str) -> Vec<u8> {
        let disk = open_file(&self.path(name), &OpenOptions::read_only()).unwrap();
        let mut bytes = vec![0xEE; disk.size() as usize];
        disk.read_at(0, &mut bytes).unwrap();
        bytes
    }

    fn len(&self, name: &str) -> u64 {
        std::fs::metadata(self.path(name)).unwrap().len()
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn quiet(_done: u64, _total: u64) {}

fn write(disk: &dyn Disk, at: u64, byte: u8, len: u64) {
    disk.write_at(at, &vec![byte; len as usize]).unwrap();
}

#[test]
fn a_disk_goes_through_all_formats_unchanged() {
    let bench = Bench::new();
    bench.create("a.img", 21 * MIB + 512);
    let disk = bench.open("a.img");
    write(&*disk, 0, 1, 512);
    write(&*disk, 5 * MIB - 512, 2, 70_000 / 512 * 512);
    write(&*disk, 21 * MIB, 3, 512);
    drop(disk);
    let expected = bench.read("a.img");
    let mut from = "a.img";
    for (to, fixed) in
        [("b.vhdx", false), ("c.vhd", false), ("d.vhdx", true), ("e.vhd", true), ("f.img", false)]
    {
        let source = open_file(&bench.path(from), &OpenOptions::read_only()).unwrap();
        let options = CreateOptions { fixed, ..CreateOptions::default() };
        let mut last = 0;
        let mut progress = |done: u64, total: u64| {
            assert!(done > last && total == 21 * MIB + 512);
            last = done;
        };
        convert(&*source, &bench.path(to), &options, &mut progress).unwrap();
        assert_eq!(last, 21 * MIB + 512);
        assert!(bench.read(to) == expected, "{to}");
        from = to;
    }
    assert!(bench.len("c.vhd") < 9 * MIB, "zeros take no space");
}

#[test]
fn compacting_gives_back_what_was_trimmed_or_zero() {
    for name in ["a.vhdx", "a.vhd"] {
        let bench = Bench::new();
        bench.create(name, 40 * MIB);
        let disk = bench.open(name);
        write(&*disk, 0, 7, 30 * MIB);
        disk.discard(2 * MIB, 20 * MIB).unwrap();
        write(&*disk, 26 * MIB, 0, 2 * MIB);
        assert_eq!(disk.describe().unused / MIB, 20);
        let identity = (disk.identity(), disk.content_id());
        drop(disk);
        let before = bench.read(name);
        compact(&bench.path(name), None, &mut quiet).unwrap();
        assert!(bench.read(name) == before, "{name}");
        assert!(bench.len(name) < 13 * MIB, "{name}: {}", bench.len(name));
        let disk = bench.open(name);
        assert_eq!((disk.identity(), disk.content_id()), identity);
        assert_eq!(disk.describe().allocated, 4);
        assert_eq!(bench.names(), [name]);
    }
}

#[test]
fn a_parent_may_be_compacted_under_its_children_and_they_too() {
    for (base, child, grandchild) in [("a.vhdx", "b.vhdx", "c.vhdx"), ("a.vhd", "b.vhd", "c.vhd")] {
        let bench = Bench::new();
        bench.create(base, 16 * MIB);
        write(&*bench.open(base), 0, 1, 12 * MIB);
        bench.open(base).discard(0, 4 * MIB).unwrap();
        bench.child(child, base);
        let disk = bench.open(child);
        write(&*disk, 5 * MIB, 2, MIB);
        disk.discard(8 * MIB, 3 * MIB).unwrap();
        drop(disk);
        bench.child(grandchild, child);
        write(&*bench.open(grandchild), 5 * MIB + 512, 3, 512);
        let expected = bench.read(grandchild);
        assert_eq!(expected[6 << 20], 1);
        assert_eq!((expected[5 << 20], expected[(5 << 20) + 512]), (2, 3));
        assert!(expected[8 << 20..11 << 20].iter().all(|byte| *byte == 0));
        for name in [base, child, grandchild] {
            compact(&bench.path(name), None, &mut quiet).unwrap();
            assert!(bench.read(grandchild) == expected, "{name}");
        }
        let all = open_file(&bench.path(grandchild), &OpenOptions::read_only()).unwrap();
        convert(&*all, &bench.path("all.img"), &CreateOptions::default(), &mut quiet).unwrap();
        assert!(bench.read("all.img") == expected);
    }
}

#[test]
fn a_parent_that_changed_is_refused() {
    let bench = Bench::new();
    bench.create("a.vhdx", 16 * MIB);
    bench.child("b.vhdx", "a.vhdx");
    write(&*bench.open("a.vhdx"), 0, 1, 512);
    let error = open_file(&bench.path("b.vhdx"), &OpenOptions::default()).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("it was written to since the child was made"), "{source}");
    std::fs::remove_file(bench.path("a.vhdx")).unwrap();
    let error = open_file(&bench.path("b.vhdx"), &OpenOptions::default()).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("is in none of these places"), "{source}");
}

#[test]
fn a_disk_that_is_its_own_ancestor_is_refused() {
    let bench = Bench::new();
    bench.create("a.vhdx", 16 * MIB);
    bench.child("b.vhdx", "a.vhdx");
    std::fs::copy(bench.path("b.vhdx"), bench.path("a.vhdx")).unwrap();
    let error = open_file(&bench.path("b.vhdx"), &OpenOptions::read_only()).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("is its own ancestor"), "{source}");
}

fn fails(result: Result<()>, bench: &Bench, names: &[&str]) {
    result.unwrap_err();
    assert_eq!(bench.names(), names);
}

#[test]
fn a_failure_leaves_everything_as_it_was() {
    let bench = Bench::new();
    bench.create("a.vhdx", 16 * MIB);
    write(&*bench.open("a.vhdx"), 0, 1, 4 * MIB);
    let before = bench.read("a.vhdx");
    let names = ["a.vhdx"];
    let create = |name: &str, options: CreateOptions| create_file(&bench.path(name), &options);
    fails(create("b.vhd", CreateOptions::default()), &bench, &names);
    let size = Some(3 << 40);
    fails(create("b.vhd", CreateOptions { size, ..CreateOptions::default() }), &bench, &names);
    let size = Some(MIB);
    fails(create("a.vhdx", CreateOptions { size, ..CreateOptions::default() }), &bench, &names);
    // Somebody else uses it.
    let open = bench.open("a.vhdx");
    fails(compact(&bench.path("a.vhdx"), None, &mut quiet), &bench, &names);
    drop(open);
    assert!(bench.read("a.vhdx") == before);
    // What an earlier attempt left behind is no obstacle.
    std::fs::write(bench.path(".a.vhdx.zm-new"), b"half").unwrap();
    compact(&bench.path("a.vhdx"), None, &mut quiet).unwrap();
    assert_eq!(bench.names(), names);
    assert!(bench.read("a.vhdx") == before);
}

#[test]
fn sectors_of_another_size_are_kept_or_refused() {
    use disk::SectorSizes;
    let bench = Bench::new();
    let sectors = Some(SectorSizes { logical: 4096, physical: 4096 });
    let options = CreateOptions { size: Some(16 * MIB), sectors, ..CreateOptions::default() };
    create_file(&bench.path("a.vhdx"), &options).unwrap();
    let source = bench.open("a.vhdx");
    assert!(source.write_at(512, &[0; 512]).is_err());
    let plain = CreateOptions::default();
    convert(&*source, &bench.path("b.vhdx"), &plain, &mut quiet).unwrap();
    assert_eq!(bench.open("b.vhdx").sectors().logical, 4096);
    fails(
        convert(&*source, &bench.path("c.vhd"), &plain, &mut quiet),
        &bench,
        &["a.vhdx", "b.vhdx"],
    );
    assert!(Path::new(&bench.path("b.vhdx")).exists());
}
