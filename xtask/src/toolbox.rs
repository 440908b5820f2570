//! Roots full of Debian's programs, under the cache directory, and ways to run what is in them.
//!
//! All files of a root belong to the user who made it, so that removing it needs no privileges.
//! Single programs are run in place by the root's own dynamic loader, which sees the host's files
//! and needs no privileges at all. What starts programs of its own (a compiler, make) runs
//! chrooted, inside a mount namespace where a work directory appears as `/work`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::cache::{Key, need_space};
use crate::context::{Context, is_root};
use crate::debian::{Bootstrap, RELEASE, Variant, package_list};
use crate::step::Step;

const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// Enters the root `$1` with `$2` as `/work` and runs the rest there.
const ENTER: &str = r#"root=$1; work=$2; shift 2
mkdir -p "$root/work" "$root/dev" "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /proc "$root/proc"
mount --bind "$work" "$root/work"
exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C HOME=/work "$@""#;

/// A root in the cache.
#[derive(Clone)]
pub struct Toolbox {
    root: PathBuf,
}

impl Toolbox {
    /// The toolbox with the tools of `image/toolbox/packages`.
    pub fn tools(context: &Context) -> Result<Self> {
        let packages = package_list(&context.file("image/toolbox/packages"))?;
        let bootstrap = Bootstrap::new(Variant::Apt, &packages);
        Self::make(context, "toolbox", "making the toolbox", &packages, &bootstrap, 2500)
    }

    /// A root with nothing but QEMU.
    pub fn qemu(context: &Context) -> Result<Self> {
        let packages = ["qemu-system-x86", "qemu-utils"].map(str::to_owned);
        let bootstrap = Bootstrap::new(Variant::Extract, &packages);
        Self::make(context, "qemu", "fetching QEMU", &packages, &bootstrap, 1000)
    }

    fn make(
        context: &Context,
        kind: &str,
        title: &str,
        packages: &[String],
        bootstrap: &Bootstrap,
        mib: u64,
    ) -> Result<Self> {
        let key = Key::new(1).text(RELEASE).text(&packages.join(" "));
        let root = context.cache.entry(kind, &key, |partial| {
            need_space(partial, mib, title)?;
            let step = Step::begin(context, kind, title)?;
            let archive = partial.with_extension("tar");
            bootstrap.run(context, &step, &archive)?;
            step.run(&mut unpack(&archive, partial))?;
            std::fs::remove_file(&archive)?;
            step.done();
            Ok(())
        })?;
        Ok(Self { root })
    }

    /// Where the root is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The words that begin a command which runs `program` (a path inside the root) in place.
    pub fn words(&self, program: &str) -> Vec<String> {
        let path = |inside: &str| self.root.join(inside).display().to_string();
        let loader = path("usr/lib64/ld-linux-x86-64.so.2");
        vec![loader, "--library-path".to_owned(), path(LIBRARIES), path(program)]
    }

    /// A command that runs `program` (a path inside the root) in place, on the host's files.
    pub fn command(&self, program: &str) -> Command {
        let words = self.words(program);
        let mut words = words.iter();
        let mut command = Command::new(words.next().map(String::as_str).unwrap_or_default());
        command.args(words);
        command
    }

    /// A command that runs `words` inside the root, with `work` as `/work`.
    pub fn enter(&self, work: &Path, words: &[&str]) -> Command {
        // If this process is killed, nothing of what it started in the root goes on.
        let mut command = Command::new("setpriv");
        command.args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
        ]);
        if !is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--", "sh", "-euc", ENTER, "sh"]).arg(&self.root).arg(work).args(words);
        command
    }
}

/// Unpacks a root so that everything belongs to us; device nodes come from the host's `/dev`.
pub fn unpack(archive: &Path, into: &Path) -> Command {
    let mut command = Command::new("tar");
    command.arg("-xf").arg(archive).arg("-C").arg(into);
    command.args(["--no-same-owner", "--no-same-permissions", "--exclude=./dev/*"]);
    command
}

/// Reads a file of a root that must be there.
pub fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
