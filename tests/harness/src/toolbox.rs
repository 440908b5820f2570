//! Programs of a Debian root in the cache, run without installing anything on the host.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Enters the root `$1` with `$2` as `/work` and runs the rest there.
const ENTER: &str = r#"root=$1; work=$2; shift 2
mkdir -p "$root/work" "$root/dev" "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /proc "$root/proc"
mount --bind "$work" "$root/work"
exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C HOME=/work "$@""#;

/// A root full of programs; all of its files belong to the user who made it.
#[derive(Clone, Debug)]
pub struct Toolbox {
    root: PathBuf,
}

impl Toolbox {
    /// The one at `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The words that begin a command which runs `program` (a path inside the root) in place: the root's own
    /// dynamic loader starts it, so that it sees the host's files and needs no privileges at all.
    pub fn words(&self, program: &str) -> Vec<String> {
        let path = |inside: &str| self.root.join(inside).display().to_string();
        let loader = path("usr/lib64/ld-linux-x86-64.so.2");
        let libraries = path("usr/lib/x86_64-linux-gnu");
        vec![loader, "--library-path".to_owned(), libraries, path(program)]
    }

    /// A command that runs `program` in place, on the host's files.
    pub fn command(&self, program: &str) -> Command {
        let words = self.words(program);
        let mut words = words.iter();
        let mut command = Command::new(words.next().map(String::as_str).unwrap_or_default());
        command.args(words);
        command
    }

    /// A command that runs `words` chrooted, with `work` as `/work`: for programs that start others.
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
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--", "sh", "-euc", ENTER, "sh"]).arg(&self.root).arg(work).args(words);
        command
    }
}
