//! `doctor`: what this machine has and lacks to build and run Zemin, in plain words.

use std::process::Command;

use anyhow::{Result, bail};

use crate::cache::free_mib;
use crate::context::{Context, is_root};
use crate::qemu;
use crate::step::output;
use crate::target::Freestanding;

/// What a build from an empty cache takes at its peak.
const SPACE_MIB: u64 = 12_000;

struct Finding {
    good: bool,
    what: &'static str,
    detail: String,
}

/// Prints what was found; an error if something stands in the way of a build.
pub fn run(context: &Context) -> Result<()> {
    let findings = [
        rust(),
        linker(),
        target(),
        mmdebstrap(),
        namespaces(),
        emulator(),
        space(context),
        cache(context)?,
    ];
    for Finding { good, what, detail } in &findings {
        println!("{} {what:24} {detail}", if *good { "ok  " } else { "LACK" });
    }
    match findings.iter().filter(|finding| !finding.good).count() {
        0 => Ok(()),
        lacking => {
            bail!("{lacking} of these must be put right before `cargo xtask build` can succeed")
        }
    }
}

fn finding(what: &'static str, state: Result<String, String>) -> Finding {
    match state {
        Ok(detail) => Finding { good: true, what, detail },
        Err(detail) => Finding { good: false, what, detail },
    }
}

fn rust() -> Finding {
    let version = output(Command::new("rustc").arg("--version"));
    finding("Rust", version.map(|text| text.trim().to_owned()).map_err(|error| error.to_string()))
}

fn linker() -> Finding {
    let found = which::which("cc").map(|path| path.display().to_string());
    finding("C linker", found.map_err(|_| "no cc: apt-get install gcc libc6-dev".to_owned()))
}

fn target() -> Finding {
    let state = match Freestanding::present() {
        Ok(Some(way)) => Ok(way.describe().to_owned()),
        Ok(None) => Ok("not there; the build asks rustup, then Debian's rust-src".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    finding("freestanding target", state)
}

fn mmdebstrap() -> Finding {
    let state = match which::which("mmdebstrap") {
        Ok(path) => Ok(path.display().to_string()),
        Err(_) if is_root() && which::which("apt-get").is_ok() => {
            Ok("not there; the build installs it".to_owned())
        }
        Err(_) => {
            Err("apt-get install mmdebstrap uidmap debian-archive-keyring (as root)".to_owned())
        }
    };
    finding("mmdebstrap", state)
}

/// Users work in user namespaces, root in mount namespaces.
fn namespaces() -> Finding {
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let state = output(command.arg("true"));
    let who = if is_root() { "root may unshare" } else { "this user may unshare" };
    finding(
        "namespaces",
        state
            .map(|_| who.to_owned())
            .map_err(|error| format!("{error}: run as root, or allow user namespaces")),
    )
}

fn emulator() -> Finding {
    let detail = match qemu::version("qemu-system-x86_64") {
        Ok(version) if version >= qemu::OLDEST => format!("the host's QEMU {version}"),
        Ok(version) => format!("the host's QEMU {version} is too old; the build fetches its own"),
        Err(_) => "the host has none; the build fetches its own".to_owned(),
    };
    finding("emulator", Ok(detail))
}

fn space(context: &Context) -> Finding {
    let needed = if context.cache.list().is_ok_and(|entries| entries.is_empty()) {
        SPACE_MIB
    } else {
        SPACE_MIB / 4
    };
    let state = match free_mib(context.cache.root()) {
        Ok(free) if free >= needed => Ok(format!("{free} MiB free for the cache")),
        Ok(free) => {
            Err(format!("{free} MiB free in {}, {needed} needed", context.cache.root().display()))
        }
        Err(error) => Err(error.to_string()),
    };
    finding("disk space", state)
}

fn cache(context: &Context) -> Result<Finding> {
    let entries = context.cache.list()?;
    let names = entries
        .iter()
        .filter_map(|entry| entry.path.file_name())
        .map(|name| name.to_string_lossy().into_owned());
    let names = names.collect::<Vec<_>>().join(" ");
    Ok(finding("cache", Ok(format!("{}: {names}", context.cache.root().display()))))
}
