//! Small guests: an initial RAM file system with a static busybox and a script, for boots of a few seconds.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use cpio::newc::{Builder, trailer};

use crate::artefacts::Artefacts;
use crate::error::{Error, Result};

/// Mounts what every script needs.
const PROLOGUE: &str = "#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /run /root /usr/bin /sbin /usr/sbin
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin:/sbin:/usr/sbin HOME=/root
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
";

/// Serves the harness's shell, as the parent OS does.
const SERVE: &str = "setsid sh -c 'exec < /dev/ttyS1 > /dev/ttyS1 2>&1; stty raw -echo 115200
echo \"zemin-test-shell ready $(cat /proc/sys/kernel/random/boot_id)\"; exec sh /dev/ttyS1'
";

const EPILOGUE: &str = "sync\npoweroff -f\n";

/// The content of an initial RAM file system.
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is written until `write` is called"]
pub struct Initramfs {
    files: Vec<(String, Vec<u8>, u32)>,
    script: String,
}

impl Initramfs {
    /// One whose init does nothing but power the machine off.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file at `path` (no leading slash); directories on the way appear by themselves.
    pub fn file(mut self, path: &str, content: impl Into<Vec<u8>>, mode: u32) -> Self {
        self.files.push((path.trim_start_matches('/').to_owned(), content.into(), mode));
        self
    }

    /// Adds lines to what init runs (busybox `sh`, `/proc`, `/sys` and `/dev` mounted) before it powers off.
    pub fn script(mut self, script: &str) -> Self {
        self.script.push_str(script);
        self.script.push('\n');
        self
    }

    /// Lets init serve [`crate::Running::shell`] after the scripts given so far.
    pub fn shell(self) -> Self {
        self.script(SERVE)
    }

    /// Makes `program` (static) the init instead of busybox and the scripts.
    pub fn init(self, program: impl Into<Vec<u8>>) -> Self {
        self.file("init", program, 0o755)
    }

    /// Writes the archive with the busybox that was built, and returns `path`.
    pub fn write(self, path: impl Into<PathBuf>) -> Result<PathBuf> {
        let path = path.into();
        let busybox = &Artefacts::load()?.busybox;
        let busybox = std::fs::read(busybox).map_err(|_| Error::NotBuilt(busybox.clone()))?;
        let archive = self.archive(busybox).map_err(Error::io("writing the archive"))?;
        std::fs::write(&path, archive).map_err(Error::io(format!("writing {}", path.display())))?;
        Ok(path)
    }

    fn archive(self, busybox: Vec<u8>) -> std::io::Result<Vec<u8>> {
        let init = format!("{PROLOGUE}{}{EPILOGUE}", self.script);
        let mut files = self.files;
        if !files.iter().any(|(path, ..)| path == "init") {
            files.push(("bin/busybox".to_owned(), busybox, 0o755));
            files.push(("init".to_owned(), init.into_bytes(), 0o755));
        }
        let mut archive = Vec::new();
        for directory in directories(files.iter().map(|(path, ..)| path.as_str())) {
            // S_IFDIR
            add(&mut archive, &directory, &[], 0o040_755)?;
        }
        for (path, content, mode) in &files {
            // S_IFREG
            add(&mut archive, path, content, 0o100_000 | mode)?;
        }
        trailer(archive)
    }
}

fn add(archive: &mut Vec<u8>, path: &str, content: &[u8], mode: u32) -> std::io::Result<()> {
    let size = u32::try_from(content.len()).map_err(std::io::Error::other)?;
    let mut writer = Builder::new(path).mode(mode).write(archive, size);
    writer.write_all(content)?;
    writer.finish().map(drop)
}

/// All directories above `paths`, parents first.
fn directories<'a>(paths: impl Iterator<Item = &'a str>) -> Vec<String> {
    let parents = paths.flat_map(|path| Path::new(path).ancestors().skip(1));
    let mut names: Vec<_> =
        parents.map(|path| path.display().to_string()).filter(|path| !path.is_empty()).collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(mut archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut found = Vec::new();
        loop {
            let mut reader = cpio::newc::Reader::new(archive).expect("an entry");
            if reader.entry().is_trailer() {
                return found;
            }
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut reader, &mut content).expect("content");
            found.push((reader.entry().name().to_owned(), reader.entry().mode(), content));
            archive = reader.finish().expect("the rest");
        }
    }

    #[test]
    fn archive_has_parents_before_children() {
        let archive = Initramfs::new()
            .file("/a/b/c", "text", 0o644)
            .archive(b"box".to_vec())
            .expect("written");
        let names = names(&archive);
        let position = |name: &str| names.iter().position(|(other, ..)| other == name).expect(name);
        assert!(position("a") < position("a/b") && position("a/b") < position("a/b/c"));
        let (_, mode, content) = names.get(position("a/b/c")).expect("there");
        assert_eq!((*mode, content.as_slice()), (0o100_644, b"text".as_slice()));
    }

    #[test]
    fn own_init_stands_alone() {
        let archive =
            Initramfs::new().init(b"program".to_vec()).archive(b"box".to_vec()).expect("written");
        let names = names(&archive);
        assert_eq!(names, [("init".to_owned(), 0o100_755, b"program".to_vec())]);
    }

    #[test]
    fn script_runs_between_mounting_and_powering_off() {
        let archive = Initramfs::new().script("echo hello").archive(Vec::new()).expect("written");
        let names = names(&archive);
        let (_, mode, init) = names.iter().find(|(name, ..)| name == "init").expect("init");
        let init = String::from_utf8_lossy(init);
        let position = |text: &str| init.find(text).expect("in the script");
        assert!(
            position("mount -t proc") < position("echo hello")
                && position("echo hello") < position("poweroff")
        );
        assert_eq!(mode & 0o777, 0o755);
    }
}
