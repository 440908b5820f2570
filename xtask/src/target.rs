//! The freestanding target, `x86_64-unknown-none`, by whichever way this machine offers.
//!
//! 1. The target's libraries are in the toolchain, or `rustup target add` can put them there.
//! 2. Otherwise `core` and `alloc` are compiled from the standard library's source: rustup's own, or
//!    Debian's `rust-src` package of the compiler's version, linked into the toolchain.
//!
//! `ZEMIN_TARGET=rustup|rust-src` forces one of them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use wait_timeout::ChildExt as _;

use crate::cache::{Key, need_space};
use crate::context::Context;
use crate::debian::{Bootstrap, RELEASE, Variant};
use crate::step::{Step, output, say};
use crate::toolbox::unpack;

/// The target's name.
pub const TRIPLE: &str = "x86_64-unknown-none";

/// How long rustup may try to reach its server.
const RUSTUP_LIMIT: Duration = Duration::from_secs(90);

/// How to compile for [`TRIPLE`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freestanding {
    /// With the libraries that rustup installed.
    Rustup,
    /// With libraries compiled on the spot from the standard library's source.
    RustSrc,
}

impl Freestanding {
    /// Chooses a way, and sets it up.
    pub fn prepare(context: &Context) -> Result<Self> {
        let sysroot = sysroot()?;
        let forced = std::env::var("ZEMIN_TARGET").ok();
        let way = match forced.as_deref() {
            None if installed(&sysroot) => Self::Rustup,
            None if has_source(&sysroot) || !rustup_adds_it(&sysroot) => Self::RustSrc,
            None => Self::Rustup,
            Some("rustup") if installed(&sysroot) || rustup_adds_it(&sysroot) => Self::Rustup,
            Some("rustup") => {
                bail!("`rustup target add {TRIPLE}` failed: is its server reachable?")
            }
            Some("rust-src") => Self::RustSrc,
            Some(other) => bail!("ZEMIN_TARGET is {other:?}; it may be `rustup` or `rust-src`"),
        };
        if way == Self::RustSrc && !has_source(&sysroot) {
            link_source(context, &sysroot)?;
        }
        Ok(way)
    }

    /// What [`Self::prepare`] would find without changing anything.
    pub fn present() -> Result<Option<Self>> {
        let sysroot = sysroot()?;
        Ok(match (installed(&sysroot), has_source(&sysroot)) {
            (true, _) => Some(Self::Rustup),
            (false, true) => Some(Self::RustSrc),
            (false, false) => None,
        })
    }

    /// In words.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Rustup => "the toolchain's own libraries",
            Self::RustSrc => "core and alloc compiled from the standard library's source",
        }
    }

    /// Adds what cargo must be told.
    pub fn apply(self, cargo: &mut Command) {
        cargo.args(["--target", TRIPLE]);
        if self == Self::RustSrc {
            cargo.env("RUSTC_BOOTSTRAP", "1");
            cargo.args([
                "-Zbuild-std=core,alloc,compiler_builtins",
                "-Zbuild-std-features=compiler-builtins-mem",
            ]);
        }
    }
}

fn sysroot() -> Result<PathBuf> {
    Ok(PathBuf::from(output(Command::new("rustc").args(["--print", "sysroot"]))?.trim()))
}

fn installed(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib").join(TRIPLE).join("lib").is_dir()
}

fn has_source(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/Cargo.lock").exists()
}

fn rustup_adds_it(sysroot: &Path) -> bool {
    say(&format!("asking rustup for the target {TRIPLE} ..."));
    let spawned = Command::new("rustup")
        .args(["target", "add", TRIPLE])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = spawned else { return false };
    match child.wait_timeout(RUSTUP_LIMIT) {
        Ok(Some(status)) => status.success() && installed(sysroot),
        _ => {
            let _ = child.kill();
            let _ = child.wait();
            false
        }
    }
}

/// Fetches Debian's `rust-src` of the compiler's version and links it where cargo looks for it.
fn link_source(context: &Context, sysroot: &Path) -> Result<()> {
    let version = compiler_version()?;
    let entry = context.cache.entry("rust-src", &Key::new(1).text(RELEASE).text(&version), |partial| {
        need_space(partial, 1500, "fetching the standard library's source")?;
        let step = Step::begin(context, "rust-src", &format!("fetching the source of Rust's {version} library"))?;
        let archive = partial.with_extension("tar");
        Bootstrap::new(Variant::Extract, &[format!("rust-src={version}*")])
            .run(context, &step, &archive)
            .with_context(|| format!("Debian {RELEASE} and its backports have no rust-src {version}, and rustup cannot add {TRIPLE}"))?;
        step.run(unpack(&archive, partial).args(["--wildcards", "--strip-components=4", "./usr/src/rustc-*/library"]))?;
        std::fs::remove_file(&archive)?;
        step.done();
        Ok(())
    })?;
    let link = sysroot.join("lib/rustlib/src/rust");
    if link.is_symlink() {
        std::fs::remove_file(&link)?;
    }
    std::fs::create_dir_all(sysroot.join("lib/rustlib/src"))
        .and_then(|()| std::os::unix::fs::symlink(&entry, &link))
        .with_context(|| {
            format!(
                "cannot link {} to the library's source; may this user write there?",
                link.display()
            )
        })
}

fn compiler_version() -> Result<String> {
    let text = output(Command::new("rustc").arg("--version"))?;
    Ok(text.split_whitespace().nth(1).context("rustc does not tell its version")?.to_owned())
}
