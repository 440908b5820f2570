//! The parent OS: Debian trixie in one raw ext4 image.
//!
//! Two stages, so that a change of ours costs seconds. The base (mmdebstrap, `image/parent/packages`
//! and `customize.sh`) is an archive in the cache. The image is that archive with the kernel's modules,
//! `image/parent/overlay/`, the stack's programs, the unpacked kernels of children that come with it, and the user's ssh keys
//! laid over it.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::cache::{Key, need_space};
use crate::context::Context;
use crate::debian::{Bootstrap, RELEASE, Variant, package_list};
use crate::kernel::Kernel;
use crate::layers::Layers;
use crate::step::Step;
use harness::Toolbox;

/// The image's size. It is sparse: on disk it takes what is in it.
const SIZE: &str = "3G";
/// The file in the cache entry of the base.
const ARCHIVE: &str = "base.tar";

/// What the image is made of.
pub struct Parts<'a> {
    /// The archive that [`base`] made.
    pub base: &'a Path,
    /// Its modules go in.
    pub kernel: &'a Kernel,
    /// The stack's programs.
    pub programs: &'a [PathBuf],
    /// Directory of unpacked kernels, as if the workers had met them before.
    pub kernels: &'a Path,
}

/// Makes `out/parent/rootfs.img`, unless it is there already and made from the same inputs.
pub fn build(context: &Context, toolbox: &Toolbox, parts: &Parts<'_>) -> Result<PathBuf> {
    let image = context.out.join("parent/rootfs.img");
    let stamp = context.out.join("parent/.rootfs.key");
    let layers = layers(context, parts)?;
    let key = layers.key(Key::new(1).text(SIZE).text(&parts.base.display().to_string())).name();
    if image.exists() && fs::read_to_string(&stamp).is_ok_and(|old| old == key) {
        return Ok(image);
    }
    let step = Step::begin(context, "rootfs", "writing the parent OS's image")?;
    let partial = context.out.join("parent/rootfs.partial");
    need_space(&context.out, 1500, "the parent OS's image")?;
    write(&step, toolbox, parts.base, &layers, &partial)?;
    let _ = fs::remove_file(&stamp);
    fs::rename(&partial, &image)?;
    fs::write(&stamp, key)?;
    step.done();
    Ok(image)
}

/// The archive of the system without anything of ours. It needs nothing that is built here.
pub fn base(context: &Context) -> Result<PathBuf> {
    let packages = package_list(&context.file("image/parent/packages"))?;
    let script_path = context.file("image/parent/customize.sh");
    let script =
        fs::read_to_string(&script_path).context("cannot read image/parent/customize.sh")?;
    let key = Key::new(1).text(RELEASE).text(&packages.join(" ")).text(&script);
    let entry = context.cache.entry("rootfs", &key, |partial| {
        need_space(partial, 2500, "making the parent OS")?;
        let step = Step::begin(context, "rootfs-base", "making the parent OS")?;
        let bootstrap = Bootstrap::new(Variant::Apt, &packages).customize(script);
        bootstrap.run(context, &step, &partial.join(ARCHIVE))?;
        step.done();
        Ok(())
    })?;
    Ok(entry.join(ARCHIVE))
}

fn layers(context: &Context, parts: &Parts<'_>) -> Result<Layers> {
    let mut layers = Layers::new();
    layers.tree(Path::new("usr/lib/modules"), &parts.kernel.modules().join("lib/modules"))?;
    layers.tree(Path::new(""), &context.file("image/parent/overlay"))?;
    for program in parts.programs {
        let name = program.file_name().context("a program without a name")?;
        layers.copy(Path::new("usr/local/bin").join(name), program)?;
    }
    layers.tree(Path::new("var/cache/zemin/kernels"), parts.kernels)?;
    let keys = ssh_keys();
    if !keys.is_empty() {
        layers.file("root/.ssh/authorized_keys", keys.into_bytes(), 0o600);
    }
    Ok(layers)
}

/// The public keys of whoever builds the image, so that `ssh` into the parent just works.
fn ssh_keys() -> String {
    let Some(home) = std::env::var_os("HOME") else { return String::new() };
    let Ok(found) = fs::read_dir(Path::new(&home).join(".ssh")) else { return String::new() };
    let mut paths: Vec<_> = found.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let keys =
        paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "pub"));
    keys.filter_map(|path| fs::read_to_string(path).ok())
        .map(|key| format!("{}\n", key.trim()))
        .collect()
}

fn write(step: &Step, toolbox: &Toolbox, base: &Path, layers: &Layers, image: &Path) -> Result<()> {
    if image.exists() {
        fs::remove_file(image)?;
    }
    let mut command = mkfs(toolbox, image);
    let log = File::options().append(true).open(step.log())?;
    let mut child = command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log).spawn()?;
    let pipe = child.stdin.take().context("mke2fs has no input")?;
    let base = BufReader::new(
        File::open(base).with_context(|| format!("cannot open {}", base.display()))?,
    );
    let written = layers.write(base, std::io::BufWriter::with_capacity(1 << 20, pipe));
    if !child.wait()?.success() {
        bail!("mke2fs failed: see {}", step.log().display());
    }
    written
}

fn mkfs(toolbox: &Toolbox, image: &Path) -> Command {
    let mut command = toolbox.command("usr/sbin/mke2fs");
    command
        .env("MKE2FS_CONFIG", toolbox.root().join("etc/mke2fs.conf"))
        .env("SOURCE_DATE_EPOCH", "0");
    command.args([
        "-q",
        "-F",
        "-t",
        "ext4",
        "-L",
        "zemin-parent",
        "-E",
        "root_owner=0:0",
        "-d",
        "-",
    ]);
    command.arg(image).arg(SIZE);
    command
}
