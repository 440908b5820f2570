//! Roots full of Debian's programs, made under the cache directory.
//!
//! All files of a root belong to the user who made it, so that removing it needs no privileges. How programs are run
//! in one: [`harness::Toolbox`].

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use harness::Toolbox;

use crate::cache::{Key, need_space};
use crate::context::Context;
use crate::debian::{Bootstrap, RELEASE, Variant, package_list};
use crate::step::Step;

/// The toolbox with the tools of `image/toolbox/packages`.
pub fn tools(context: &Context) -> Result<Toolbox> {
    let packages = package_list(&context.file("image/toolbox/packages"))?;
    make(context, "toolbox", "making the toolbox", Variant::Apt, &packages, 2500)
}

/// A root with nothing but QEMU.
pub fn qemu(context: &Context) -> Result<Toolbox> {
    let packages = ["qemu-system-x86", "qemu-utils"].map(str::to_owned);
    make(context, "qemu", "fetching QEMU", Variant::Extract, &packages, 1000)
}

fn make(
    context: &Context,
    kind: &str,
    title: &str,
    variant: Variant,
    packages: &[String],
    mib: u64,
) -> Result<Toolbox> {
    let key = Key::new(1).text(RELEASE).text(&packages.join(" "));
    let root = context.cache.entry(kind, &key, |partial| {
        need_space(partial, mib, title)?;
        let step = Step::begin(context, kind, title)?;
        let archive = partial.with_extension("tar");
        Bootstrap::new(variant, packages).run(context, &step, &archive)?;
        step.run(&mut unpack(&archive, partial))?;
        std::fs::remove_file(&archive)?;
        step.done();
        Ok(())
    })?;
    Ok(Toolbox::at(root))
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
