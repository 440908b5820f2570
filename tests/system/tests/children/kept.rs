//! Kernels that the worker unpacked before: they boot as if they had done it by themselves.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use harness::Running;
use system_tests::{Tests, on};

use super::machine::{Guest, Kernel, parent};

const BOOT: Duration = Duration::from_secs(240);
/// Where they are kept.
const CACHE: &str = "/tmp/kernels";
/// Boots of each, which are to differ: one in 10,000 pairs would not.
const TIMES: usize = 2;
/// Where `_text` is linked.
const LINKED: u64 = 0xFFFF_FFFF_8100_0000;
/// Where it is loaded if nobody chooses.
const BASE: u64 = 16 << 20;

/// Adds all of them.
pub fn add(tests: &mut Tests) {
    tests.add("kept::kernels_boot_unpacked_at_addresses_of_chance", || {
        on("children-2lp", || parent(2, 2048), kernels_boot_unpacked)
    });
}

fn kernels_boot_unpacked(parent: &mut Running) -> Result<()> {
    parent.shell(&format!("rm -rf {CACHE}"))?.success()?;
    for (number, kernel) in (1..).zip(Kernel::ALL) {
        keep(parent, kernel, number)?;
        let mut places = BTreeSet::new();
        for _ in 0..TIMES {
            let seen = boot(parent, kernel, "", "quiet")?;
            ensure!(seen.release == kernel.release()?, "{seen:?}");
            let shift = seen.text.wrapping_sub(LINKED);
            ensure!(shift % (2 << 20) == 0 && shift < 1 << 30, "{seen:?}");
            ensure!(seen.code >= BASE && seen.code % (2 << 20) == 0, "{seen:?}");
            places.insert((seen.text, seen.code));
        }
        ensure!(places.len() > 1, "{places:x?}");
        let fixed = boot(parent, kernel, "", "nokaslr")?;
        ensure!((fixed.text, fixed.code) == (LINKED, BASE), "{fixed:x?}");
    }
    // As a kernel would have done it by itself.
    let own = boot(parent, Kernel::Stable, "--kernel-cache none", "nokaslr")?;
    ensure!((own.text, own.code) == (LINKED, BASE), "{own:x?}");
    is_what_is_kept(parent)
}

/// What runs is what is kept: with the one's kernel in the place of the other's, it is the one that boots.
fn is_what_is_kept(parent: &mut Running) -> Result<()> {
    let script = format!(
        "cd {CACHE} && s=$(sha256sum < /children/stable/vmlinuz) && b=$(sha256sum < /children/backports/vmlinuz) && \
         cp ${{s%% *}}.kernel1 ${{b%% *}}.kernel1"
    );
    parent.shell(&script)?.success()?;
    let seen = boot(parent, Kernel::Backports, "", "quiet")?;
    ensure!(seen.release == Kernel::Stable.release()?, "{seen:?}");
    parent.shell(&format!("rm -rf {CACHE}"))?.success()?;
    Ok(())
}

/// The worker's option that makes it use what is kept.
pub fn option() -> String {
    format!("--kernel-cache {CACHE}")
}

/// Runs a guest until `number` kernels are kept, unless they are.
pub fn keep(parent: &mut Running, kernel: Kernel, number: u64) -> Result<()> {
    let kept = format!("ls {CACHE} 2>/dev/null | wc -l");
    if system_tests::number(parent, &kept)? >= number {
        return Ok(());
    }
    let guest = Guest { kernel, cpus: 1, memory: 256, what: "idle" };
    let command = guest.command(&format!("{} --unpack-after 0", option()));
    let script = format!(
        "{command} > /dev/null & until [ $({kept}) -eq {number} ]; do sleep 0.2; done; kill $!; wait $!"
    );
    let output = parent.shell_within(&script, BOOT)?;
    ensure!(output.status == 128 + 15, "{output:?}");
    Ok(())
}

/// What a guest says of its kernel.
#[derive(Debug)]
struct Seen {
    release: String,
    /// Virtual address of its first byte.
    text: u64,
    /// Physical address of its code.
    code: u64,
}

fn boot(parent: &mut Running, kernel: Kernel, options: &str, word: &str) -> Result<Seen> {
    let guest = Guest { kernel, cpus: 2, memory: 256, what: "whereabouts" };
    let options = if options.is_empty() { option() } else { options.into() };
    let command = guest.command(&options).replace(" quiet ", &format!(" quiet {word} "));
    let text = parent.shell_within(&command, BOOT)?.success()?;
    let line = |name: &str| {
        let found = text.lines().find_map(|line| line.trim().strip_prefix(name));
        found.map(|value| value.trim().to_owned())
    };
    let (Some(release), Some(text_at), Some(code)) =
        (line("release "), line("text "), line("code "))
    else {
        bail!("{text}");
    };
    let hex = |value: &str| u64::from_str_radix(value, 16);
    Ok(Seen { release, text: hex(&text_at)?, code: hex(&code)? })
}
