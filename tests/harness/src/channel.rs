//! Sockets that QEMU connects to: we listen first, so there is no moment at which a byte could be lost.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// A socket in the machine's private directory.
pub(crate) struct Channel {
    listener: UnixListener,
    path: PathBuf,
}

impl Channel {
    /// Listens on `directory/name`.
    pub(crate) fn listen(directory: &Path, name: &str) -> Result<Self> {
        let path = directory.join(name);
        let listener = UnixListener::bind(&path)
            .map_err(Error::io(format!("listening on {}", path.display())))?;
        listener.set_nonblocking(true).map_err(Error::io("listening"))?;
        Ok(Self { listener, path })
    }

    /// The value of a `-chardev` option called `id` that connects here.
    pub(crate) fn option(&self, id: &str) -> String {
        format!("socket,id={id},path={}", self.path.display())
    }

    /// Waits for QEMU's connection for as long as `alive` says that QEMU lives.
    pub(crate) fn accept(
        &self,
        limit: Duration,
        mut alive: impl FnMut() -> bool,
    ) -> Result<Option<UnixStream>> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline && alive() {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).map_err(Error::io("the connection of QEMU"))?;
                    return Ok(Some(stream));
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error) => return Err(Error::io("waiting for QEMU to connect")(error)),
            }
        }
        Ok(None)
    }
}
