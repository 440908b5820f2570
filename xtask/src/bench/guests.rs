//! What runs on the measured machines: programs of `image/bench`, compiled in the toolbox, and their initial RAM file
//! systems.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use harness::{Artefacts, Initramfs, Toolbox};

use crate::cache::Key;
use crate::context::Context;
use crate::kernel::Kernel;
use crate::step::Step;
use crate::toolbox;

/// The measured guest, and what starts the worker and looks at it.
const PROGRAMS: [&str; 3] = ["init", "disk", "stopwatch"];

/// MiB of the child that is measured by its own Linux, and of the bare machine to compare it with.
pub const LINUX_MIB: u32 = 512;
/// MiB of the child that runs the test kernel.
const TEST_KERNEL_MIB: u32 = 64;

/// What programs of `out/bin` need of their C library.
const LIBRARIES: [(&str, &str); 4] = [
    ("usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "lib64/ld-linux-x86-64.so.2"),
    ("usr/lib/x86_64-linux-gnu/libc.so.6", "lib/x86_64-linux-gnu/libc.so.6"),
    ("usr/lib/x86_64-linux-gnu/libgcc_s.so.1", "lib/x86_64-linux-gnu/libgcc_s.so.1"),
    ("usr/lib/x86_64-linux-gnu/libm.so.6", "lib/x86_64-linux-gnu/libm.so.6"),
];

/// What Debian's kernel needs for a disk on VMBus, in the order of loading.
const DISK_MODULES: [&str; 6] = [
    "hv/hv_vmbus",
    "scsi/scsi_common",
    "scsi/scsi_mod",
    "scsi/scsi_transport_fc",
    "scsi/hv_storvsc",
    "scsi/sd_mod",
];
/// The RAM disk's.
const RAM_DISK: &str = "block/brd";
/// Where modules of either are.
const DRIVERS: &str = "kernel/drivers";

/// Initial RAM file systems.
pub struct Guests {
    /// The measured program as init.
    pub measured: PathBuf,
    /// A parent that runs children, one after another.
    pub parent: PathBuf,
    /// The disk's jobs on a RAM disk.
    pub disk_metal: PathBuf,
    /// A parent that runs a child with a disk.
    pub disk_parent: PathBuf,
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
        let image = parent(artefacts, &programs, &cloud_kernel)?;
        let image =
            image.file("children/test-kernel", read(&artefacts.guests.join("guest"))?, 0o755);
        let image = image.file("children/bench.cpio", read(&measured)?, 0o644);
        let parent = image.script(&script()).write(artefacts.out.join("bench-parent.cpio"))?;
        let (disk_metal, disk_parent) = disk(context, artefacts, &programs, &cloud_kernel)?;
        Ok(Self { measured, parent, disk_metal, disk_parent, cloud_kernel })
    }
}

/// What every parent has: the worker, what starts and looks at it, and a kernel for children.
fn parent(artefacts: &Artefacts, programs: &Path, cloud_kernel: &Path) -> Result<Initramfs> {
    let mut image = Initramfs::new();
    for (from, to) in LIBRARIES {
        image = image.file(to, read(&artefacts.toolbox.join(from))?, 0o755);
    }
    let files = [
        (programs.join("stopwatch"), "usr/bin/stopwatch"),
        (artefacts.out.join("bin/vmwp"), "usr/bin/vmwp"),
        (artefacts.out.join("bin/zm"), "usr/bin/zm"),
        (cloud_kernel.to_owned(), "children/vmlinuz"),
    ];
    for (from, to) in files {
        image = image.file(to, read(&from)?, 0o755);
    }
    Ok(image)
}

/// The disk's jobs on a RAM disk, and a parent that runs a child with them.
fn disk(
    context: &Context,
    artefacts: &Artefacts,
    programs: &Path,
    cloud_kernel: &Path,
) -> Result<(PathBuf, PathBuf)> {
    let modules = artefacts.out.join("children/kernels/stable/modules").join(DRIVERS);
    let program = read(&programs.join("disk"))?;
    let guest = |names: &[&str], to: &str| -> Result<PathBuf> {
        let mut image = Initramfs::new().init(program.clone());
        for (number, name) in names.iter().enumerate() {
            let module = read(&modules.join(format!("{name}.ko.xz")))?;
            let file = name.rsplit('/').next().unwrap_or(name);
            image = image.file(&format!("modules/{number}-{file}.ko.xz"), module, 0o644);
        }
        Ok(image.write(artefacts.out.join(to))?)
    };
    let metal = guest(&[RAM_DISK], "bench-disk-metal.cpio")?;
    let child = guest(&DISK_MODULES, "bench-disk.cpio")?;
    let kernel = Kernel::build(context, &toolbox::tools(context)?)?;
    let own = kernel.modules().join("lib/modules").join(kernel.release()?).join(DRIVERS);
    let image = parent(artefacts, programs, cloud_kernel)?
        .file("children/brd.ko", read(&own.join(format!("{RAM_DISK}.ko")))?, 0o644)
        .file("children/disk.cpio", read(&child)?, 0o644);
    let parent =
        image.script(&disk_script()).write(artefacts.out.join("bench-disk-parent.cpio"))?;
    Ok((metal, parent))
}

/// Word of the parent's command line that [`disk_script`] looks for.
pub const HUGE: &str = "children_in_huge_pages";

/// A RAM disk of 256 MiB is the child's disk, past the page cache. With the word [`HUGE`] on the command line, the child's
/// memory is in huge pages.
fn disk_script() -> String {
    let pages = LINUX_MIB / 2;
    format!(
        "insmod /children/brd.ko rd_nr=1 rd_size=262144\n\
         grep -qw {HUGE} /proc/cmdline && echo {pages} > /proc/sys/vm/nr_hugepages && HUGE=--hugepages\n\
         stopwatch disk {LINUX_MIB} vmwp $HUGE --memory {LINUX_MIB}M --on-reset exit --log error,storvsp=info \
         --disk /dev/ram0,format=raw --kernel /children/vmlinuz --initrd /children/disk.cpio \
         --cmdline 'console=ttyS0 quiet panic=-1 disk=sda' < /dev/null\necho bench-all"
    )
}

/// Runs each child to its end. Nothing is printed while one runs. Linux starts twice: unpacking its kernel by itself, and from
/// the kernel that the worker keeps unpacked, which a run before that made.
fn script() -> String {
    let worker = |name: &str, mib: u32, rest: &str| {
        format!(
            "stopwatch {name} {mib} vmwp --memory {mib}M --on-reset exit --log error {rest} < /dev/null\n"
        )
    };
    let kernel = "--kernel /children/test-kernel --cmdline 'test=measure end=reset'";
    let linux = |word: &str| {
        format!(
            "--kernel /children/vmlinuz --initrd /children/bench.cpio --cmdline 'console=ttyS0 quiet panic=-1 {word}'"
        )
    };
    let keep = format!(
        "vmwp --memory {LINUX_MIB}M --log error --unpack-after 0 {} < /dev/null > /dev/null &\n\
         until ls /var/cache/zemin/kernels/* > /dev/null 2>&1; do sleep 1; done; kill $!; wait $!\n",
        linux("init-only")
    );
    worker("kernel", TEST_KERNEL_MIB, kernel)
        + &worker("first", LINUX_MIB, &format!("--kernel-cache none {}", linux("init-only")))
        + &keep
        + &worker("linux", LINUX_MIB, &linux(""))
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
