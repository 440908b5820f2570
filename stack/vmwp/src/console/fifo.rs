//! The console on two FIFOs: `PATH.in` to the guest, `PATH.out` from it. They are made if they are missing.

use super::{OutputPort, Reader};
use rustix::fs::{FileType, Mode, OFlags, fstat, mknodat, open as open_file};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

/// Opens the two FIFOs.
pub fn open(path: &Path, reader: Reader) -> io::Result<Arc<dyn OutputPort>> {
    // Both are opened for reading and writing: that neither waits for the other end nor fails when it goes away.
    let mut input = fifo(&with_suffix(path, ".in"), OFlags::empty())?;
    let output = fifo(&with_suffix(path, ".out"), OFlags::NONBLOCK)?;
    let read = move || {
        let mut buffer = [0; 1024];
        while let Ok(count) = input.read(&mut buffer) {
            reader.deliver(&buffer[..count]);
        }
    };
    thread::Builder::new().name("console".into()).spawn(read)?;
    Ok(Arc::new(Output(output)))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn fifo(path: &Path, flags: OFlags) -> io::Result<File> {
    let mode = Mode::RUSR | Mode::WUSR;
    match mknodat(rustix::fs::CWD, path, FileType::Fifo, mode, 0) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let file = open_file(path, OFlags::RDWR | OFlags::CLOEXEC | flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::Fifo {
        let text = format!("{} exists and is not a FIFO", path.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    Ok(file.into())
}

struct Output(File);

impl OutputPort for Output {
    fn write(&self, bytes: &[u8]) {
        // A FIFO that nobody reads is full: the guest does not wait for that.
        let _ = (&self.0).write(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::InputQueue;

    fn reader() -> (Reader, Arc<InputQueue>) {
        let reader = Reader { input: Arc::default(), listener: Arc::default() };
        (reader.clone(), reader.input)
    }

    #[test]
    fn both_directions_work_and_a_full_fifo_stops_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("console");
        let (reader, queue) = reader();
        let output = open(&path, reader).unwrap();
        output.write(b"hello");
        let mut out = File::open(with_suffix(&path, ".out")).unwrap();
        let mut text = [0; 5];
        out.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"hello");
        for _ in 0..100 {
            output.write(&[b'x'; 4096]);
        }
        let mut input = File::options().write(true).open(with_suffix(&path, ".in")).unwrap();
        input.write_all(b"ls\n").unwrap();
        let mut typed = Vec::new();
        while typed.len() < 3 {
            typed.extend(queue.take(10));
            thread::yield_now();
        }
        assert_eq!(typed, b"ls\n");
    }

    #[test]
    fn something_else_in_its_place_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("console");
        std::fs::write(with_suffix(&path, ".in"), "").unwrap();
        let error = open(&path, reader().0).err().unwrap();
        assert!(error.to_string().ends_with("is not a FIFO"), "{error}");
    }
}
