//! Results of long steps, kept outside the tree and found again by a hash of their inputs.
//!
//! An entry is a directory `<kind>-<hash>`. It is made under `partial/` and renamed into place, so
//! that an entry that exists is complete; an interrupted run leaves only a partial one, which the
//! next run removes. A lock file per entry makes a second run wait instead of doing the same work.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::step::say;

/// The inputs of a step. Two steps with equal keys give interchangeable results.
#[derive(Clone)]
pub struct Key(Sha256);

impl Key {
    /// A key with a `recipe` number, to be raised when the code that makes the entry changes its result.
    pub fn new(recipe: u32) -> Self {
        Self(Sha256::new()).text(&format!("recipe {recipe}"))
    }

    /// Adds a string.
    pub fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// Adds bytes.
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// Adds a file's content (not its name).
    pub fn file(mut self, path: &Path) -> Result<Self> {
        let mut file =
            File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        self.0.update(file.metadata()?.len().to_le_bytes());
        let mut buffer = vec![0; 1 << 16];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(self),
                read => self.0.update(buffer.get(..read).unwrap_or_default()),
            }
        }
    }

    /// The name of the key: 64 bits in hexadecimal.
    pub fn name(&self) -> String {
        self.0.clone().finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The cache directory.
#[derive(Clone)]
pub struct Cache {
    root: PathBuf,
}

/// One line of [`Cache::list`].
pub struct Entry {
    /// Where it is.
    pub path: PathBuf,
    /// Time since it was last used.
    pub idle: Duration,
}

impl Cache {
    /// Creates the directory where it does not exist.
    pub fn open(root: PathBuf) -> Result<Self> {
        for directory in ["partial", "locks"] {
            let path = root.join(directory);
            fs::create_dir_all(&path).with_context(|| {
                format!("cannot create {} (ZEMIN_CACHE chooses another place)", path.display())
            })?;
        }
        Ok(Self { root })
    }

    /// Where the cache is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where an entry is or would be.
    pub fn path(&self, kind: &str, key: &Key) -> PathBuf {
        self.root.join(format!("{kind}-{}", key.name()))
    }

    /// The entry for `key`, made by `make` in the empty directory that it is handed if it is not there yet.
    pub fn entry(
        &self,
        kind: &str,
        key: &Key,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let path = self.path(kind, key);
        if path.exists() {
            touch(&path);
            return Ok(path);
        }
        let _lock = self.lock(&format!("{kind}-{}", key.name()))?;
        if !path.exists() {
            let partial = self.root.join("partial").join(format!("{kind}-{}", key.name()));
            remove_tree(&partial)?;
            fs::create_dir_all(&partial)?;
            make(&partial)?;
            fs::rename(&partial, &path)
                .with_context(|| format!("cannot move {} into place", path.display()))?;
            touch(&path);
        }
        Ok(path)
    }

    /// Holds the lock `name` until the returned file is dropped; says so if it has to wait.
    pub fn lock(&self, name: &str) -> Result<File> {
        let path = self.root.join("locks").join(name);
        let file =
            File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        if file.try_lock().is_err() {
            say(&format!("another run is busy with {name}: waiting for it"));
            file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Ok(file)
    }

    /// All complete entries.
    pub fn list(&self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for found in fs::read_dir(&self.root)? {
            let found = found?;
            let name = found.file_name();
            if name != "partial" && name != "locks" && found.file_type()?.is_dir() {
                let idle = SystemTime::now()
                    .duration_since(found.metadata()?.modified()?)
                    .unwrap_or_default();
                entries.push(Entry { path: found.path(), idle });
            }
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    /// Removes what was left half-made, and the entries not used for `idle`.
    pub fn prune(&self, idle: Duration) -> Result<Vec<PathBuf>> {
        let mut gone = Vec::new();
        for entry in self.list()?.into_iter().filter(|entry| entry.idle >= idle) {
            remove_tree(&entry.path)?;
            gone.push(entry.path);
        }
        remove_tree(&self.root.join("partial"))?;
        fs::create_dir_all(self.root.join("partial"))?;
        Ok(gone)
    }
}

/// Marks an entry as used now; a cache that we may only read is not an error.
fn touch(path: &Path) {
    if let Ok(directory) = File::open(path) {
        let _ = directory.set_modified(SystemTime::now());
    }
}

/// `rm -rf`, which also copes with directories that deny writing to their owner.
pub fn remove_tree(path: &Path) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    if fs::remove_dir_all(path).is_err() {
        let status =
            std::process::Command::new("chmod").args(["-R", "u+rwX"]).arg(path).status()?;
        if !status.success() {
            bail!("cannot make {} removable", path.display());
        }
        fs::remove_dir_all(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// Fails if the file system of `path` has less than `mib` free, telling for what it is wanted.
pub fn need_space(path: &Path, mib: u64, what: &str) -> Result<()> {
    let free = free_mib(path)?;
    if free < mib {
        bail!("{what} needs {mib} MiB in {}, but only {free} MiB are free there", path.display());
    }
    Ok(())
}

/// What the file system of `path` has free for us.
pub fn free_mib(path: &Path) -> Result<u64> {
    let file_system =
        rustix::fs::statvfs(path).with_context(|| format!("cannot look at {}", path.display()))?;
    Ok((file_system.f_bavail * file_system.f_frsize) >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let cache = Cache::open(directory.path().join("cache")).expect("the cache opens");
        (directory, cache)
    }

    #[test]
    fn entry_is_made_once() {
        let (_guard, cache) = cache();
        let key = Key::new(1).text("input");
        let first =
            cache.entry("thing", &key, |path| Ok(fs::write(path.join("a"), "x")?)).expect("made");
        let second = cache.entry("thing", &key, |_| bail!("made again")).expect("found");
        assert_eq!(first, second);
        assert_eq!(fs::read_to_string(first.join("a")).expect("is there"), "x");
    }

    #[test]
    fn failed_entry_leaves_nothing_and_is_tried_again() {
        let (_guard, cache) = cache();
        let key = Key::new(1);
        let half = |path: &Path| -> Result<()> {
            fs::write(path.join("half"), "x")?;
            bail!("interrupted")
        };
        assert!(cache.entry("thing", &key, half).is_err());
        assert!(!cache.path("thing", &key).exists());
        let path = cache
            .entry("thing", &key, |path| Ok(fs::write(path.join("whole"), "x")?))
            .expect("made");
        assert!(!path.join("half").exists());
    }

    #[test]
    fn keys_tell_inputs_apart() {
        let names = [
            Key::new(1).name(),
            Key::new(2).name(),
            Key::new(1).text("ab").text("c").name(),
            Key::new(1).text("a").text("bc").name(),
        ];
        for (index, name) in names.iter().enumerate() {
            assert!(!names.iter().skip(index + 1).any(|other| other == name), "{names:?}");
        }
    }

    #[test]
    fn prune_keeps_what_was_used_lately() {
        let (_guard, cache) = cache();
        let path = cache.entry("thing", &Key::new(1), |_| Ok(())).expect("made");
        assert!(cache.prune(Duration::from_secs(3600)).expect("pruned").is_empty());
        assert!(path.exists());
        assert_eq!(cache.prune(Duration::ZERO).expect("pruned"), std::slice::from_ref(&path));
        assert!(!path.exists());
    }

    #[test]
    fn too_little_space_is_told() {
        let error =
            need_space(Path::new("/"), u64::MAX, "the moon").expect_err("there is not so much");
        assert!(error.to_string().starts_with("the moon needs"), "{error}");
    }
}
