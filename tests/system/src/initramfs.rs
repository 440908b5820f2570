//! Parents that boot in seconds.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use harness::{Artefacts, Initramfs};

/// What programs of the parent OS need of its C library.
const LIBRARIES: [(&str, &str); 4] = [
    ("usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "lib64/ld-linux-x86-64.so.2"),
    ("usr/lib/x86_64-linux-gnu/libc.so.6", "lib/x86_64-linux-gnu/libc.so.6"),
    ("usr/lib/x86_64-linux-gnu/libgcc_s.so.1", "lib/x86_64-linux-gnu/libgcc_s.so.1"),
    ("usr/lib/x86_64-linux-gnu/libm.so.6", "lib/x86_64-linux-gnu/libm.so.6"),
];

/// A busybox that serves the shell.
pub fn busybox() -> Result<PathBuf> {
    write("busybox", Initramfs::new().shell())
}

/// The same with `zm` and the libraries it needs.
pub fn with_zm() -> Result<PathBuf> {
    let image = with_programs(Initramfs::new(), &["zm"])?;
    write("zm", image.script("mount -t debugfs debug /sys/kernel/debug").shell())
}

/// Adds programs of `out/bin` and the libraries they need.
pub fn with_programs(mut image: Initramfs, programs: &[&str]) -> Result<Initramfs> {
    let artefacts = Artefacts::load()?;
    for program in programs {
        let path = artefacts.out.join("bin").join(program);
        image = image.file(&format!("usr/bin/{program}"), read(&path)?, 0o755);
    }
    for (from, to) in LIBRARIES {
        image = image.file(to, read(&artefacts.toolbox.join(from))?, 0o755);
    }
    Ok(image)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("reading {}", path.display()))
}

/// Written under `out/`, where it can be looked at after a failure.
fn write(name: &str, image: Initramfs) -> Result<PathBuf> {
    let directory = scratch()?;
    Ok(image.write(directory.join(format!("{name}.cpio")))?)
}

/// A directory for files that tests make.
pub fn scratch() -> Result<PathBuf> {
    let directory = Artefacts::load()?.out.join("test-files");
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}
