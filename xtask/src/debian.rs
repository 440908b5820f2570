//! Debian's packages, fetched with mmdebstrap: the only host tool that the build cannot do without.
//!
//! Everything comes from the trixie release and its backports, whatever the host runs, and lands in a
//! tar file; the host's own packages and apt sources are left alone. Root and ordinary users get the
//! same result: users through mmdebstrap's `unshare` mode.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};

use crate::context::{Context, is_root};
use crate::step::Step;

/// The release that the toolbox, the kernel source and the parent OS are taken from.
pub const RELEASE: &str = "trixie";

/// Adds the backports suite beside the release, at whatever mirror mmdebstrap chose.
const ADD_BACKPORTS: &str = r#"sed -n 's/ trixie main/ trixie-backports main/p' "$1/etc/apt/sources.list" > "$1/etc/apt/sources.list.d/backports.list""#;

/// How much of a system mmdebstrap makes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// The named packages and what they depend on, unpacked and not configured.
    Extract,
    /// Essential packages, apt, and the named ones.
    Apt,
}

/// One call of mmdebstrap.
pub struct Bootstrap {
    variant: Variant,
    packages: Vec<String>,
    hooks: Vec<String>,
}

impl Bootstrap {
    /// A system of `variant` with `packages` (names or apt patterns).
    pub fn new(variant: Variant, packages: &[String]) -> Self {
        Self { variant, packages: packages.to_vec(), hooks: Vec::new() }
    }

    /// A shell script that runs when everything is installed; `$1` is the system's root.
    pub fn customize(mut self, script: String) -> Self {
        self.hooks.push(script);
        self
    }

    /// Makes the tar file `out`.
    pub fn run(&self, context: &Context, step: &Step, out: &Path) -> Result<()> {
        let program = mmdebstrap(context)?;
        let outcome = step.run(&mut self.command(&program, out));
        outcome.map_err(|error| match explain(&format!("{error:#}")) {
            Some(advice) => error.context(advice),
            None => error,
        })
    }

    fn command(&self, program: &Path, out: &Path) -> Command {
        // It tidies up behind itself when this process is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--"]).arg(program);
        command.arg(if is_root() { "--mode=root" } else { "--mode=unshare" });
        command.arg(match self.variant {
            Variant::Extract => "--variant=extract",
            Variant::Apt => "--variant=apt",
        });
        command.args([
            "--format=tar",
            "--aptopt=Acquire::Retries \"3\"",
            "--aptopt=APT::Install-Recommends \"false\"",
        ]);
        for path in ["doc/*", "man/*", "locale/*", "info/*"] {
            command.arg(format!("--dpkgopt=path-exclude=/usr/share/{path}"));
        }
        // The result is renamed into place when it is complete: nothing needs to reach the disk before.
        command.arg("--dpkgopt=force-unsafe-io");
        command.arg(format!("--setup-hook={ADD_BACKPORTS}"));
        command.args(self.hooks.iter().map(|hook| format!("--customize-hook={hook}")));
        command.arg(format!("--include={}", self.packages.join(",")));
        command.arg(RELEASE).arg(out);
        command.args(std::env::var("ZEMIN_MIRROR").ok());
        command.env("SOURCE_DATE_EPOCH", "0").env("LC_ALL", "C.UTF-8");
        command
    }
}

/// Reads a list of packages: one a line, `#` begins a comment.
pub fn package_list(path: &Path) -> Result<Vec<String>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(parse_package_list(&text))
}

fn parse_package_list(text: &str) -> Vec<String> {
    let names = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Finds mmdebstrap; as root on a Debian-like system, installs it.
fn mmdebstrap(context: &Context) -> Result<PathBuf> {
    // Of steps that run beside each other one installs it, and the others find it.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if which::which("mmdebstrap").is_err() {
        install(context, "mmdebstrap", FOR_IMAGES)?;
    }
    if !Path::new("/usr/share/keyrings/debian-archive-keyring.gpg").exists() {
        install(context, "debian-archive-keyring", FOR_IMAGES)?;
    }
    if !is_root() && which::which("newuidmap").is_err() {
        bail!("an ordinary user needs newuidmap: `apt-get install uidmap` as root, or run as root");
    }
    Ok(which::which("mmdebstrap")?)
}

/// Packages of the host that an ordinary user needs for images.
const FOR_IMAGES: &str = "mmdebstrap uidmap debian-archive-keyring";

/// As root on a Debian-like system, installs a package of the host; others are told to install `all`.
pub fn install(context: &Context, package: &str, all: &str) -> Result<()> {
    if !is_root() {
        bail!("{package} is missing: `apt-get install {all}` as root, then run this again");
    }
    if which::which("apt-get").is_err() {
        bail!("{package} is missing, and there is no apt-get to install it with");
    }
    let step =
        Step::begin(context, "host-packages", &format!("installing {package} on this host"))?;
    let apt = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(words);
        step.run(&mut command)
    };
    if apt(&["install", "-y", "--no-install-recommends", package]).is_err() {
        apt(&["update"])?;
        apt(&["install", "-y", "--no-install-recommends", package])?;
    }
    step.done();
    Ok(())
}

/// Plain words for the usual ways in which mmdebstrap fails.
fn explain(output: &str) -> Option<&'static str> {
    const KNOWN: [(&str, &str); 8] = [
        ("Temporary failure resolving", "no network: the package mirror's name does not resolve"),
        (
            "Could not connect",
            "no network: the package mirror does not answer (ZEMIN_MIRROR names another one)",
        ),
        (
            "Connection timed out",
            "no network: the package mirror does not answer (ZEMIN_MIRROR names another one)",
        ),
        (
            "No space left on device",
            "the disk is full (mmdebstrap works in TMPDIR, the results go to ZEMIN_CACHE)",
        ),
        (
            "unprivileged_userns_clone",
            "this system denies user namespaces to ordinary users: run as root, or allow them (sysctl kernel.unprivileged_userns_clone=1)",
        ),
        (
            "apparmor_restrict_unprivileged_userns",
            "this system denies user namespaces to ordinary users: run as root, or allow them (sysctl kernel.apparmor_restrict_unprivileged_userns=0)",
        ),
        (
            "/etc/subuid",
            "this user has no subordinate ids: `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER` as root, or run as root",
        ),
        (
            "NO_PUBKEY",
            "the host's debian-archive-keyring is too old for trixie: upgrade that package",
        ),
    ];
    KNOWN.iter().find(|(sign, _)| output.contains(sign)).map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_lists_may_have_comments_and_blank_lines() {
        assert_eq!(parse_package_list("# tools\n\ngcc\n  make # builds\n"), ["gcc", "make"]);
    }

    #[test]
    fn lost_network_is_explained() {
        let advice =
            explain("E: Failed to fetch: Temporary failure resolving 'mirror'").expect("known");
        assert!(advice.starts_with("no network"), "{advice}");
        assert!(explain("E: something else").is_none());
    }
}
