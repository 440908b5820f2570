//! What the worker can do beyond starting a bzImage, and how it says what it cannot.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::{Artefacts, Machine, Running, Toolbox};
use system_tests::{Tests, on, scratch};

use super::machine::{Guest, Kernel, directory, initramfs, parent};

const LIMIT: Duration = Duration::from_secs(300);

/// Adds all of them.
pub fn add(tests: &mut Tests) {
    let mut add = |name: &str, check: fn(&mut Running) -> Result<()>| {
        tests.add(format!("worker::{name}"), move || on("children-2lp", || parent(2, 2048), check));
    };
    add("sixty_four_processors_can_be_had", many_processors);
    add("memory_comes_from_huge_pages", huge_pages);
    add("sigint_and_sigterm_end_the_vm", signals);
    add("errors_are_exact_and_have_their_status", errors);
    tests.add("worker::elf_kernel_boots_by_its_pvh_entry", || {
        on("children-pvh", elf_parent, elf_kernel)
    });
}

const TINY: &str = "vmwp --kernel /children/tiny --log warn --memory 32M";

/// Runs a worker until its guest is idle, then sends it a signal; its exit status.
fn until_idle(parent: &mut Running, command: &str, signal: &str) -> Result<i32> {
    let script = format!(
        ": > /tmp/worker; {command} < /dev/null >> /tmp/worker 2>&1 & until grep -q idle /tmp/worker; do kill -0 $! || exit 99; sleep 0.05; done; \
         {signal} $!; wait $!"
    );
    let output = parent.shell_within(&script, LIMIT)?;
    ensure!(output.status != 99, "{}", parent.shell("cat /tmp/worker")?.text);
    Ok(output.status)
}

fn many_processors(parent: &mut Running) -> Result<()> {
    let status = until_idle(parent, &format!("{TINY} --cpus 64"), "kill -TERM")?;
    ensure!(status == 128 + 15, "{status}");
    Ok(())
}

fn huge_pages(parent: &mut Running) -> Result<()> {
    let free = "awk '/^HugePages_(Free|Total)/ { n[$1] = $2 } /^HugePages_Rsvd/ { print n[\"HugePages_Free:\"] - $2 }' /proc/meminfo";
    let signal = format!("{free} > /tmp/free; kill -TERM");
    parent.shell("echo 16 > /proc/sys/vm/nr_hugepages")?.success()?;
    until_idle(parent, &format!("{TINY} --hugepages"), &signal)?;
    let text =
        parent.shell(&format!("cat /tmp/free; {free}; echo 0 > /proc/sys/vm/nr_hugepages"))?;
    // All 16 are the guest's while it runs, touched or not, and free again afterwards.
    ensure!(text.text == "0\n16\n", "{text:?}");
    let output = parent.shell(&format!("{TINY} --hugepages < /dev/null"))?;
    ensure!(output.status == 1 && output.text.contains("nr_hugepages"), "{output:?}");
    Ok(())
}

fn signals(parent: &mut Running) -> Result<()> {
    for (name, number) in [("INT", 2), ("TERM", 15), ("HUP", 1)] {
        let status = until_idle(parent, TINY, &format!("kill -{name}")).context(name)?;
        ensure!(status == 128 + number, "{name}: {status}");
    }
    Ok(())
}

fn errors(parent: &mut Running) -> Result<()> {
    let cases = [
        ("vmwp --help", 0, "Exit status:"),
        ("vmwp", 2, "--kernel"),
        (
            "head -c 1048576 /dev/zero > /tmp/empty; vmwp --disk /tmp/empty,format=raw",
            1,
            "cannot boot from /tmp/empty",
        ),
        ("vmwp --kernel /children/tiny --cpus 65", 2, "65 is not in 1..=64"),
        ("vmwp --kernel /children/tiny --memory 33M", 2, "not a multiple of 2 MiB"),
        ("vmwp --kernel /nowhere", 1, "cannot read /nowhere"),
        ("vmwp --kernel /init", 1, "is no Linux kernel"),
        (
            "vmwp --kernel /children/tiny --disk /nowhere.img",
            1,
            "cannot use /nowhere.img as a disk",
        ),
        ("vmwp --kernel /children/tiny --disk /init", 1, "does not say which format"),
        ("vmwp --kernel /children/stable/vmlinuz --memory 32M", 1, "give it more with --memory"),
    ];
    for (command, status, words) in cases {
        let output = parent.shell(&format!("{command} < /dev/null"))?;
        ensure!(output.status == status && output.text.contains(words), "{output:?}");
    }
    Ok(())
}

/// A parent with the ELF file that is inside the kernel's image.
fn elf_parent() -> Result<Machine> {
    let elf = std::fs::read(uncompressed(Kernel::Stable)?)?;
    let image = initramfs()?.file("children/vmlinux", elf, 0o644).shell();
    let initrd = image.write(scratch()?.join("children-pvh.cpio"))?;
    Ok(Machine::new().lps(2).memory_mib(2048).initrd(initrd))
}

/// Takes the payload out of a bzImage (Documentation/arch/x86/boot.rst: payload_offset, payload_length).
fn uncompressed(kernel: Kernel) -> Result<std::path::PathBuf> {
    let image = std::fs::read(directory()?.join("kernels").join(kernel.name()).join("vmlinuz"))?;
    let word = |at: usize| -> Result<usize> {
        let bytes = image.get(at..at + 4).context("a header")?;
        Ok(u32::from_le_bytes(bytes.try_into()?) as usize)
    };
    let start = (usize::from(*image.get(0x1F1).context("a header")?) + 1) * 512 + word(0x248)?;
    // The last four bytes are the size, not part of the stream.
    let payload = image.get(start..start + word(0x24C)? - 4).context("a payload")?;
    let (packed, plain) = (scratch()?.join("vmlinux.zst"), scratch()?.join("vmlinux"));
    std::fs::write(&packed, payload)?;
    let mut zstd = Toolbox::at(Artefacts::load()?.toolbox).command("usr/bin/zstd");
    zstd.args(["-q", "-d", "-c"]).arg(&packed).stdout(File::create(&plain)?);
    let status = Command::status(zstd.stdin(Stdio::null()))?;
    ensure!(status.success(), "zstd: {status}");
    Ok(plain)
}

fn elf_kernel(parent: &mut Running) -> Result<()> {
    let guest = Guest { kernel: Kernel::Stable, cpus: 2, memory: 512, what: "nothing" };
    let command = guest.command("").replace("/children/stable/vmlinuz", "/children/vmlinux");
    let text = parent.shell_within(&command, LIMIT)?.success()?;
    ensure!(text.contains("user space"), "{text}");
    Ok(())
}
