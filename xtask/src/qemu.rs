//! Which QEMU to use: `ZEMIN_QEMU`, the host's if it is new enough, or one of our own.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::context::Context;
use crate::step::output;
use crate::toolbox;
use harness::Toolbox;

/// Older releases emulate AMD-V so that its guests hang.
pub const OLDEST: u32 = 10;

const PROGRAM: &str = "qemu-system-x86_64";

/// How to start QEMU.
pub struct Qemu {
    /// The words that begin the command.
    pub words: Vec<String>,
    /// Environment variables that it needs.
    pub environment: BTreeMap<String, String>,
    /// Where it comes from, in words.
    pub origin: String,
}

impl Qemu {
    /// Finds QEMU, or fetches it.
    pub fn prepare(context: &Context) -> Result<Self> {
        if let Ok(program) = std::env::var("ZEMIN_QEMU") {
            let version = version(&program)?;
            if version < OLDEST {
                bail!(
                    "ZEMIN_QEMU is QEMU {version}; AMD-V guests hang under anything older than {OLDEST}"
                );
            }
            return Ok(Self::host(&program, version));
        }
        match version(PROGRAM) {
            Ok(version) if version >= OLDEST => Ok(Self::host(PROGRAM, version)),
            _ => Ok(Self::own(&toolbox::qemu(context)?)),
        }
    }

    fn host(program: &str, version: u32) -> Self {
        let origin = format!("the host's QEMU {version}");
        Self { words: vec![program.to_owned()], environment: BTreeMap::new(), origin }
    }

    fn own(root: &Toolbox) -> Self {
        let path = |inside: &str| root.root().join(inside).display().to_string();
        let mut words = root.words(&format!("usr/bin/{PROGRAM}"));
        for data in ["usr/share/qemu", "usr/share/seabios"] {
            words.extend(["-L".to_owned(), path(data)]);
        }
        let modules = path("usr/lib/x86_64-linux-gnu/qemu");
        let environment = BTreeMap::from([("QEMU_MODULE_DIR".to_owned(), modules)]);
        Self {
            words,
            environment,
            origin: format!("QEMU of Debian {}, in the cache", crate::debian::RELEASE),
        }
    }
}

/// The major version of `program`.
pub fn version(program: &str) -> Result<u32> {
    let text = output(Command::new(program).arg("--version"))?;
    parse_version(&text).with_context(|| format!("{program} does not tell its version"))
}

fn parse_version(text: &str) -> Option<u32> {
    text.split("version ").nth(1)?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_read_from_what_qemu_says() {
        assert_eq!(
            parse_version("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright"),
            Some(10)
        );
        assert_eq!(parse_version("QEMU emulator version 7.2.17"), Some(7));
        assert_eq!(parse_version("something else"), None);
    }
}
