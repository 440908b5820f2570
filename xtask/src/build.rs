//! `build`: everything that the machine is made of, into `out/`.

use std::thread::JoinHandle;

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use harness::{Artefacts, Toolbox};

use crate::context::Context;
use crate::hypervisor::{self, copy};
use crate::kernel::{self, Kernel};
use crate::qemu::Qemu;
use crate::step::say;
use crate::target::Freestanding;
use crate::toolbox;
use crate::{children, guests, rootfs, stack};

/// What to build.
#[derive(Args, Clone, Default)]
pub struct Options {
    /// Look whether Debian has newer kernels than those in the cache
    #[arg(long)]
    pub refresh: bool,
    /// Leave the hypervisor out, for work on everything else
    #[arg(long)]
    pub without_hypervisor: bool,
}

/// Builds all of it; what is up to date costs nothing.
pub fn run(context: &Context, options: &Options) -> Result<Artefacts> {
    let _alone = lock(context)?;
    if options.refresh {
        kernel::refresh(context)?;
        children::refresh(context)?;
    }
    let toolbox = toolbox::tools(context)?;
    let kernel = begin_kernel(context, &toolbox);
    let qemu = Qemu::prepare(context)?;
    if !options.without_hypervisor {
        let target = Freestanding::prepare(context)?;
        hypervisor::build(context, target, &toolbox)?;
        guests::build(context, target)?;
    }
    let programs = stack::build(context, &toolbox)?;
    let kernels = children::build(context, &toolbox)?;
    let base = rootfs::base(context)?;
    let kernel = kernel.join().map_err(|_| anyhow!("building the root kernel panicked"))??;
    let parent = context.out.join("parent");
    std::fs::create_dir_all(&parent)?;
    copy(&kernel.image(), &parent.join("vmlinuz"))?;
    let parts =
        rootfs::Parts { base: &base, kernel: &kernel, programs: &programs, kernels: &kernels };
    let rootfs = rootfs::build(context, &toolbox, &parts)?;
    let artefacts = Artefacts {
        qemu: qemu.words,
        qemu_environment: qemu.environment,
        out: context.out.clone(),
        hypervisor: context.out.join("zemin"),
        kernel: parent.join("vmlinuz"),
        rootfs,
        guests: context.out.join("guests"),
        busybox: toolbox.root().join("usr/bin/busybox"),
        toolbox: toolbox.root().to_owned(),
    };
    artefacts.save().context("cannot write out/machine.json")?;
    say(&format!("out/ is complete: root kernel {}, {}", kernel.release()?, qemu.origin));
    Ok(artefacts)
}

/// Builds the kernel beside everything else: it takes longest, and what downloads or links leaves processors idle. If something
/// else fails, nobody waits for it: it ends with this process.
fn begin_kernel(context: &Context, toolbox: &Toolbox) -> JoinHandle<Result<Kernel>> {
    let (context, toolbox) = (context.clone(), toolbox.clone());
    std::thread::spawn(move || Kernel::build(&context, &toolbox))
}

/// One build at a time in this tree.
fn lock(context: &Context) -> Result<std::fs::File> {
    let file = std::fs::File::create(context.out.join(".lock"))?;
    if file.try_lock().is_err() {
        say("another build is at work in this tree: waiting for it");
        file.lock()?;
    }
    Ok(file)
}
