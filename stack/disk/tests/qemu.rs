//! Images made by `qemu-img` open here and images made here are sound to it, byte for byte.
//!
//! The program is the one that `ZEMIN_QEMU_IMG` names, or `qemu-img` on the path. Without either the tests are reported
//! as ignored; one that is named and does not run makes them fail.

use disk::{Disk, FileStorage, OpenOptions, SectorSizes, Shrink, open_file, vhd, vhdx};
use libtest_mimic::{Arguments, Trial};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

const MIB: u64 = 1 << 20;
/// Names the program.
const VARIABLE: &str = "ZEMIN_QEMU_IMG";

fn main() -> std::process::ExitCode {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_installed = std::env::split_paths(&path).any(|place| place.join("qemu-img").is_file());
    let is_there = is_installed || std::env::var_os(VARIABLE).is_some();
    let test = |name: &str, run: fn()| {
        let trial = Trial::test(name, move || {
            run();
            Ok(())
        });
        trial.with_ignored_flag(!is_there)
    };
    let tests = vec![
        test("our_vhdx_is_sound_to_qemu", our_vhdx_is_sound_to_qemu),
        test(
            "a_resized_and_trimmed_vhdx_is_sound_to_qemu",
            a_resized_and_trimmed_vhdx_is_sound_to_qemu,
        ),
        test("qemu_replays_our_log", qemu_replays_our_log),
        test("our_vhd_is_sound_to_qemu", our_vhd_is_sound_to_qemu),
        test(
            "images_by_qemu_open_here_and_stay_sound_to_it",
            images_by_qemu_open_here_and_stay_sound_to_it,
        ),
        test(
            "a_vhd_by_qemu_with_a_size_of_whole_cylinders_opens_here",
            a_vhd_by_qemu_with_a_size_of_whole_cylinders_opens_here,
        ),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

fn qemu_img(arguments: &[&str]) {
    let program = std::env::var_os(VARIABLE).unwrap_or_else(|| OsString::from("qemu-img"));
    let output = Command::new(&program).args(arguments).output().unwrap_or_else(|error| {
        panic!(
            "{} cannot be run ({error}): install qemu-utils, or name the program in {VARIABLE}",
            program.display()
        )
    });
    assert!(
        output.status.success(),
        "qemu-img {}: {}{}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A directory with a disk's expected content and files of it.
struct Bench {
    dir: tempfile::TempDir,
    model: Vec<u8>,
}

impl Bench {
    fn new(size: u64) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), model: vec![0; size as usize] }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Scattered writes: whole blocks, single sectors, across blocks, at both ends.
    fn places(&self) -> Vec<(usize, usize)> {
        let size = self.model.len();
        let far = size / 2 / 512 * 512;
        vec![
            (0, 512),
            (4096, 65_536),
            (far - 1024, 2048),
            (far + (3 << 20), 1 << 20),
            (size - 512, 512),
        ]
    }

    fn fill_model(&mut self, seed: u8) {
        for (at, len) in self.places() {
            for (offset, byte) in self.model[at..at + len].iter_mut().enumerate() {
                *byte = ((at + offset) / 512 % 255) as u8 ^ seed | 1;
            }
        }
    }

    fn write_model(&self, disk: &dyn Disk) {
        for (at, len) in self.places() {
            disk.write_at(at as u64, &self.model[at..at + len]).unwrap();
        }
    }

    fn open(&self, name: &str) -> Box<dyn Disk> {
        open_file(&self.path(name), &OpenOptions::default()).unwrap()
    }

    fn assert_disk(&self, name: &str) {
        let disk = open_file(&self.path(name), &OpenOptions::read_only()).unwrap();
        let mut found = vec![0xEE; disk.size() as usize];
        disk.read_at(0, &mut found).unwrap();
        assert_same(&found, &self.model, name);
        assert_eq!(disk.describe().remarks, Vec::<String>::new());
    }

    /// What QEMU reads from an image.
    fn assert_qemu(&self, name: &str, format: &str) {
        qemu_img(&["convert", "-f", format, "-O", "raw", &self.text(name), &self.text("q.raw")]);
        let found = std::fs::read(self.path("q.raw")).unwrap();
        assert_same(&found, &self.model, name);
    }
}

fn assert_same(found: &[u8], expected: &[u8], name: &str) {
    assert_eq!(found.len(), expected.len(), "the size of {name}");
    let sectors = found.chunks(512).zip(expected.chunks(512));
    let differs = sectors.enumerate().find(|(_, (found, expected))| found != expected);
    assert_eq!(differs.map(|(sector, _)| sector), None, "the first sector that differs in {name}");
}

fn create_vhdx(path: &Path, size: u64, fixed: bool, block_size: Option<u64>) {
    let parameters = vhdx::Parameters {
        size,
        block_size,
        sectors: SectorSizes { logical: 512, physical: 4096 },
        fixed,
        parent: None,
        identity: None,
        content_id: None,
    };
    vhdx::create(&FileStorage::create(path).unwrap(), &parameters).unwrap();
}

fn create_vhd(path: &Path, size: u64, fixed: bool) {
    let parameters =
        vhd::Parameters { size, block_size: None, fixed, parent: None, identity: None };
    vhd::create(&FileStorage::create(path).unwrap(), &parameters).unwrap();
}

fn our_vhdx_is_sound_to_qemu() {
    for (fixed, block_size) in [(false, None), (false, Some(MIB)), (true, Some(2 * MIB))] {
        let mut bench = Bench::new(20 * MIB + 512);
        let size = bench.model.len() as u64;
        create_vhdx(&bench.path("a.vhdx"), size, fixed, block_size);
        qemu_img(&["check", "-f", "vhdx", &bench.text("a.vhdx")]);
        bench.assert_qemu("a.vhdx", "vhdx");
        bench.fill_model(5);
        bench.write_model(&*bench.open("a.vhdx"));
        qemu_img(&["check", "-f", "vhdx", &bench.text("a.vhdx")]);
        bench.assert_qemu("a.vhdx", "vhdx");
    }
}

fn a_resized_and_trimmed_vhdx_is_sound_to_qemu() {
    let mut bench = Bench::new(20 * MIB);
    create_vhdx(&bench.path("a.vhdx"), 20 * MIB, false, Some(2 * MIB));
    bench.fill_model(9);
    let disk = bench.open("a.vhdx");
    bench.write_model(&*disk);
    disk.resize(90 * MIB, Shrink::Refuse).unwrap();
    disk.discard(2 * MIB, 10 * MIB).unwrap();
    bench.model.resize(90 << 20, 0);
    bench.model[2 << 20..12 << 20].fill(0);
    disk.write_at(89 * MIB, &[7; 512]).unwrap();
    bench.model[89 << 20..(89 << 20) + 512].fill(7);
    disk.close().unwrap();
    drop(disk);
    qemu_img(&["check", "-f", "vhdx", &bench.text("a.vhdx")]);
    bench.assert_qemu("a.vhdx", "vhdx");
    // More entries than the first MiB of table holds: it moves.
    let disk = bench.open("a.vhdx");
    disk.resize(400 << 30, Shrink::Refuse).unwrap();
    drop(disk);
    qemu_img(&["check", "-f", "vhdx", &bench.text("a.vhdx")]);
    let disk = bench.open("a.vhdx");
    disk.resize(90 * MIB, Shrink::Allow).unwrap();
    drop(disk);
    bench.assert_qemu("a.vhdx", "vhdx");
}

fn qemu_replays_our_log() {
    let mut bench = Bench::new(20 * MIB);
    create_vhdx(&bench.path("a.vhdx"), 20 * MIB, false, Some(MIB));
    bench.fill_model(6);
    let disk = bench.open("a.vhdx");
    bench.write_model(&*disk);
    disk.flush().unwrap();
    // Power fails here, as far as this copy knows; and what was done in place is lost.
    std::fs::copy(bench.path("a.vhdx"), bench.path("b.vhdx")).unwrap();
    let table = 3 * MIB;
    let file = std::fs::File::options().write(true).open(bench.path("b.vhdx")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0; 4096], table).unwrap();
    drop(file);
    drop(disk);
    std::fs::copy(bench.path("b.vhdx"), bench.path("c.vhdx")).unwrap();
    qemu_img(&["check", "-r", "all", "-f", "vhdx", &bench.text("b.vhdx")]);
    bench.assert_qemu("b.vhdx", "vhdx");
    // And so do we, in memory and in the file.
    let disk = open_file(&bench.path("c.vhdx"), &OpenOptions::read_only()).unwrap();
    let mut found = vec![0xEE; bench.model.len()];
    disk.read_at(0, &mut found).unwrap();
    assert_same(&found, &bench.model, "c.vhdx, for reading");
    assert_eq!(disk.describe().remarks.len(), 1);
    drop(disk);
    drop(bench.open("c.vhdx"));
    bench.assert_disk("c.vhdx");
}

fn our_vhd_is_sound_to_qemu() {
    for fixed in [false, true] {
        let mut bench = Bench::new(20 * MIB + 512);
        create_vhd(&bench.path("a.vhd"), bench.model.len() as u64, fixed);
        bench.assert_qemu("a.vhd", "vpc");
        bench.fill_model(3);
        bench.write_model(&*bench.open("a.vhd"));
        bench.assert_qemu("a.vhd", "vpc");
        let disk = bench.open("a.vhd");
        disk.resize(90 * MIB, Shrink::Refuse).unwrap();
        disk.discard(2 * MIB, 10 * MIB).unwrap();
        drop(disk);
        bench.model.resize(90 << 20, 0);
        bench.model[2 << 20..12 << 20].fill(0);
        bench.assert_qemu("a.vhd", "vpc");
        bench.assert_disk("a.vhd");
    }
}

fn images_by_qemu_open_here_and_stay_sound_to_it() {
    let variants = [
        ("vhdx", "a.vhdx", "subformat=dynamic"),
        ("vhdx", "a.vhdx", "subformat=dynamic,block_size=1M"),
        ("vhdx", "a.vhdx", "subformat=fixed"),
        ("vpc", "a.vhd", "subformat=dynamic,force_size=on"),
        ("vpc", "a.vhd", "subformat=fixed,force_size=on"),
    ];
    for (format, name, options) in variants {
        let mut bench = Bench::new(20 * MIB + 1024);
        bench.fill_model(1);
        std::fs::write(bench.path("in.raw"), &bench.model).unwrap();
        let (raw, image) = (bench.text("in.raw"), bench.text(name));
        qemu_img(&["convert", "-f", "raw", "-O", format, "-o", options, &raw, &image]);
        bench.assert_disk(name);
        bench.fill_model(0x55);
        let disk = bench.open(name);
        bench.write_model(&*disk);
        disk.write_at(15 * MIB, &[9; 4096]).unwrap();
        bench.model[15 << 20..(15 << 20) + 4096].fill(9);
        disk.close().unwrap();
        drop(disk);
        bench.assert_disk(name);
        if format == "vhdx" {
            qemu_img(&["check", "-f", "vhdx", &image]);
        }
        bench.assert_qemu(name, format);
    }
}

fn a_vhd_by_qemu_with_a_size_of_whole_cylinders_opens_here() {
    let mut bench = Bench::new(20 * MIB);
    bench.fill_model(1);
    std::fs::write(bench.path("in.raw"), &bench.model).unwrap();
    let (raw, image) = (bench.text("in.raw"), bench.text("a.vhd"));
    qemu_img(&["convert", "-f", "raw", "-O", "vpc", &raw, &image]);
    let disk = bench.open("a.vhd");
    assert!(disk.size() >= 20 * MIB);
    bench.model.resize(disk.size() as usize, 0);
    drop(disk);
    bench.assert_disk("a.vhd");
    bench.assert_qemu("a.vhd", "vpc");
}
