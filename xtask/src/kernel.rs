//! The root kernel: Debian's newest `linux-source`, unmodified, with `image/parent/kernel.config`.
//!
//! Two cache entries. The source is whatever Debian's backports offered when it was fetched (`build
//! --refresh` looks again); the kernel is keyed by that version, the configuration and the build script.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::cache::{Key, need_space, remove_tree};
use crate::context::Context;
use crate::debian::{Bootstrap, RELEASE, Variant};
use crate::step::Step;
use crate::toolbox::{read, unpack};
use harness::Toolbox;

/// The first version whose sources have `CONFIG_MSHV_ROOT`.
const OLDEST: (u32, u32) = (6, 15);

/// A built kernel: `vmlinuz`, `config`, `System.map`, `release`, `modules/`, and `headers/` to build
/// modules against.
pub struct Kernel {
    /// The cache entry.
    pub directory: PathBuf,
}

impl Kernel {
    /// Builds the kernel, or finds it in the cache.
    pub fn build(context: &Context, toolbox: &Toolbox) -> Result<Self> {
        let source = source(context)?;
        let version = read(&source.join("version"))?;
        let script = context.file("image/parent/build-kernel.sh");
        let config = context.file("image/parent/kernel.config");
        let key = Key::new(1).text(&version).file(&script)?.file(&config)?;
        let directory = context.cache.entry("kernel", &key, |partial| {
            need_space(partial, 5000, "building the root kernel")?;
            let step = Step::begin(
                context,
                "kernel",
                &format!("building the root kernel {}", version.trim()),
            )?;
            fs::copy(&script, partial.join("build-kernel.sh"))?;
            fs::copy(&config, partial.join("kernel.config"))?;
            fs::hard_link(source.join("linux-source.tar.xz"), partial.join("linux-source.tar.xz"))?;
            step.run(&mut toolbox.enter(partial, &["sh", "/work/build-kernel.sh"]))?;
            keep_result(partial)?;
            step.done();
            Ok(())
        })?;
        Ok(Self { directory })
    }

    /// The bootable image.
    pub fn image(&self) -> PathBuf {
        self.directory.join("vmlinuz")
    }

    /// Where `lib/modules` is.
    pub fn modules(&self) -> PathBuf {
        self.directory.join("modules")
    }

    /// The release string, as `uname -r` says.
    pub fn release(&self) -> Result<String> {
        Ok(read(&self.directory.join("release"))?.trim().to_owned())
    }
}

/// Leaves nothing in the entry but `result/`'s content.
fn keep_result(partial: &Path) -> Result<()> {
    for found in fs::read_dir(partial)? {
        let found = found?;
        if found.file_name() != "result" {
            match found.file_type()?.is_dir() {
                true => remove_tree(&found.path())?,
                false => fs::remove_file(found.path())?,
            }
        }
    }
    for found in fs::read_dir(partial.join("result"))? {
        let found = found?;
        fs::rename(found.path(), partial.join(found.file_name()))?;
    }
    fs::remove_dir(partial.join("result"))?;
    Ok(())
}

/// The entry with `linux-source.tar.xz` and `version`.
fn source(context: &Context) -> Result<PathBuf> {
    context.cache.entry("kernel-source", &source_key(), |partial| {
        need_space(partial, 1500, "fetching the kernel's source")?;
        let step = Step::begin(context, "kernel-source", "fetching the root kernel's source")?;
        let archive = partial.with_extension("tar");
        let packages = [format!("linux-source/{RELEASE}-backports")];
        Bootstrap::new(Variant::Extract, &packages).run(context, &step, &archive)?;
        let unpacked = partial.join("root");
        fs::create_dir(&unpacked)?;
        step.run(
            unpack(&archive, &unpacked).args(["--wildcards", "./usr/src/linux-source-*.tar.xz"]),
        )?;
        fs::remove_file(&archive)?;
        let (path, version) = newest(&unpacked.join("usr/src"))?;
        fs::rename(path, partial.join("linux-source.tar.xz"))?;
        fs::write(partial.join("version"), version)?;
        remove_tree(&unpacked)?;
        step.done();
        Ok(())
    })
}

/// The kernel's source, `linux-source.tar.xz`.
pub fn archive(context: &Context) -> Result<PathBuf> {
    Ok(source(context)?.join("linux-source.tar.xz"))
}

fn source_key() -> Key {
    Key::new(1).text(RELEASE)
}

/// Forgets which source was fetched, so that the next build looks for a newer one.
pub fn refresh(context: &Context) -> Result<()> {
    remove_tree(&context.cache.path("kernel-source", &source_key()))
}

fn newest(directory: &Path) -> Result<(PathBuf, String)> {
    let mut best: Option<((u32, u32), PathBuf)> = None;
    for found in fs::read_dir(directory)? {
        let path = found?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(version) = version_of(&name)
            && best.as_ref().is_none_or(|(other, _)| version > *other)
        {
            best = Some((version, path));
        }
    }
    let ((major, minor), path) = best.context("Debian's package has no linux-source-*.tar.xz")?;
    if (major, minor) < OLDEST {
        bail!(
            "the newest kernel source is {major}.{minor}, but CONFIG_MSHV_ROOT begins with {}.{}",
            OLDEST.0,
            OLDEST.1
        );
    }
    let digest = Key::new(1).file(&path)?.name();
    Ok((path, format!("{major}.{minor} ({digest})\n")))
}

/// The version in `linux-source-7.3.tar.xz`.
fn version_of(name: &str) -> Option<(u32, u32)> {
    let (major, minor) =
        name.strip_prefix("linux-source-")?.strip_suffix(".tar.xz")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_read_from_the_file_name() {
        assert_eq!(version_of("linux-source-7.3.tar.xz"), Some((7, 3)));
        assert_eq!(version_of("linux-source-6.15.tar.xz"), Some((6, 15)));
        assert_eq!(version_of("linux-patch-7.3-rt.patch.xz"), None);
    }

    #[test]
    fn kernel_older_than_the_root_partition_driver_is_refused() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::write(directory.path().join("linux-source-6.12.tar.xz"), "").expect("written");
        let error = newest(directory.path()).expect_err("too old");
        assert!(error.to_string().contains("6.15"), "{error}");
        fs::write(directory.path().join("linux-source-7.3.tar.xz"), "").expect("written");
        assert!(newest(directory.path()).expect("new enough").1.starts_with("7.3"));
    }
}
