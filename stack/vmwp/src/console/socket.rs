//! The console on a Unix socket: one client at a time, who first gets what was printed lately.

use super::{OutputPort, Reader};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How much of the past a new client gets.
const BACKLOG: usize = 64 << 10;
/// How long a client may take to accept what it is sent before it is dropped.
const PATIENCE: Duration = Duration::from_millis(200);

/// Listens at `path`. A socket that an earlier worker left there is replaced, anything else is not.
pub fn open(path: &Path, reader: Reader) -> io::Result<Arc<dyn OutputPort>> {
    if path.symlink_metadata().is_ok_and(|data| data.file_type().is_socket()) {
        if UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody listens there"));
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    let output = Arc::new(Output::default());
    let shared = Arc::clone(&output);
    let serve = move || {
        for client in listener.incoming().flatten() {
            shared.serve(client, &reader);
        }
    };
    thread::Builder::new().name("console".into()).spawn(serve)?;
    Ok(output)
}

#[derive(Default)]
struct Output(Mutex<State>);

#[derive(Default)]
struct State {
    client: Option<UnixStream>,
    backlog: VecDeque<u8>,
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One client, until it goes.
    fn serve(&self, mut client: UnixStream, reader: &Reader) {
        if self.greet(&client).is_err() {
            return;
        }
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = client.read(&mut buffer) {
            reader.deliver(&buffer[..count]);
        }
        self.lock().client = None;
    }

    /// The past, and from here on the present.
    fn greet(&self, client: &UnixStream) -> io::Result<()> {
        let mut writer = client.try_clone()?;
        writer.set_write_timeout(Some(PATIENCE))?;
        let mut state = self.lock();
        writer.write_all(state.backlog.make_contiguous())?;
        state.client = Some(writer);
        Ok(())
    }
}

impl OutputPort for Output {
    fn write(&self, bytes: &[u8]) {
        let mut state = self.lock();
        state.backlog.extend(bytes);
        let surplus = state.backlog.len().saturating_sub(BACKLOG);
        state.backlog.drain(..surplus);
        if let Some(client) = &mut state.client
            && client.write_all(bytes).is_err()
        {
            // Its reader notices and makes room for the next.
            let _ = client.shutdown(Shutdown::Both);
            state.client = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::InputQueue;

    fn console(path: &Path) -> (Arc<dyn OutputPort>, Arc<InputQueue>) {
        let reader = Reader { input: Arc::default(), listener: Arc::default() };
        let queue = Arc::clone(&reader.input);
        (open(path, reader).unwrap(), queue)
    }

    fn expect(client: &mut UnixStream, text: &str) {
        let mut bytes = vec![0; text.len()];
        client.read_exact(&mut bytes).unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), text);
    }

    #[test]
    fn a_client_gets_the_past_and_the_present_and_can_type() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("console");
        let (output, queue) = console(&path);
        output.write(b"before ");
        let mut client = UnixStream::connect(&path).unwrap();
        expect(&mut client, "before ");
        output.write(b"now");
        expect(&mut client, "now");
        client.write_all(b"ls\n").unwrap();
        let mut typed = Vec::new();
        while typed.len() < 3 {
            typed.extend(queue.take(10));
            thread::yield_now();
        }
        assert_eq!(typed, b"ls\n");
        drop(client);
        let mut second = UnixStream::connect(&path).unwrap();
        expect(&mut second, "before now");
    }

    #[test]
    fn a_client_that_does_not_read_is_let_go() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("console");
        let (output, _) = console(&path);
        output.write(b"x");
        let mut client = UnixStream::connect(&path).unwrap();
        expect(&mut client, "x");
        for _ in 0..2000 {
            output.write(&[b'y'; 4096]);
        }
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).unwrap();
        assert!(rest.len() < 2000 * 4096);
    }

    #[test]
    fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("console");
        drop(UnixListener::bind(&path).unwrap());
        let (_output, _) = console(&path);
        let reader = Reader { input: Arc::default(), listener: Arc::default() };
        assert_eq!(open(&path, reader).err().unwrap().kind(), io::ErrorKind::AddrInUse);
    }
}
