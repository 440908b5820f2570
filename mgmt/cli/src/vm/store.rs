//! Where VMs are: definitions in one directory, what runs in another.
//!
//! ```text
//! /var/lib/zemin/vms/NAME.toml     the definition
//! /run/zemin/vms/NAME.lock         locked as long as the worker lives: it inherits the lock; its process id is in it
//!                     .console     the console's socket
//!                     .control     the socket of `zm trace` and `zm vm disk`
//!                     .log         what the worker says
//! ```

use super::config::{Config, Name};
use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// The two directories.
#[derive(Debug, Clone)]
pub struct Store {
    definitions: PathBuf,
    running: PathBuf,
}

impl Store {
    /// The system's, or those that ZEMIN_STATE_DIR and ZEMIN_RUN_DIR name.
    pub fn system() -> Self {
        let directory = |variable: &str, default: &str| {
            std::env::var_os(variable)
                .map_or_else(|| PathBuf::from(default), PathBuf::from)
                .join("vms")
        };
        Self {
            definitions: directory("ZEMIN_STATE_DIR", "/var/lib/zemin"),
            running: directory("ZEMIN_RUN_DIR", "/run/zemin"),
        }
    }

    /// Two directories of the caller's.
    #[cfg(test)]
    pub fn at(definitions: &Path, running: &Path) -> Self {
        Self { definitions: definitions.into(), running: running.into() }
    }

    /// Names of all VMs, in order.
    pub fn names(&self) -> anyhow::Result<Vec<Name>> {
        let entries = match fs::read_dir(&self.definitions) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context(self.definitions.display().to_string()),
        };
        let mut names: Vec<Name> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".toml")?.parse().ok())
            .collect();
        names.sort();
        Ok(names)
    }

    /// Where the definition is.
    pub fn definition(&self, name: &Name) -> PathBuf {
        self.definitions.join(format!("{name}.toml"))
    }

    /// Where the console listens.
    pub fn console(&self, name: &Name) -> PathBuf {
        self.running.join(format!("{name}.console"))
    }

    /// Where the worker tells what it does.
    pub fn control(&self, name: &Name) -> PathBuf {
        self.running.join(format!("{name}.control"))
    }

    /// Where the worker's messages are.
    pub fn log(&self, name: &Name) -> PathBuf {
        self.running.join(format!("{name}.log"))
    }

    /// A VM's definition.
    pub fn load(&self, name: &Name) -> anyhow::Result<Config> {
        let path = self.definition(name);
        let text = fs::read_to_string(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                anyhow::anyhow!("there is no VM {name}; `zm vm list` shows those there are")
            }
            _ => anyhow::anyhow!("{}: {error}", path.display()),
        })?;
        Config::parse(&text).with_context(|| path.display().to_string())
    }

    /// Adds a VM. One of that name must not be there.
    pub fn add(&self, name: &Name, config: &Config) -> anyhow::Result<()> {
        fs::create_dir_all(&self.definitions)
            .with_context(|| self.definitions.display().to_string())?;
        let path = self.definition(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let mut file = file.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => anyhow::anyhow!("there is a VM {name} already"),
            _ => anyhow::anyhow!("{}: {error}", path.display()),
        })?;
        let written = config.text().and_then(|text| Ok(file.write_all(text.as_bytes())?));
        // A definition that is not whole is none.
        written.inspect_err(|_| _ = fs::remove_file(&path))
    }

    /// Forgets a VM that does not run.
    pub fn remove(&self, name: &Name) -> anyhow::Result<()> {
        self.load(name)?;
        let _lock = self.lock(name)?;
        let running =
            [self.console(name), self.control(name), self.log(name), self.lock_path(name)];
        for path in running.into_iter().chain([self.definition(name)]) {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).context(path.display().to_string());
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn lock_path(&self, name: &Name) -> PathBuf {
        self.running.join(format!("{name}.lock"))
    }

    /// The lock of a VM that does not run. It does as long as this, or a copy of it, is open.
    pub fn lock(&self, name: &Name) -> anyhow::Result<Lock> {
        fs::create_dir_all(&self.running).with_context(|| self.running.display().to_string())?;
        let path = self.lock_path(name);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.with_context(|| path.display().to_string())?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => bail!("{name} is running"),
            Err(error) => Err(error).context(path.display().to_string()),
        }
    }

    /// Process id of the worker, if the VM runs.
    pub fn worker(&self, name: &Name) -> Option<i32> {
        let mut file = File::open(self.lock_path(name)).ok()?;
        if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
            return None;
        }
        let mut text = String::new();
        file.read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    }
}

/// A VM's lock.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Notes who holds it.
    pub fn note(&mut self, process: u32) -> anyhow::Result<()> {
        self.0.set_len(0)?;
        self.0.rewind()?;
        Ok(write!(self.0, "{process}")?)
    }

    /// The file, for a child process that shall keep the lock.
    pub fn file(&self) -> &File {
        &self.0
    }
}

/// The last lines of a file.
pub fn tail(path: &Path, lines: usize) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
}
