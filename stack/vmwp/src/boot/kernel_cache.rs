//! Unpacked kernels, kept from one start to the next.
//!
//! ```text
//!  start ─ kept? ─┬─ yes ─▶ into memory as it is
//!                 └─ no ──▶ the guest unpacks it by itself; a while later a thread does, too, and keeps it
//! ```
//!
//! A kept kernel appears under its name ([`file_name`]) when it is on the disk as a whole. What does not work here is told in the
//! log, and starts no VM less.

use anyhow::{Context, ensure};
use kernel_image::{Kept, Kernel, SUFFIX, file_name};
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, flock, linkat, open};
use sha2::{Digest, Sha256};
use std::fs::{self, DirBuilder, File};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

/// Most kernels that are kept, and most bytes of them. What was used last stays.
const KERNELS_MAX: usize = 8;
const BYTES_MAX: u64 = 512 << 20;
/// Largest bzImage that is unpacked, in bytes.
const PACKED_MAX: u64 = 256 << 20;
/// Memory that must be free for it: it takes some 150 MiB for a moment.
const FREE_MIN: u64 = 512 << 20;
/// Nice value of the thread that unpacks: behind everything else.
const NICENESS: i32 = 19;
/// Bytes read at a time.
const CHUNK: usize = 64 << 10;

/// Where kernels are kept.
#[derive(Debug)]
pub struct KernelCache {
    directory: PathBuf,
    /// How long a VM runs before its kernel is unpacked: until it has started, and has not been a trial.
    delay: Duration,
    /// A thread is at it, or was: nothing is tried twice.
    is_tried: AtomicBool,
}

impl KernelCache {
    /// Keeps kernels in `directory`, which need not be there yet.
    pub fn new(directory: PathBuf, delay: Duration) -> Arc<Self> {
        Arc::new(Self { directory, delay, is_tried: AtomicBool::new(false) })
    }

    /// The unpacked kernel of a bzImage. If there is none, there will be, unless the worker ends before.
    pub(super) fn get(self: &Arc<Self>, bzimage: &File) -> Option<Kept<File>> {
        match self.find(bzimage) {
            Ok(None) => {
                self.keep_later(bzimage);
                None
            }
            Ok(kept) => kept,
            Err(error) => {
                tracing::warn!("no unpacked kernel: {error:#}");
                None
            }
        }
    }

    fn find(&self, bzimage: &File) -> anyhow::Result<Option<Kept<File>>> {
        if !self.directory.exists() {
            return Ok(None);
        }
        self.check()?;
        let path = self.path(&hash(bzimage).context("cannot read the kernel")?);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        // Only for the choice of what goes first.
        let _ = file.set_modified(SystemTime::now());
        let kept = Kept::open(file);
        if kept.is_err() {
            let _ = fs::remove_file(&path);
        }
        kept.map(Some).with_context(|| format!("{} was removed", path.display()))
    }

    fn path(&self, sha256: &[u8]) -> PathBuf {
        self.directory.join(file_name(sha256))
    }

    /// Nobody else may put kernels there.
    fn check(&self) -> anyhow::Result<()> {
        let name = || self.directory.display().to_string();
        let data = fs::metadata(&self.directory).with_context(name)?;
        let is_ours = data.is_dir() && data.uid() == rustix::process::geteuid().as_raw();
        ensure!(is_ours && data.mode() & 0o022 == 0, "others can write to {}", name());
        Ok(())
    }

    fn keep_later(self: &Arc<Self>, bzimage: &File) {
        if self.is_tried.swap(true, Ordering::Relaxed) {
            return;
        }
        let (cache, bzimage) = (Arc::clone(self), bzimage.try_clone());
        let work = move || {
            std::thread::sleep(cache.delay);
            // Of this thread alone (setpriority(2), notes on Linux).
            let _ = rustix::process::setpriority_process(None, NICENESS);
            match bzimage.map_err(Into::into).and_then(|file| cache.keep(&file)) {
                Ok(Some(path)) => {
                    tracing::info!(path = %path.display(), "the kernel is kept unpacked")
                }
                Ok(None) => {}
                Err(error) => tracing::info!("the kernel is not kept unpacked: {error:#}"),
            }
        };
        if let Err(error) = std::thread::Builder::new().name("unpack".into()).spawn(work) {
            tracing::warn!("cannot start a thread: {error}");
        }
    }

    /// Unpacks a kernel and keeps it; `None` if somebody else is at it.
    fn keep(&self, bzimage: &File) -> anyhow::Result<Option<PathBuf>> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
            .with_context(|| format!("cannot make {}", self.directory.display()))?;
        self.check()?;
        let lock = File::open(&self.directory)?;
        // One kernel at a time, for its memory.
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(None);
        }
        let free = free_memory().context("no word of free memory")?;
        ensure!(free >= FREE_MIN, "only {} MiB of memory are free", free >> 20);
        let size = bzimage.metadata()?.len();
        ensure!(size <= PACKED_MAX, "it has {size} bytes");
        let mut packed = vec![0; size as usize];
        bzimage.read_exact_at(&mut packed, 0)?;
        let path = self.path(&Sha256::digest(&packed));
        if !path.exists() {
            let kernel = Kernel::unpack(&packed)?;
            drop(packed);
            self.write(&kernel, &path).with_context(|| path.display().to_string())?;
            self.prune(&path);
        }
        Ok(Some(path))
    }

    /// Puts a kernel into a file without a name, and names it when it is on the disk.
    fn write(&self, kernel: &Kernel, path: &Path) -> io::Result<()> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = File::from(open(&self.directory, flags, Mode::RUSR | Mode::WUSR)?);
        let mut out = BufWriter::with_capacity(CHUNK, &file);
        kernel.keep(&mut out)?;
        out.flush()?;
        drop(out);
        file.sync_all()?;
        let nameless = format!("/proc/self/fd/{}", file.as_raw_fd());
        linkat(CWD, nameless, CWD, path, AtFlags::SYMLINK_FOLLOW)?;
        Ok(())
    }

    /// Removes what was not used for longest, until the rest is little enough; never `newest`.
    fn prune(&self, newest: &Path) {
        let entry = |entry: io::Result<fs::DirEntry>| {
            let entry = entry.ok()?;
            let is_ours = entry.file_name().to_str()?.ends_with(SUFFIX);
            let data = entry.metadata().ok().filter(|_| is_ours && entry.path() != newest)?;
            Some((data.modified().ok()?, data.blocks() * 512, entry.path()))
        };
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        let mut others: Vec<_> = entries.filter_map(entry).collect();
        others.sort();
        let mut bytes: u64 = others.iter().map(|(_, bytes, _)| bytes).sum();
        bytes += fs::metadata(newest).map_or(0, |data| data.blocks() * 512);
        let mut kernels = others.len() + 1;
        for (_, size, path) in &others {
            if kernels <= KERNELS_MAX && bytes <= BYTES_MAX {
                break;
            }
            let _ = fs::remove_file(path);
            (kernels, bytes) = (kernels - 1, bytes - size);
        }
    }
}

/// Bytes of the system's memory that can be had without taking them from anybody.
fn free_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

/// SHA-256 of a file.
fn hash(file: &File) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    let mut at = 0;
    loop {
        match file.read_at(&mut chunk, at)? {
            0 => return Ok(hash.finalize().into()),
            read => {
                hash.update(chunk.get(..read).unwrap_or_default());
                at += read as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    struct Fixture {
        root: tempfile::TempDir,
        cache: Arc<KernelCache>,
    }

    impl Fixture {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let cache = KernelCache::new(root.path().join("a/kernels"), Duration::ZERO);
            Self { root, cache }
        }

        /// A bzImage; `mark` makes it another one.
        fn bzimage(&self, mark: u8) -> File {
            let path = self.root.path().join(format!("kernel{mark}"));
            fs::write(&path, kernel_image::testing::example(&[mark; 5000])).unwrap();
            File::open(path).unwrap()
        }

        fn kept(&self) -> usize {
            fs::read_dir(&self.cache.directory).map_or(0, Iterator::count)
        }
    }

    #[test]
    fn what_is_kept_is_found_by_its_content_alone() {
        let f = Fixture::new();
        assert!(f.cache.find(&f.bzimage(1)).unwrap().is_none());
        let path = f.cache.keep(&f.bzimage(1)).unwrap().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let mut kept = f.cache.find(&f.bzimage(1)).unwrap().unwrap();
        let mut image = vec![0; kept.len as usize];
        io::Read::read_exact(kept.image().unwrap(), &mut image).unwrap();
        assert_eq!(image, [1; 5000]);
        assert!(f.cache.find(&f.bzimage(2)).unwrap().is_none());
        f.cache.keep(&f.bzimage(1)).unwrap().unwrap();
        assert_eq!(f.kept(), 1);
    }

    #[test]
    fn a_kernel_that_was_not_there_is_kept_behind_the_starts_back() {
        let f = Fixture::new();
        assert!(f.cache.get(&f.bzimage(1)).is_none());
        while f.cache.find(&f.bzimage(1)).unwrap().is_none() {
            std::thread::yield_now();
        }
        assert!(f.cache.get(&f.bzimage(2)).is_none());
        assert_eq!(f.kept(), 1, "one kernel for each worker");
    }

    #[test]
    fn a_damaged_file_is_removed_and_a_directory_of_others_not_used() {
        let f = Fixture::new();
        let path = f.cache.keep(&f.bzimage(1)).unwrap().unwrap();
        fs::write(&path, "half").unwrap();
        assert!(f.cache.find(&f.bzimage(1)).is_err());
        assert!(f.cache.find(&f.bzimage(1)).unwrap().is_none());
        let open = fs::Permissions::from_mode(0o770);
        fs::set_permissions(&f.cache.directory, open).unwrap();
        assert!(f.cache.find(&f.bzimage(1)).is_err() && f.cache.keep(&f.bzimage(1)).is_err());
    }

    #[test]
    fn what_is_no_kernel_leaves_nothing() {
        let f = Fixture::new();
        let path = f.root.path().join("text");
        fs::write(&path, "text").unwrap();
        let error = f.cache.keep(&File::open(path).unwrap()).unwrap_err();
        assert!(error.to_string().contains("no bzImage"), "{error:#}");
        assert_eq!(f.kept(), 0);
    }

    #[test]
    fn the_kernels_used_last_stay() {
        let f = Fixture::new();
        for mark in 0..=KERNELS_MAX as u8 {
            let path = f.cache.keep(&f.bzimage(mark)).unwrap().unwrap();
            let old = SystemTime::UNIX_EPOCH + Duration::from_secs(mark.into());
            File::open(path).unwrap().set_modified(old).unwrap();
            // The first one is in use.
            f.cache.find(&f.bzimage(0)).unwrap().unwrap();
        }
        assert_eq!(f.kept(), KERNELS_MAX);
        assert!(f.cache.find(&f.bzimage(0)).unwrap().is_some());
        assert!(f.cache.find(&f.bzimage(1)).unwrap().is_none());
    }
}
