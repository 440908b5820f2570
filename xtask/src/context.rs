//! Where things are: the tree, its `out/`, and the cache outside the tree.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::cache::Cache;

/// What every step needs to know.
#[derive(Clone)]
pub struct Context {
    /// The workspace's root.
    pub root: PathBuf,
    /// `out/`: what `build` leaves for people and scripts.
    pub out: PathBuf,
    /// Results of the long steps, keyed by their inputs.
    pub cache: Cache,
}

impl Context {
    /// Finds the directories and creates those that are ours.
    pub fn new() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask has no parent directory")?;
        let out = root.join("out");
        std::fs::create_dir_all(out.join("logs"))
            .with_context(|| format!("cannot create {}", out.display()))?;
        Ok(Self { root: root.to_owned(), out, cache: Cache::open(cache_directory()?)? })
    }

    /// A file of the tree.
    pub fn file(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

fn cache_directory() -> Result<PathBuf> {
    let variable =
        |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = variable("ZEMIN_CACHE") {
        return Ok(std::path::absolute(path)?);
    }
    if let Some(path) = variable("XDG_CACHE_HOME") {
        return Ok(path.join("zemin"));
    }
    let home = variable("HOME")
        .context("neither ZEMIN_CACHE, XDG_CACHE_HOME nor HOME says where to keep built images")?;
    Ok(home.join(".cache/zemin"))
}

/// Whether this process is root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
