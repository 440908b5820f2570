//! What the tests of child partitions put into their parents, into `out/children/`:
//!
//! * `kernels/{stable,backports}/`: Debian's cloud kernels, untouched: `vmlinuz`, `release`, `modules/`;
//! * `debian.img`: an ext4 file system that holds a whole Debian on `debian.vhdx`, and its kernel and initrd
//!   (which also lie in `out/images/` as they are);
//! * `tools.img`: an ext4 file system with programs that look at disks and drive them (`image/child/tools`), which the
//!   Debian itself does without;
//! * `load`: work for guests (`tests/load`);
//! * `mshv-ioctls-tests`: the tests of the published crate `mshv-ioctls`, as it is in `Cargo.lock`.
//!
//! The programs are linked statically: they run in initial RAM file systems.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use harness::Toolbox;
use sha2::{Digest as _, Sha256};

use crate::cache::{Key, need_space, remove_tree};
use crate::context::Context;
use crate::debian::{Bootstrap, RELEASE, Variant, package_list};
use crate::kernel;
use crate::stack::HOST;
use crate::step::{Step, output, say};
use crate::toolbox::{self, read, unpack};
use crate::workspace::Workspace;

/// The crate whose own tests are run in the parent.
const IOCTLS: &str = "mshv-ioctls";

/// Directory of a cache entry: the kernel of that Debian, unpacked.
const KEPT: &str = "kernels";

/// Makes all of it. The result is the directory whose unpacked kernels the parent's workers shall know.
pub fn build(context: &Context, toolbox: &Toolbox) -> Result<PathBuf> {
    let directory = context.out.join("children");
    fs::create_dir_all(&directory)?;
    link(&kernels(context)?, &directory.join("kernels"))?;
    let debian = debian(context, toolbox)?;
    link(&debian.join("debian.img"), &directory.join("debian.img"))?;
    link(&debian.join("images"), &context.out.join("images"))?;
    let step = Step::begin(context, "children", "building the children's programs")?;
    step.run(cargo(context, toolbox).args(["build", "--release", "--package", "load"]))?;
    let load = Workspace::read(context)?.target.join(HOST).join("release/load");
    strip(&step, toolbox, &load, &directory.join("load"))?;
    let tests = ioctls(context, toolbox, &step)?;
    strip(&step, toolbox, &tests, &directory.join("mshv-ioctls-tests"))?;
    step.done();
    Ok(debian.join(KEPT))
}

/// Makes what only tests need.
pub fn for_tests(context: &Context, toolbox: &Toolbox) -> Result<()> {
    let name = "tools.img";
    link(&tools(context, toolbox)?.join(name), &context.out.join("children").join(name))
}

/// Forgets which kernels were fetched, so that the next build looks for newer ones.
pub fn refresh(context: &Context) -> Result<()> {
    remove_tree(&context.cache.path("child-kernels", &key()))
}

fn key() -> Key {
    Key::new(1).text(RELEASE)
}

/// The cache entry with both kernels.
fn kernels(context: &Context) -> Result<PathBuf> {
    context.cache.entry("child-kernels", &key(), |partial| {
        need_space(partial, 1500, "fetching the children's kernels")?;
        let step = Step::begin(context, "child-kernels", "fetching the children's kernels")?;
        let package = "linux-image-cloud-amd64";
        kernel(context, &step, package, &partial.join("stable"))?;
        let newest = format!("{package}/{RELEASE}-backports");
        kernel(context, &step, &newest, &partial.join("backports"))?;
        step.done();
        Ok(())
    })
}

/// Leaves `vmlinuz`, `release` and `modules/` of the kernel that `package` brings in `directory`.
fn kernel(context: &Context, step: &Step, package: &str, directory: &Path) -> Result<()> {
    let (archive, root) = (directory.with_extension("tar"), directory.with_extension("root"));
    Bootstrap::new(Variant::Extract, &[package.to_owned()]).run(context, step, &archive)?;
    fs::create_dir_all(&root)?;
    fs::create_dir_all(directory)?;
    step.run(&mut unpack(&archive, &root))?;
    fs::remove_file(&archive)?;
    let modules = only_directory(&root.join("usr/lib/modules"))?;
    let release = modules.file_name().context("a release")?.to_string_lossy().into_owned();
    // Newer packages keep the image beside the modules.
    let places = [root.join(format!("boot/vmlinuz-{release}")), modules.join("vmlinuz")];
    let image = places.iter().find(|path| path.exists());
    let image = image.with_context(|| format!("{package} has no image of {release}"))?;
    fs::copy(image, directory.join("vmlinuz"))?;
    fs::write(directory.join("release"), format!("{release}\n"))?;
    fs::rename(&modules, directory.join("modules"))?;
    remove_tree(&root)
}

fn only_directory(directory: &Path) -> Result<PathBuf> {
    let found = fs::read_dir(directory).with_context(|| format!("{}", directory.display()))?;
    let found = found.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    match found.as_slice() {
        [one] => Ok(one.clone()),
        _ => bail!("{} holds {} directories, not one", directory.display(), found.len()),
    }
}

/// Size of the guest's disk, and of the file system around its image, which is sparse.
const DISK_SIZE: &str = "2G";
const STORE_SIZE: &str = "4G";
/// Size of the file system with the tests' programs.
const TOOLS_SIZE: &str = "512M";

/// The cache entry with a Debian that boots from a VHDX.
fn debian(context: &Context, toolbox: &Toolbox) -> Result<PathBuf> {
    let packages = package_list(&context.file("image/child/packages"))?;
    let script = read(&context.file("image/child/customize.sh"))?;
    let key = Key::new(3)
        .text(RELEASE)
        .text(&packages.join(" "))
        .text(&script)
        .text(kernel_image::SUFFIX);
    context.cache.entry("child-debian", &key, |partial| {
        need_space(partial, 4000, "making a child's Debian")?;
        let step = Step::begin(context, "child-debian", "making a child's Debian")?;
        let (archive, store) = (partial.join("root.tar"), partial.join("images"));
        let bootstrap = Bootstrap::new(Variant::Apt, &packages).customize(script);
        bootstrap.run(context, &step, &archive)?;
        fs::create_dir(&store)?;
        take_boot_files(&step, &archive, &store)?;
        keep_kernel(&store.join("vmlinuz"), &partial.join(KEPT))?;
        let raw = partial.join("debian.raw");
        step.run(make_file_system(toolbox, &raw, DISK_SIZE).arg("-d").arg(&archive))?;
        fs::remove_file(&archive)?;
        let image = store.join("debian.vhdx");
        let qemu = toolbox::qemu(context)?;
        let mut convert = qemu.command("usr/bin/qemu-img");
        convert.args(["convert", "-f", "raw", "-O", "vhdx", "-o", "subformat=dynamic"]);
        step.run(convert.args([&raw, &image]))?;
        fs::remove_file(&raw)?;
        let result = partial.join("debian.img");
        step.run(make_file_system(toolbox, &result, STORE_SIZE).arg("-d").arg(&store))?;
        step.done();
        Ok(())
    })
}

/// The cache entry with the file system of programs that tests run in a guest, with their libraries.
fn tools(context: &Context, toolbox: &Toolbox) -> Result<PathBuf> {
    let packages = package_list(&context.file("image/child/tools"))?;
    let key = Key::new(2).text(RELEASE).text(&packages.join(" "));
    let source = kernel::archive(context)?;
    context.cache.entry("child-tools", &key, |partial| {
        need_space(partial, 1500, "fetching programs for the children's tests")?;
        let title = "fetching programs for the children's tests";
        let step = Step::begin(context, "child-tools", title)?;
        let archive = partial.join("tools.tar");
        Bootstrap::new(Variant::Extract, &packages).run(context, &step, &archive)?;
        add_lsvmbus(toolbox, &step, partial, &source)?;
        let image = partial.join("tools.img");
        step.run(make_file_system(toolbox, &image, TOOLS_SIZE).arg("-d").arg(&archive))?;
        fs::remove_file(&archive)?;
        step.done();
        Ok(())
    })
}

/// Adds to `tools.tar` in `directory` the script that only the kernel's source has (`tools/hv/lsvmbus`).
fn add_lsvmbus(toolbox: &Toolbox, step: &Step, directory: &Path, source: &Path) -> Result<()> {
    let archive = directory.join("linux-source.tar.xz");
    fs::hard_link(source, &archive)?;
    let script = "*/tools/hv/lsvmbus";
    let words = ["tar", "-xf", "/work/linux-source.tar.xz", "-C", "/work"];
    let words = [&words[..], &["--strip-components=2", "--wildcards", script]].concat();
    step.run(&mut toolbox.enter(directory, &words))?;
    let words = ["tar", "-rf", "/work/tools.tar", "-C", "/work/hv", "--transform=s,^,./usr/bin/,"];
    let words = [&words[..], &["--owner=0", "--group=0", "--mode=0755", "lsvmbus"]].concat();
    step.run(&mut toolbox.enter(directory, &words))?;
    remove_tree(&directory.join("hv"))?;
    Ok(fs::remove_file(archive)?)
}

/// Leaves the kernel and the initrd of the system in `archive` as `vmlinuz` and `initrd.img`.
fn take_boot_files(step: &Step, archive: &Path, directory: &Path) -> Result<()> {
    let unpacked = directory.with_extension("boot");
    fs::create_dir(&unpacked)?;
    let mut tar = unpack(archive, &unpacked);
    step.run(tar.args(["--wildcards", "./boot/vmlinuz-*", "./boot/initrd.img-*"]))?;
    for found in fs::read_dir(unpacked.join("boot"))? {
        let found = found?;
        let name = found.file_name().to_string_lossy().into_owned();
        let kind = name.split('-').next().unwrap_or_default().to_owned();
        fs::rename(found.path(), directory.join(kind))?;
    }
    remove_tree(&unpacked)
}

/// Unpacks the kernel into the new `directory`, as a worker would that has met it before. What it could not unpack, it would leave
/// to the guest.
fn keep_kernel(image: &Path, directory: &Path) -> Result<()> {
    fs::create_dir(directory)?;
    let image = fs::read(image)?;
    match kernel_image::Kernel::unpack(&image) {
        Ok(kernel) => {
            let name = kernel_image::file_name(&Sha256::digest(&image));
            let mut out = BufWriter::new(File::create(directory.join(name))?);
            kernel.keep(&mut out)?;
            Ok(out.flush()?)
        }
        Err(error) => {
            say(&format!("the child's kernel will unpack itself: {error}"));
            Ok(())
        }
    }
}

/// The file system's source follows. The order of mke2fs's words does not matter to it.
fn make_file_system(toolbox: &Toolbox, image: &Path, size: &str) -> Command {
    let mut command = toolbox.command("usr/sbin/mke2fs");
    command
        .env("MKE2FS_CONFIG", toolbox.root().join("etc/mke2fs.conf"))
        .env("SOURCE_DATE_EPOCH", "0");
    command.args(["-q", "-F", "-t", "ext4", "-E", "root_owner=0:0"]).arg(image).arg(size);
    command
}

/// Compiles the tests of the published crate; where the program is.
fn ioctls(context: &Context, toolbox: &Toolbox, step: &Step) -> Result<PathBuf> {
    let words = ["test", "--no-run", "--package", IOCTLS];
    step.run(cargo(context, toolbox).args(words))?;
    // Only now cargo has nothing to say but where the result is.
    let mut again = cargo(context, toolbox);
    let messages = output(again.args(words).arg("--message-format=json"))?;
    let mut programs = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message.get("executable")?.as_str()?))
    });
    programs.next_back().with_context(|| format!("cargo made no test program of {IOCTLS}"))
}

fn cargo(context: &Context, toolbox: &Toolbox) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(&context.root);
    // Programs for the host are built with other flags, in the same directory: only `--target` keeps them apart.
    cargo.env("CARGO_BUILD_TARGET", HOST);
    let sysroot = toolbox.root().display();
    cargo.arg(format!(
        "--config=target.{HOST}.rustflags=[\"-Clink-arg=--sysroot={sysroot}\", \"-Ctarget-feature=+crt-static\"]"
    ));
    cargo
}

fn strip(step: &Step, toolbox: &Toolbox, from: &Path, to: &Path) -> Result<()> {
    let partial = to.with_extension("partial");
    step.run(toolbox.command("usr/bin/objcopy").arg("--strip-debug").args([from, &partial]))?;
    Ok(fs::rename(&partial, to)?)
}

/// Lets `name` lead to `target`.
fn link(target: &Path, name: &Path) -> Result<()> {
    if fs::read_link(name).is_ok_and(|old| old == target) {
        return Ok(());
    }
    let _ = fs::remove_file(name);
    std::os::unix::fs::symlink(target, name)
        .with_context(|| format!("cannot create {}", name.display()))
}
