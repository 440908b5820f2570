//! What runs on the measured machines: programs of `image/bench`, compiled in the toolbox, and their initial RAM file
//! systems.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use harness::{Artefacts, Initramfs, Toolbox};

use crate::cache::Key;
use crate::context::Context;
use crate::step::Step;
use crate::toolbox;

/// The measured guest, and what starts the worker and looks at it.
const PROGRAMS: [&str; 2] = ["init", "stopwatch"];

/// MiB of the child that is measured by its own Linux, and of the bare machine to compare it with.
pub const LINUX_MIB: u32 = 512;
/// MiB of the child that runs the test kernel.
const TEST_KERNEL_MIB: u32 = 64;

/// What programs of `out/bin` need of their C library.
const LIBRARIES: [(&str, &str); 3] = [
    ("usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "lib64/ld-linux-x86-64.so.2"),
    ("usr/lib/x86_64-linux-gnu/libc.so.6", "lib/x86_64-linux-gnu/libc.so.6"),
    ("usr/lib/x86_64-linux-gnu/libgcc_s.so.1", "lib/x86_64-linux-gnu/libgcc_s.so.1"),
];

/// Initial RAM file systems.
pub struct Guests {
    /// The measured program as init.
    pub measured: PathBuf,
    /// A parent that runs children, one after another.
    pub parent: PathBuf,
    /// Debian's stock cloud kernel.
    pub cloud_kernel: PathBuf,
}

impl Guests {
    /// Makes them of what was built.
    pub fn make(context: &Context, artefacts: &Artefacts) -> Result<Self> {
        let programs = compile(context, &toolbox::tools(context)?)?;
        let measured = artefacts.out.join("bench.cpio");
        let image = Initramfs::new().init(read(&programs.join("init"))?);
        image.write(&measured)?;
        let cloud_kernel = artefacts.out.join("children/kernels/stable/vmlinuz");
        let mut image = Initramfs::new();
        for (from, to) in LIBRARIES {
            image = image.file(to, read(&artefacts.toolbox.join(from))?, 0o755);
        }
        let files = [
            (programs.join("stopwatch"), "usr/bin/stopwatch"),
            (artefacts.out.join("bin/vmwp"), "usr/bin/vmwp"),
            (artefacts.guests.join("guest"), "children/test-kernel"),
            (cloud_kernel.clone(), "children/vmlinuz"),
            (measured.clone(), "children/bench.cpio"),
        ];
        for (from, to) in files {
            image = image.file(to, read(&from)?, 0o755);
        }
        let parent = image.script(&script()).write(artefacts.out.join("bench-parent.cpio"))?;
        Ok(Self { measured, parent, cloud_kernel })
    }
}

/// Runs each child to its end. Nothing is printed while one runs.
fn script() -> String {
    let worker = |name: &str, mib: u32, rest: &str| {
        format!(
            "stopwatch {name} {mib} vmwp --memory {mib}M --on-reset exit --log error {rest} < /dev/null\n"
        )
    };
    let kernel = "--kernel /children/test-kernel --cmdline 'test=measure end=reset'";
    let linux = "--kernel /children/vmlinuz --initrd /children/bench.cpio --cmdline 'console=ttyS0 quiet panic=-1'";
    worker("kernel", TEST_KERNEL_MIB, kernel)
        + &worker("linux", LINUX_MIB, linux)
        + "echo bench-all"
}

/// The directory with the programs.
fn compile(context: &Context, toolbox: &Toolbox) -> Result<PathBuf> {
    let mut key = Key::new(2).text(&toolbox.root().display().to_string());
    for program in PROGRAMS {
        key = key.file(&source(context, program))?;
    }
    context.cache.entry("bench", &key, |partial| {
        let step = Step::begin(context, "bench-guest", "compiling the measured guest")?;
        for program in PROGRAMS {
            let file = format!("{program}.c");
            fs::copy(source(context, program), partial.join(&file))?;
            let (from, to) = (format!("/work/{file}"), format!("/work/{program}"));
            let words = [
                "gcc",
                "-O2",
                "-fno-tree-vectorize",
                "-static",
                "-Wall",
                "-Werror",
                "-o",
                &to,
                &from,
            ];
            step.run(&mut toolbox.enter(partial, &words))?;
        }
        step.done();
        Ok(())
    })
}

fn source(context: &Context, program: &str) -> PathBuf {
    context.file(&format!("image/bench/{program}.c"))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}
