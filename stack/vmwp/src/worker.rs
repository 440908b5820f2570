//! The worker's life: one VM after another, as long as the guest only wants resets.

use crate::boot::{BootSource, KernelCache};
use crate::cli::{Cli, OnCrash, OnReset};
use crate::console::Console;
use crate::control::{Control, Outcome};
use crate::remote;
use crate::signals;
use crate::storage::Storage;
use crate::vm::{Share, Vm, VmConfig};
use anyhow::Context;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use vid::mshv::Hypervisor;
use vid::{Partition, PartitionConfig, VidResult};

/// The guest powered off, or the user wanted the end.
pub const EXIT_DONE: i32 = 0;
/// Something of ours failed.
pub const EXIT_FAILURE: i32 = 1;
/// The guest crashed.
pub const EXIT_CRASH: i32 = 3;
/// The guest asked for a reset.
pub const EXIT_RESET: i32 = 4;
/// Added to the number of a signal.
pub const EXIT_SIGNAL: i32 = 128;

/// Where partitions come from.
pub type NewPartition<'a> = dyn Fn() -> VidResult<Arc<dyn Partition>> + 'a;

/// Everything, by the command line; the exit status.
pub fn run(cli: &Cli) -> anyhow::Result<i32> {
    let open = |kernel: &PathBuf| BootSource::open(kernel, cli.initrd.as_deref(), &cli.cmdline);
    let files = cli.kernel.as_ref().map(open).transpose()?;
    let hypervisor = Hypervisor::open().context("is the parent's kernel running on Zemin?")?;
    let partition = PartitionConfig { x2apic: !cli.no_x2apic, ..PartitionConfig::default() };
    let partition = partition.for_cpus(cli.cpus);
    let new_partition = || hypervisor.create_partition(&partition);
    let control = Arc::new(Control::default());
    signals::listen(Arc::clone(&control)).context("cannot listen for signals")?;
    let storage = Arc::new(Storage::open(cli)?);
    let mut source = match files {
        Some(source) => source,
        None => of_disk(cli, &storage)?,
    };
    source = source.with_cache(kernel_cache(cli));
    let console = Console::open(&cli.console, &control)?;
    cli.control.as_deref().map(|path| remote::listen(path, &storage)).transpose()?;
    run_vms(cli, &new_partition, &mut source, &storage, &console, &control)
}

/// Where no kernel was named, the first disk has one.
fn of_disk(cli: &Cli, storage: &Storage) -> anyhow::Result<BootSource> {
    let disk = storage.boot_disk().context("a VM without a disk needs a --kernel")?;
    Ok(BootSource::of_disk(disk, &cli.cmdline)?)
}

fn kernel_cache(cli: &Cli) -> Option<Arc<KernelCache>> {
    let delay = Duration::from_secs(cli.unpack_after);
    cli.kernel_cache.0.clone().map(|directory| KernelCache::new(directory, delay))
}

/// Runs VMs until one ends for good.
pub fn run_vms(
    cli: &Cli,
    new_partition: &NewPartition<'_>,
    source: &mut BootSource,
    storage: &Arc<Storage>,
    console: &Console,
    control: &Arc<Control>,
) -> anyhow::Result<i32> {
    let config = VmConfig {
        memory: cli.memory,
        cpus: cli.cpus,
        hugepages: cli.hugepages,
        storage: Arc::clone(storage),
        share: Share { weight: cli.weight, reserve: cli.reserve, limit: cli.limit },
    };
    loop {
        let partition = new_partition()?;
        let vm = Vm::new(partition, &config, source, console, control)?;
        tracing::info!(vm = cli.name, cpus = cli.cpus, memory = cli.memory, "the VM starts");
        let outcome = vm.run(control)?;
        if let Some(status) = status_of(cli, &outcome) {
            return conclude(outcome, status);
        }
        tracing::info!(vm = cli.name, ?outcome, "the VM starts anew");
        if !control.restart() {
            return conclude(control.wait(), EXIT_DONE);
        }
    }
}

/// The exit status; `None` to start anew.
fn status_of(cli: &Cli, outcome: &Outcome) -> Option<i32> {
    match outcome {
        Outcome::PowerOff | Outcome::Quit => Some(EXIT_DONE),
        Outcome::Reset => (cli.on_reset == OnReset::Exit).then_some(EXIT_RESET),
        Outcome::Crash(_) => (cli.on_crash == OnCrash::Exit).then_some(EXIT_CRASH),
        Outcome::Signal(signal) => Some(EXIT_SIGNAL + signal),
        Outcome::Failure(_) => Some(EXIT_FAILURE),
    }
}

fn conclude(outcome: Outcome, status: i32) -> anyhow::Result<i32> {
    match outcome {
        Outcome::Failure(what) => Err(anyhow::anyhow!(what)),
        Outcome::Signal(signal) => Ok(EXIT_SIGNAL + signal),
        other => {
            tracing::info!(outcome = ?other, "the VM has ended");
            Ok(status)
        }
    }
}
