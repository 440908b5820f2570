//! A VM from its creation to its end. A reset is the end of one and the creation of the next: nothing of the old
//! partition, its overlays, timers and interrupts can be left over.
//!
//! The order of the steps is the one other VMMs keep, and `/dev/mshv` demands: partition, properties, devices with
//! their interrupts, memory, VPs, registers; time starts last.

use crate::acpi::{AcpiConfig, AcpiTables};
use crate::boot::{BootSource, Entry, application_processor, boot_processor};
use crate::chipset::Chipset;
use crate::console::{Console, Listener};
use crate::control::{Control, Outcome};
use crate::machine::Machine;
use crate::memory::{GuestRam, MemoryLayout};
use crate::storage::Storage;
use crate::vmbus;
use crate::vp::VpThreads;
use anyhow::Context;
use hvdef::property::UnimplementedMsrAction;
use std::sync::Arc;
use vid::vp::LocalInterruptPins;
use vid::{Partition, PartitionProperty, VidResult, Vp, VpIndex};

/// Local vector table: as if from an interrupt controller outside.
const LVT_EXTINT: u32 = 0x700;
/// Local vector table: NMI.
const LVT_NMI: u32 = 0x400;

/// What a VM is made of.
#[derive(Clone)]
pub struct VmConfig {
    /// Bytes of memory.
    pub memory: u64,
    /// Virtual processors.
    pub cpus: u32,
    /// Memory comes from the pool of huge pages.
    pub hugepages: bool,
    /// What it gets of the processors.
    pub share: Share,
    /// Controllers, disks and drives.
    pub storage: Arc<Storage>,
}

/// A VM's share of the machine's processors.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Among those that want them, 1 to 10,000.
    pub weight: u32,
    /// Of a processor for each VP, in percent.
    pub reserve: u32,
    /// The same, at most.
    pub limit: u32,
}

/// A VM that is ready to run.
pub struct Vm {
    partition: Arc<dyn Partition>,
    machine: Arc<Machine>,
    vps: Vec<Box<dyn Vp>>,
    /// Told of console input; dropped with the VM.
    _listener: Arc<Listener>,
}

impl Vm {
    /// Makes a VM of `partition`, which was just created.
    pub fn new(
        partition: Arc<dyn Partition>,
        config: &VmConfig,
        source: &mut BootSource,
        console: &Console,
        control: &Arc<Control>,
    ) -> anyhow::Result<Self> {
        let layout = MemoryLayout::new(config.memory)?;
        set_properties(partition.as_ref(), config)?;
        let chipset = Chipset::new(Arc::clone(&partition), console.ends())
            .context("cannot create the devices")?;
        let ram = GuestRam::new(&layout, config.hugepages)?;
        let acpi = AcpiTables::new(&AcpiConfig { cpus: config.cpus, layout: layout.clone() });
        acpi.write(ram.memory())?;
        let entry = source.load(&layout, &ram, &acpi)?;
        ram.map_into(partition.as_ref())?;
        let vmbus = vmbus::start(&partition, &ram, config.cpus, &config.storage)?;
        let vps = create_vps(partition.as_ref(), config.cpus, entry)?;
        let com1 = Arc::clone(chipset.com1());
        let listener: Arc<Listener> = Arc::new(move || com1.pump());
        console.attach(&listener);
        let machine = Arc::new(Machine::new(ram, chipset, vmbus, Arc::clone(control)));
        Ok(Self { partition, machine, vps, _listener: listener })
    }

    /// Runs the VM until somebody ends the run.
    pub fn run(self, control: &Control) -> anyhow::Result<Outcome> {
        freeze_time(self.partition.as_ref(), false)?;
        let threads = match VpThreads::start(self.vps, &self.machine) {
            Ok(threads) => threads,
            Err(error) => {
                control.end(Outcome::Failure(error.to_string()));
                return Err(error).context("cannot start the threads of the processors");
            }
        };
        let outcome = control.wait();
        threads.stop();
        Ok(outcome)
    }
}

/// What must be so before there are VPs. Time stands still from here on.
fn set_properties(partition: &dyn Partition, config: &VmConfig) -> VidResult<()> {
    let ignore = UnimplementedMsrAction::IGNORE_WRITE_READ_ZERO.0;
    partition.set_property(PartitionProperty::UNIMPLEMENTED_MSR_ACTION, ignore)?;
    partition.set_property(PartitionProperty::PROCESSORS_PER_SOCKET, config.cpus.into())?;
    set_share(partition, config.share)?;
    freeze_time(partition, true)
}

/// The hypervisor counts in 1/65536 of a processor.
fn set_share(partition: &dyn Partition, share: Share) -> VidResult<()> {
    let fraction = |percent: u32| (u64::from(percent) << 16) / 100;
    partition.set_property(PartitionProperty::CPU_WEIGHT, share.weight.into())?;
    partition.set_property(PartitionProperty::CPU_RESERVE, fraction(share.reserve))?;
    partition.set_property(PartitionProperty::CPU_CAP, fraction(share.limit))
}

fn freeze_time(partition: &dyn Partition, frozen: bool) -> VidResult<()> {
    partition.set_property(PartitionProperty::TIME_FREEZE, frozen.into())
}

fn create_vps(partition: &dyn Partition, count: u32, entry: Entry) -> VidResult<Vec<Box<dyn Vp>>> {
    (0..count).map(|index| create_vp(partition, VpIndex(index), entry)).collect()
}

fn create_vp(partition: &dyn Partition, index: VpIndex, entry: Entry) -> VidResult<Box<dyn Vp>> {
    let vp = partition.create_vp(index)?;
    let registers =
        if index == VpIndex(0) { boot_processor(entry) } else { application_processor() };
    vp.set_registers(&registers)?;
    vp.set_local_pins(LocalInterruptPins { lint0: LVT_EXTINT, lint1: LVT_NMI })?;
    Ok(vp)
}

#[cfg(test)]
mod tests;
